"""Applies a registered metric to an artifact, whatever the two are.

What a metric gets is told by its parameters (columns) and traits, never by its name. Traits beside
those of `register_metric`:

- `where`: `{column: value}`, the records that it reads.
- `needs_probabilities`: undefined where the artifact says that its scores are none (`rated`).
- `null`: the value under no difference from the run's own `against` side (1.0 for ratios).
- `by_group`: also reported for each group of 20 items or more.
- `flips`: per-item right and wrong, whose changes are counted.
- `note`: why it has no interval.

A metric may return a mapping, `{"launches=4": value, "launches=8": value}`: a row for each key, and
the key is added to the row's condition.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kit.analysis.intervals import Array, Bounded, Interval, Ratio
from kit.registry import Entry, metrics
from kit.results import condition, parse_condition
from kit.spec import Undefined
from kit.store import Artifact


@dataclass(frozen=True)
class Estimate:
    """One value of a metric, with what its interval will be made of."""

    condition: str
    value: float = np.nan
    n: int | None = None
    status: str = "ok"
    note: str = ""
    ratio: Ratio | None = None
    binary: bool = False
    launches: Array | None = None
    again: Callable[[Array], float] | None = None
    interval: Interval | None = None
    p_value: float = np.nan


@dataclass(frozen=True)
class Sample:
    """An artifact with what all metrics of it share."""

    artifact: Artifact

    @property
    def protocol(self) -> str:
        return condition(**self.artifact.info.get("protocol", {}))

    @cached_property
    def clusters(self) -> tuple[Array, int]:
        """Cluster of each item as 0..count-1, and the count; items without one are their own."""
        import pandas as pd

        names = self.artifact.columns.get("cluster")
        if names is None:
            size = len(next(iter(self.artifact.columns.values())))
            return np.arange(size), size
        codes, found = pd.factorize(names.astype(object))
        return codes, len(found)

    @cached_property
    def problem(self) -> Exception | None:
        """Why no metric of this artifact can be trusted."""
        columns = self.artifact.columns
        if len({len(values) for values in columns.values()}) > 1:
            sizes = {name: len(values) for name, values in columns.items()}
            return ValueError(f"run {self.artifact.run_id}: columns differ in length: {sizes}")
        if not columns or not len(next(iter(columns.values()))):
            return Undefined("no items")
        for name, values in columns.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
                at = f"first at {columns['item'][bad.argmax()]}" if "item" in columns else ""
                return ValueError(
                    f"run {self.artifact.run_id}: {name} is NaN or infinite in {bad.sum()} of "
                    f"{len(bad)} records {at}".rstrip()
                )
        if {"logits", "label"} <= columns.keys():
            label, classes = columns["label"], columns["logits"].shape[1]
            if label.min() < 0 or label.max() >= classes:
                wrong = label.min() if label.min() < 0 else label.max()
                return ValueError(
                    f"run {self.artifact.run_id}: label {wrong} is outside the {classes} classes"
                )
        return None


def applicable(kind: str, names: Sequence[str] | None) -> list[Entry]:
    """Returns the metrics, all or those named, that read artifacts of a kind.

    Raises:
        SpecError: a name that is not registered.
    """
    entries = [metrics.get(name) for name in (metrics.names() if names is None else names)]
    return [entry for entry in entries if entry.traits["artifact"] == kind]


def evaluate(entry: Entry, sample: Sample) -> Iterator[Estimate]:
    """Yields the metric's value for each condition; what cannot be had says why."""
    columns = sample.artifact.columns
    try:
        if sample.problem is not None:
            raise sample.problem
        if entry.traits.get("needs_probabilities") and sample.artifact.info.get("rated") is False:
            raise Undefined("its scores are no probabilities")
        for name, wanted in entry.traits.get("where", {}).items():
            if name not in columns or not np.any(columns[name] == wanted):
                what = f"{name} {wanted}" if wanted != "" else "start"  # belongs to no condition
                raise Undefined(f"the run recorded no {what}")
            chosen = columns[name] == wanted
            columns = {key: values[chosen] for key, values in columns.items()}
    except Exception as error:
        yield Estimate(sample.protocol, **_failure(error))
        return
    if "condition" not in columns:
        yield from estimates(entry, columns, sample.protocol)
        return
    for text in np.unique(columns["condition"]):
        chosen = columns["condition"] == text
        part = {key: values[chosen] for key, values in columns.items()}
        yield from estimates(entry, part, str(text))


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, Undefined):
        return {"status": "undefined", "note": str(error)}
    return {"status": "error", "note": f"{type(error).__name__}: {error}"}


def estimates(entry: Entry, columns: Mapping[str, Array], text: str) -> Iterator[Estimate]:
    """Yields the metric over columns of one condition; what cannot be had says why."""
    try:
        call = _call(entry, columns)
        result, n = call(None), len(next(iter(columns.values())))
    except Exception as error:
        yield Estimate(text, **_failure(error))
        return
    whole = not isinstance(result, Mapping)
    for key, value in {"": result}.items() if whole else result.items():
        again = (lambda index: float(call(index))) if whole else _picked(call, key)
        extended = condition(**parse_condition(text), **parse_condition(key))
        try:
            yield _shape(entry, value, extended, n, again)
        except Exception as error:
            yield Estimate(extended, **_failure(error))


def _picked(call: Callable[[Array | None], Any], key: str) -> Callable[[Array], float]:
    return lambda index: float(call(index)[key])


def _call(entry: Entry, columns: Mapping[str, Array]) -> Callable[[Array | None], Any]:
    """Returns the metric as a function of item indices (None: all items)."""
    given: dict[str, Array] = {}
    for parameter in inspect.signature(entry.function).parameters.values():
        if parameter.name in columns:
            given[parameter.name] = columns[parameter.name]
        elif parameter.default is inspect.Parameter.empty:
            raise Undefined(f"the artifact has no column {parameter.name!r}")

    def call(index: Array | None) -> Any:
        if index is None:
            return entry.function(**given)
        return entry.function(**{name: values[index] for name, values in given.items()})

    return call


def _shape(
    entry: Entry, result: Any, text: str, n: int, again: Callable[[Array], float]
) -> Estimate:
    """Tells one value, one an item, one a launch, a ratio of sums and a bounded value apart."""
    binary = False
    if isinstance(result, Bounded):
        value, interval, n, p_value = result
        return Estimate(text, value, n, note=interval.note, interval=interval, p_value=p_value)
    if entry.traits["interval"] == "launches":
        values = np.atleast_1d(np.asarray(result, dtype=np.float64))
        return Estimate(text, float(values.mean()), len(values), launches=values)
    if isinstance(result, Ratio):
        ratio, value = result, result.value
    elif np.ndim(result) == 1:
        values = np.asarray(result)
        if len(values) != n:
            raise ValueError(f"metric {entry.name} gave {len(values)} values for {n} items")
        if entry.traits["interval"] == "wilson" and not np.isin(values, (0, 1)).all():
            raise ValueError(f"metric {entry.name}: a Wilson interval needs values of 0 and 1")
        binary = entry.traits["interval"] == "wilson" or values.dtype == bool
        ratio, value = Ratio(values, np.ones(n)), float(values.mean())
    else:
        ratio, value = None, float(result)
    if not np.isfinite(value):
        raise Undefined(f"the metric gave {value}")
    return Estimate(text, value, n, ratio=ratio, binary=binary, again=again)
