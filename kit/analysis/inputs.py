"""What a metric is called with: columns, those of another run, and what its fit made.

Which is which is told by the names of the function's parameters; see `kit.analysis.evaluate`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from kit.analysis.sample import VALIDATION, Sample
from kit.analysis.statistics.clusters import Array
from kit.kinds import ROLES
from kit.registry import Entry, artifacts
from kit.values import Undefined

OOD, FITTED, LABELS = "ood", "fitted", "labels"
Columns = Mapping[str, Array]


class Call(NamedTuple):
    """A metric with all that it is called with.

    Attributes:
        at: the metric as a function of item indices (None: all items).
        n: number of items.
        beside: the other run of a metric of two samples, whose items are the first of the n.
    """

    at: Callable[[Array | None], Any]
    n: int
    beside: Sample | None


class Source(NamedTuple):
    """Records of one kind of artifact, by column: saved ones, and those derived from them."""

    kind: str
    columns: Columns
    info: Mapping[str, Any]

    @classmethod
    def of(cls, sample: Sample) -> Source:
        """Returns all records of a sample."""
        return cls(sample.artifact.kind, sample.artifact.columns, sample.artifact.info)

    def get(self, name: str) -> Array | None:
        """Returns a column; None where there is none.

        Raises:
            Undefined: it cannot be derived, such as probabilities of scores that are none.
        """
        if name in self.columns:
            return self.columns[name]
        derive = artifacts.get(self.kind).traits["derived"].get(name)
        if derive is None:
            return None
        known = {**self.info, **self.columns}
        return np.asarray(derive(**{key: known[key] for key in parameters(derive) if key in known}))


@functools.lru_cache(1024)
def parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """Returns the names of a function's parameters, and whether each has to be given."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default is inspect.Parameter.empty for each in found}


def required(function: Callable[..., Any]) -> list[str]:
    """Returns the names of a function's parameters that have no default."""
    return [name for name, must in parameters(function).items() if must]


def role_of(name: str, roles: tuple[str, ...] = ROLES) -> str:
    """Returns the role of the other run whose column a parameter names: `clean_logits`, or ''."""
    role, _, column = name.partition("_")
    return role if column and role in roles else ""


def needs(entry: Entry) -> set[str]:
    """Returns the roles (`Sample.related`) that a metric cannot do without."""
    names = required(entry.function)
    roles = {role_of(name) for name in names} - {""}
    if FITTED in names and (fit := entry.traits.get("fit")):
        roles |= {VALIDATION, *(role_of(name, (OOD,)) for name in required(fit))} - {""}
    return roles


def call(entry: Entry, source: Source, sample: Sample | None) -> Call:
    """Returns the metric of these records, ready to be called on all items or some.

    Where a corrupted split is set against the clean one, an index picks the same item of both.

    Args:
        entry: the metric.
        source: the records that it reads.
        sample: whose they are, with what is related to it.

    Raises:
        Undefined: a column or another run that it needs is not there.
    """
    role, other = _other(sample, entry.function, ROLES)
    ours, before = _arguments(entry.function, source, role, other, "artifact")
    fixed = {} if other is not None and _is_validation(other) else _fitted(entry, sample)
    if LABELS in parameters(entry.function) and "logits" in source.columns:
        numbers = [str(place) for place in range(source.columns["logits"].shape[1])]
        fixed[LABELS] = source.info.get("labels", numbers)
    n = len(next(iter(source.columns.values())))
    if other is not None and role == "clean" and before:
        if not np.array_equal(other.items(), source.columns["item"]):
            raise Undefined("the corrupted split has other items than the uncorrupted one")
        ours, before = ours | before, {}
    beside = other if before else None
    first = 0 if beside is None else len(beside.items())

    def at(index: Array | None) -> Any:
        if index is None:
            return entry.function(**ours, **before, **fixed)
        parts = (before, index[index < first]), (ours, index[index >= first] - first)
        picked = {name: values[at] for part, at in parts for name, values in part.items()}
        return entry.function(**picked, **fixed)

    return Call(at, first + n, beside)


def _arguments(
    function: Callable[..., Any], source: Source, role: str, other: Sample | None, where: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the columns that a function's parameters name, and those of the other run."""
    ours, theirs = {}, {}
    for name, must in parameters(function).items():
        if name in (FITTED, LABELS):
            continue
        if (column := source.get(name)) is not None:
            ours[name] = column
        elif other is not None and name.startswith(f"{role}_"):
            column = Source.of(other).get(name.removeprefix(f"{role}_"))
            if column is not None:
                theirs[name] = column
        if must and name not in ours and name not in theirs:
            raise Undefined(f"the {where} has no column {name!r}")
    return ours, theirs


def _other(
    sample: Sample | None, function: Callable[..., Any], roles: tuple[str, ...]
) -> tuple[str, Sample | None]:
    """Returns the role whose columns a function's parameters name, and the sample that has it.

    None where there is no such parameter, or it can do without what the study lacks.
    """
    asked = {name: role for name in parameters(function) if (role := role_of(name, roles))}
    role = next(iter(asked.values()), "")
    if sample is None or role not in sample.related:
        return role, None
    try:
        return role, sample.other(role)
    except Undefined:
        if asked.keys() & set(required(function)):
            raise
        return role, None


def _is_validation(sample: Sample) -> bool:
    """Says whether it is the split that fits are made on: set against it, a fit looks too good."""
    return bool(sample.artifact.run.measurement.args.get("split") == VALIDATION)


def _fitted(entry: Entry, sample: Sample | None) -> dict[str, Any]:
    """Returns what the metric's fit makes of the validation split, as its argument."""
    fit = entry.traits.get("fit")
    if fit is None or sample is None or VALIDATION not in sample.related:
        return {}
    try:
        validation = sample.other(VALIDATION)
    except Undefined:
        if parameters(entry.function)[FITTED]:
            raise
        return {}
    role, shifted = _other(sample, fit, (OOD,))

    def make() -> Any:
        inside = Source.of(validation)
        ours, theirs = _arguments(fit, inside, role, shifted, "validation split")
        return fit(**ours, **theirs)

    return {FITTED: sample.fitted(fit, make)}
