"""What a metric is called with: columns, a reference's columns, and what its fit made.

Which is which is told by the names of the function's parameters; see `kit.analysis.evaluate`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kit.analysis.sample import VALIDATION, Sample
from kit.analysis.statistics.clusters import Array
from kit.registry import Entry
from kit.roles import data
from kit.values import Undefined

REFERENCE, OOD, FITTED, LABELS = "reference_", "ood_", "fitted", "labels"
Columns = Mapping[str, Array]


class Call(NamedTuple):
    """A metric with all that it is called with.

    Attributes:
        at: the metric as a function of item indices (None: all items).
        n: number of items.
        beside: the reference of a metric of two samples, whose items are the first of the n.
    """

    at: Callable[[Array | None], Any]
    n: int
    beside: Sample | None


def needs(entry: Entry) -> set[str]:
    """Returns the roles (`Sample.related`) that a metric cannot do without."""
    names = required(entry.function)
    roles = {_reference(entry)} if any(name.startswith(REFERENCE) for name in names) else set()
    if FITTED in names and (fit := entry.traits.get("fit")):
        roles.add(VALIDATION)
        if any(name.startswith(OOD) for name in required(fit)):
            roles.add("ood")
    return roles


def _reference(entry: Entry) -> str:
    role: str = entry.traits.get("reference", "reference")
    return role


@functools.lru_cache(1024)
def _parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """Returns the names of a function's parameters, and whether each has to be given."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default is inspect.Parameter.empty for each in found}


def required(function: Callable[..., Any]) -> list[str]:
    """Returns the names of a function's parameters that have no default."""
    return [name for name, must in _parameters(function).items() if must]


def call(entry: Entry, columns: Columns, sample: Sample | None) -> Call:
    """Returns the metric of these columns, ready to be called on all items or some.

    Where a corrupted split is set against the clean one, an index picks the same item of both.

    Args:
        entry: the metric.
        columns: the records that it reads.
        sample: whose columns they are, with what is related to it.

    Raises:
        Undefined: a column or another run that it needs is not there.
    """
    role = _reference(entry)
    other = _other(sample, role, entry.function, REFERENCE)
    theirs = {} if other is None else other.artifact.columns
    ours, before = _arguments(entry.function, columns, REFERENCE, theirs, "artifact")
    fixed = {} if other is not None and _is_validation(other) else _fitted(entry, sample)
    fixed |= _names(entry.function, columns, sample)
    n = len(next(iter(columns.values())))
    if role == "clean" and before:
        if not np.array_equal(theirs["item"], columns["item"]):
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
    function: Callable[..., Any], columns: Columns, prefix: str, others: Columns, where: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the columns that a function's parameters name, and those of the others."""
    ours, theirs = {}, {}
    for name, must in _parameters(function).items():
        bare = name.removeprefix(prefix)
        if name in columns:
            ours[name] = columns[name]
        elif bare != name and bare in others:
            theirs[name] = others[bare]
        elif must and name not in (FITTED, LABELS):
            raise Undefined(f"the {where} has no column {name!r}")
    return ours, theirs


def _names(
    function: Callable[..., Any], columns: Columns, sample: Sample | None
) -> dict[str, Sequence[str]]:
    """Returns what the columns of `logits` are called, as an argument where it is asked for.

    Their numbers, where the artifact does not say.
    """
    if LABELS not in _parameters(function) or "logits" not in columns:
        return {}
    numbers = [str(place) for place in range(columns["logits"].shape[1])]
    known = {} if sample is None else sample.artifact.info
    return {LABELS: known.get("labels", numbers)}


def _other(
    sample: Sample | None, role: str, function: Callable[..., Any], prefix: str
) -> Sample | None:
    """Returns the related sample of a role, of which a function's parameters with a prefix are.

    None where it has no such parameters, or can do without what the study lacks.
    """
    asked = {name for name in _parameters(function) if name.startswith(prefix)}
    if sample is None or not asked or role not in sample.related:
        return None
    try:
        return sample.other(role)
    except Undefined:
        if asked & set(required(function)):
            raise
        return None


def _is_validation(sample: Sample) -> bool:
    """Says whether it is the split that fits are made on: set against it, a fit looks too good."""
    return bool(data(sample.artifact.run.measurement).get("split") == VALIDATION)


def _fitted(entry: Entry, sample: Sample | None) -> dict[str, Any]:
    """Returns what the metric's fit makes of the validation split, as its argument."""
    fit = entry.traits.get("fit")
    validation = _other(sample, VALIDATION, entry.function, FITTED)
    if fit is None or validation is None or sample is None:
        return {}
    inside, shifted = validation.artifact.columns, _other(sample, "ood", fit, OOD)
    outside = {} if shifted is None else shifted.artifact.columns

    def make() -> Any:
        ours, theirs = _arguments(fit, inside, OOD, outside, "validation split")
        return fit(**ours, **theirs)

    return {FITTED: sample.fitted(fit, make)}
