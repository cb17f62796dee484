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
from kit.spec.checking import Undefined
from kit.spec.kinds import ROLES
from kit.spec.registry import Entry, artifacts
from kit.spec.roles import data

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
    ours, theirs, other = _arguments(entry.function, source, sample, ROLES)
    fixed = {}
    if other is None or data(other.artifact.run.measurement).get("split") != VALIDATION:
        fixed = _fitted(entry, sample)  # against the split it was made on, a fit looks too good
    if LABELS in parameters(entry.function) and "logits" in source.columns:
        numbers = [str(place) for place in range(source.columns["logits"].shape[1])]
        fixed[LABELS] = source.info.get("labels", numbers)
    n = len(next(iter(source.columns.values())))
    if other is not None and any(name.startswith("clean_") for name in theirs):
        if not np.array_equal(other.items(), source.columns["item"]):
            raise Undefined("the corrupted split has other items than the uncorrupted one")
        ours, theirs, other = ours | theirs, {}, None
    first = 0 if other is None else len(other.items())

    def at(index: Array | None) -> Any:
        if index is None:
            return entry.function(**ours, **theirs, **fixed)
        parts = (theirs, index[index < first]), (ours, index[index >= first] - first)
        picked = {name: values[at] for part, at in parts for name, values in part.items()}
        return entry.function(**picked, **fixed)

    return Call(at, first + n, other)


def _arguments(
    function: Callable[..., Any], source: Source, sample: Sample | None, roles: tuple[str, ...]
) -> tuple[dict[str, Array], dict[str, Array], Sample | None]:
    """Returns the columns that a function's parameters name, those of another run, and that run."""
    ours, theirs, other = {}, {}, None
    for name, must in parameters(function).items():
        column, role = source.get(name), role_of(name, roles)
        if column is not None:
            ours[name] = column
        elif sample is not None and role in sample.related:
            try:
                other = other or sample.other(role)
                column = Source.of(other).get(name.removeprefix(f"{role}_"))
            except Undefined:
                if must:
                    raise
            if column is not None:
                theirs[name] = column
        if must and column is None and name not in (FITTED, LABELS):
            raise Undefined(f"{source.kind} artifacts have no column {name!r}")
    return ours, theirs, other if theirs else None


def _fitted(entry: Entry, sample: Sample | None) -> dict[str, Any]:
    """Returns what the metric's fit makes of the validation split, as its argument."""
    fit = entry.traits.get("fit")
    if fit is None or sample is None or VALIDATION not in sample.related:
        return {}
    try:
        inside = Source.of(sample.other(VALIDATION))
    except Undefined:
        if parameters(entry.function)[FITTED]:
            raise
        return {}

    def make() -> Any:
        ours, theirs, _ = _arguments(fit, inside, sample, (OOD,))
        return fit(**ours, **theirs)

    return {FITTED: sample.fitted(fit, make)}
