"""Applies a registered metric to an artifact, whatever the two are.

What a metric gets is told by its parameters and traits, never by its name. Parameters are columns
of the artifact; `labels`, the names of what `logits` has a column of; `fitted`, what
`register_metric(fit=...)` made of the validation split; and `reference_<column>`, a column of the
split that a shifted or corrupted one is set against (see `kit.analysis.sample`). Where the study
does not ask for that other split, the metric gives no row; a parameter with a default is not
needed. Traits beside those of `register_metric`:

- `where`: `{column: value}`, the records that it reads.
- `columns`: names without which it gives no row, such as `("valence",)`; of a metric that reads
  several kinds of artifact a mapping from the kind to such names.
- `reference`: `clean` (of corrupted splits alone: the same items before and after, in one order),
  `test` (of the task's shifts alone) or, where not given, either of them as another sample.
- `optional`: only given where it is asked for by name.
- `graded`: also reported for corrupted items, of which there are many; a user's metrics always are.
- `needs_probabilities`: undefined where the artifact says that its scores are none (`rated`).
- `null`: the value under no difference from the run's own `against` side (1.0 for ratios).
- `by_group`: also reported for each group of 20 items or more.
- `by_columns`: its scale depends on how many columns `logits` has: runs in which these differ in
  number are not paired.
- `flips`: per-item right and wrong, whose changes are counted.
- `bounds`: least and greatest value of an `Influence`; its interval stays within.
- `note`: why it has no interval.

A metric may return a mapping, `{"launches=4": value, "launches=8": value}`: a row for each key, and
the key is added to the row's condition. A value that cannot be had is an `Undefined` with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kit.analysis.inputs import Columns, call, needs
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.intervals import Bounded, Interval
from kit.registry import Entry, artifacts, measurements, metrics
from kit.results import condition, parse_condition
from kit.store import Artifact
from kit.values import Undefined

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
    settings = {"interval": None, "note": "counted once, not sampled: no interval"}
    return [
        replace(
            measurement,
            name=name,
            function=recorded,
            traits={**quantity._asdict(), **settings, "where": {"quantity": name}},
        )
        for name, quantity in measurement.traits["quantities"].items()
    ]


def applicable(artifact: Artifact, names: Sequence[str] | None) -> list[Entry]:
    """Returns the metrics that read an artifact: those named, or all but the optional.

    What a measurement counted needs none: its quantities are rows, named or not.

    Raises:
        SpecError: a name that is not registered.
    """
    kind = artifact.kind
    if artifacts.get(kind).traits["record"] == "quantity":
        return _quantities(measurements.get(artifact.run.measurement.name))
    chosen = metrics.names() if names is None else names
    entries = [entry for entry in map(metrics.get, chosen) if kind in entry.traits["artifacts"]]
    return [e for e in entries if names is not None or not e.traits.get("optional")]


def asked_for(entry: Entry, sample: Sample) -> bool:
    """Says whether the study has what a metric needs, and whether it is wanted there.

    Of corrupted items the kit's own metrics are reported only where they are `graded`.
    """
    if sample.corrupted and entry.in_kit and not entry.traits.get("graded"):
        return False
    columns, needed = sample.artifact.columns, entry.traits.get("columns", ())
    if isinstance(needed, Mapping):
        needed = needed.get(sample.artifact.kind, ())
    return all(name in columns for name in needed) and needs(entry) <= sample.related.keys()


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
        if entry.traits.get("needs_probabilities") and sample.artifact.info.get("rated") is False:
            raise Undefined("its scores are no probabilities")
        for name, wanted in entry.traits.get("where", {}).items():
            if name not in columns or not np.any(columns[name] == wanted):
                if name == "quantity":
                    return
                what = f"{name} {wanted}" if wanted != "" else "start"  # belongs to no condition
                raise Undefined(f"the run recorded no {what}")
            chosen = columns[name] == wanted
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
        sample: whose columns they are, with what is related to it.
    """
    try:
        made = call(entry, columns, sample)
        result = made.at(None)
    except Exception as error:
        yield Estimate(text, **_failure(error))
        return
    whole = not isinstance(result, Mapping)
    for key, value in {"": result}.items() if whole else result.items():
        again = made.at if whole else _picked(made.at, key)
        extended = condition(**parse_condition(text), **parse_condition(key))
        try:
            found = _shape(entry, value, made.n)
            yield Estimate(extended, key=key, again=again, beside=made.beside, **found)
        except Exception as error:
            yield Estimate(extended, key=key, **_failure(error))


def _picked(at: Callable[[Array | None], Any], key: str) -> Callable[[Array | None], Any]:
    return lambda index: at(index)[key]


def _shape(entry: Entry, result: Any, n: int) -> dict[str, Any]:
    """Tells one value, one an item, one a launch, a ratio of sums and a bounded value apart.

    Returns:
        Fields of `Estimate`.
    """
    how, size = entry.traits["interval"], n
    if isinstance(result, Undefined):
        raise result
    if isinstance(result, Bounded):
        value, interval, n, p_value = result
        about = {"note": interval.note, "interval": interval, "p_value": p_value}
        return {"value": value, "n": n, **about}
    if how == "launches":
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
        if how == "wilson" and not np.isin(values, (0, 1)).all():
            raise ValueError(f"metric {entry.name}: a Wilson interval needs values of 0 and 1")
        found |= {"ratio": Ratio(values, np.ones(size)), "value": float(values.mean())}
        found |= {"binary": how == "wilson" or values.dtype == bool}
    else:
        found |= {"value": float(result)}
    if size != n:
        raise ValueError(f"metric {entry.name} gave {size} values for {n} items")
    if not np.isfinite(found["value"]):
        raise Undefined(f"the metric gave {found['value']}")
    return found
