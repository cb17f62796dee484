"""Applies a registered metric to an artifact, whatever the two are.

What a metric gets is told by the names of its parameters, never by its own name:

- a column of the artifact, or one derived from them (`probabilities`);
- with `clean_`, `test_` or `validation_` before it the column of another run (`kinds.ROLES`);
- `labels`: the names of what `logits` has a column of;
- `fitted`: what `register_metric(fit=...)` made of the validation split.

Where the study does not ask for that other run, or the artifact lacks a column that only some of
its kind have, the metric gives no row; a parameter with a default is not needed.

How its interval and its change are had is told by what it returns: right or wrong an item
(booleans, by Wilson), a number an item, a `Ratio` of sums, an `Influence`, of calls a number a
launch, a `Bounded` value that brings its own, or one number, which is computed again on draws of
the items. A mapping, `{"launches=4": value, "launches=8": value}`, is a row for each key, and the
key is added to the row's condition. A value that cannot be had is an `Undefined` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kit.analysis.inputs import Columns, Source, call, needs, required
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.intervals import Bounded, Interval
from kit.spec.checking import Undefined
from kit.spec.registry import Entry, artifacts, measurements, metrics, wanted
from kit.store.results import condition, parse_condition
from kit.store.store import Artifact

__all__ = ["Estimate", "Sample", "applicable", "evaluate"]


@dataclass(frozen=True)
class Estimate:
    """One value of a metric, with what its interval and its change will be made of.

    Attributes:
        condition: of the row.
        value: of the metric.
        n: items, of both samples where it has `beside`.
        status: `ok`, `undefined` or `error`.
        note: the reason.
        key: what the metric's mapping called it.
        ratio: of a metric that is a mean or a ratio of sums.
        influence: of a smooth metric of the whole sample.
        binary: it is right or wrong an item.
        launches: one value a launch.
        again: the metric as a function of item indices (None: all).
        beside: the reference sample, whose items come first, of a metric of two samples.
        interval: that the metric brought.
        p_value: that the metric brought.
    """

    condition: str
    value: float = np.nan
    n: int | None = None
    status: str = "ok"
    note: str = ""
    key: str = ""
    ratio: Ratio | None = None
    influence: Influence | None = None
    binary: bool = False
    launches: Array | None = None
    again: Callable[[Array | None], Any] | None = None
    beside: Sample | None = None
    interval: Interval | None = None
    p_value: float = np.nan

    @property
    def by_item(self) -> bool:
        """Whether it can be paired: what each item adds to it is known."""
        return self.ratio is not None or self.influence is not None

    def pseudo_values(self, items: Array | None = None) -> Array:
        """Returns one value an item whose mean is the metric over these items (None: all).

        Raises:
            Undefined: it has no value over these.
        """
        if self.ratio is not None:
            return self.ratio.of(items).pseudo_values()
        assert self.influence is not None and self.again is not None
        found = self.influence if items is None else self.again(items)
        if isinstance(found, Undefined):
            raise found
        values: Array = found.pseudo_values()
        return values


def recorded(value: Array) -> float:
    """Returns the number that was recorded for a quantity under one condition."""
    if len(different := np.unique(value)) > 1:
        raise ValueError(f"it was recorded with different values: {different}")
    return float(different[0])


def _quantities(measurement: Entry) -> list[Entry]:
    """Returns what a measurement may have recorded, as metrics: rows as they stand."""
    settings = {"no_interval": "counted once, not sampled: no interval"}
    return [
        replace(
            measurement,
            name=name,
            function=recorded,
            traits={**quantity._asdict(), **settings, "where": {"quantity": name}},
        )
        for name, quantity in measurement.traits["quantities"].items()
    ]


def applicable(artifact: Artifact, names: Sequence[str] | None = None) -> list[Entry]:
    """Returns the metrics of an artifact; what a measurement counted needs none, named or not.

    Args:
        artifact: what a run saved.
        names: of metrics; where none reads such artifacts, and by default, those of their kind.

    Raises:
        SpecError: a name that is not registered.
    """
    if artifacts.get(artifact.kind).traits["record"] == "quantity":
        return _quantities(measurements.get(artifact.run.measurement.name))
    entries = map(metrics.get, wanted([artifact.kind], "metrics", names))
    return [entry for entry in entries if artifact.kind in entry.traits["artifacts"]]


def asked_for(entry: Entry, sample: Sample) -> bool:
    """Says whether a study has what a metric needs: the other run, and what only some runs save."""
    optional = artifacts.get(sample.artifact.kind).traits["optional"]
    lacking = {name for name in optional if name not in sample.artifact.columns}
    return not lacking & {*required(entry.function)} and needs(entry) <= sample.related.keys()


def evaluate(entry: Entry, sample: Sample) -> Iterator[Estimate]:
    """Yields the metric's value for each condition; what cannot be had says why.

    Yields nothing where the study does not ask for what the metric needs.
    """
    if not asked_for(entry, sample):
        return
    columns = sample.artifact.columns
    try:
        if sample.problem is not None:
            raise sample.problem
        for name, value in entry.traits.get("where", {}).items():
            if name not in columns or not np.any(columns[name] == value):
                if name == "quantity":
                    return
                what = f"{name} {value}" if value != "" else "start"  # belongs to no condition
                raise Undefined(f"the run recorded no {what}")
            chosen = columns[name] == value
            columns = {key: values[chosen] for key, values in columns.items()}
    except Exception as error:
        yield Estimate(sample.protocol, **_failure(error))
        return
    if "condition" not in columns:
        yield from estimates(entry, columns, sample.protocol, sample)
        return
    for text in np.unique(columns["condition"]):
        chosen = columns["condition"] == text
        part = {key: values[chosen] for key, values in columns.items()}
        yield from estimates(entry, part, str(text), sample)


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, Undefined):
        return {"status": "undefined", "note": str(error)}
    return {"status": "error", "note": f"{type(error).__name__}: {error}"}


def estimates(
    entry: Entry, columns: Columns, text: str, sample: Sample | None = None
) -> Iterator[Estimate]:
    """Yields the metric over columns of one condition; what cannot be had says why.

    Args:
        entry: the metric.
        columns: the records that it reads.
        text: the condition.
        sample: whose columns they are, with what is related to it; None: of the first kind that the
            metric reads.
    """
    kind = entry.traits["artifacts"][0] if sample is None else sample.artifact.kind
    info = {} if sample is None else sample.artifact.info
    try:
        made = call(entry, Source(kind, columns, info), sample)
        result = made.at(None)
    except Exception as error:
        yield Estimate(text, **_failure(error))
        return
    whole = not isinstance(result, Mapping)
    for key, value in {"": result}.items() if whole else result.items():
        again = made.at if whole else _picked(made.at, key)
        extended = condition(**parse_condition(text), **parse_condition(key))
        try:
            found = _shape(entry, value, made.n, artifacts.get(kind).traits["record"])
            yield Estimate(extended, key=key, again=again, beside=made.beside, **found)
        except Exception as error:
            yield Estimate(extended, key=key, **_failure(error))


def _picked(at: Callable[[Array | None], Any], key: str) -> Callable[[Array | None], Any]:
    return lambda index: at(index)[key]


def _shape(entry: Entry, result: Any, n: int, record: str) -> dict[str, Any]:
    """Tells one value, one an item, one a launch, a ratio of sums and a bounded value apart.

    Returns:
        Fields of `Estimate`.
    """
    size = n
    if isinstance(result, Undefined):
        raise result
    if isinstance(result, Bounded):
        value, interval, n, p_value = result
        about = {"note": interval.note, "interval": interval, "p_value": p_value}
        return {"value": value, "n": n, **about}
    if record == "call" and not entry.traits["no_interval"]:
        values = np.atleast_1d(np.asarray(result, dtype=np.float64))
        return {"value": float(values.mean()), "n": len(values), "launches": values}
    found: dict[str, Any] = {"n": n}
    if isinstance(result, Ratio):
        found |= {"ratio": result, "value": result.value}
    elif isinstance(result, Influence):
        size = len(result.influence)
        found |= {"influence": result, "value": result.value}
    elif np.ndim(result) == 1:
        values, size = np.asarray(result), len(result)
        found |= {"ratio": Ratio(values, np.ones(size)), "value": float(values.mean())}
        found |= {"binary": values.dtype == bool}
    else:
        found |= {"value": float(result)}
    if size != n:
        raise ValueError(f"metric {entry.name} gave {size} values for {n} items")
    if not np.isfinite(found["value"]):
        raise Undefined(f"the metric gave {found['value']}")
    return found
