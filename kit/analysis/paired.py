"""Is the variant different from the baseline? Item by item, on the items both have seen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.analysis.evaluate import Estimate
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array, Clusters
from kit.analysis.statistics.corrections import holm
from kit.analysis.statistics.intervals import ALONE, Interval, t_quantile, t_test
from kit.spec.checking import SpecError, Undefined
from kit.spec.registry import Entry
from kit.store.meaning import is_shifted
from kit.store.store import Artifact

Estimates = Mapping[int, tuple[Sample, list[Estimate]]]
"""Of one variant, metric and measurement, by seed."""


@dataclass(frozen=True)
class Change:
    """A mean paired difference, variant minus baseline.

    Attributes:
        value: the difference.
        interval: two-sided 95%.
        p_value: two-sided, of no difference.
        mde: the smallest true difference that would have been seen in 80% of such studies.
        lost: items right before and wrong after; -1 where nothing is right or wrong.
        gained: the reverse.
    """

    value: float
    interval: Interval
    p_value: float
    mde: float
    lost: int = -1
    gained: int = -1


def change(
    differences: Array, clusters: Clusters, *, binary: bool, repeats: str = "seeds"
) -> Change:
    """Returns the mean change with its interval, by cluster-robust t (singletons: the paired t).

    The interval answers one of two questions, named by what it is over. Over items or clusters:
    would other items say the same of these trained models? Over seeds, from three on: would models
    trained again, on other items? (The mean of a metric over seeds has a third, of `robust`: would
    models trained again, on these items?) For the second, the variance between seeds, less what
    items account for in it (each seed meets them anew: the interaction of seed and item, counted
    already), is added to that of the items, with Satterthwaite's degrees of freedom.

    Differences of right and wrong get two pseudo-items, +1 and -1 (Bonett and Price 2012), so that
    no flips do not claim a width of zero, and McNemar's exact test where items are independent.

    Args:
        differences: [seeds, items].
        clusters: of the items.
        binary: the metric is right or wrong.
        repeats: what stands for seeds where something else was repeated.
    """
    from scipy.special import bdtr

    seeds = len(differences)
    items = differences.mean(axis=0)
    value, over, padded = float(items.mean()), clusters.over, clusters
    lost = gained = -1
    if binary and seeds == 1:
        lost, gained = int((items < 0).sum()), int((items > 0).sum())
    if binary:
        items, padded = np.append(items, [1.0, -1.0]), clusters.more(2)
    if padded.count < 2:
        return Change(value, ALONE, math.nan, math.nan, lost, gained)
    variance, df = padded.standard_error(items) ** 2, padded.count - 1.0
    note = "" if np.any(differences) else "the same on every item"
    if seeds >= 3:
        between, shared = _between_seeds(differences, clusters)
        total = variance + max(between - shared, 0.0)
        if total > 0:
            df = total**2 / (variance**2 / df + between**2 / (seeds - 1))
        variance, over = total, repeats
    error, centre = math.sqrt(variance), float(items.mean())
    half = t_quantile(0.975, df) * error
    low, high = centre - half, centre + half
    p_value = t_test(centre, error, df)
    if lost >= 0 and over == "items":
        p_value = min(2 * float(bdtr(min(lost, gained), lost + gained, 0.5)), 1.0)
    if binary:
        low, high = max(low, -1.0), min(high, 1.0)
    mde = (t_quantile(0.975, df) + t_quantile(0.8, df)) * error if error else math.nan
    return Change(value, Interval(low, high, over, note), p_value, mde, lost, gained)


def _between_seeds(differences: Array, clusters: Clusters) -> tuple[float, float]:
    """Returns the variance of the mean between seeds, and how much of it is seed by item."""
    seeds, n = differences.shape
    means = differences.mean(axis=1)
    rest = differences - differences.mean(axis=0) - (means - means.mean())[:, None]
    sums = np.stack([clusters.sums(row) for row in rest])
    shared = (sums**2).sum() / ((seeds - 1) * seeds * n * n)
    return float(means.var(ddof=1)) / seeds, float(shared)


def adjust(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows with `p_adjusted` by Holm.

    A family is one metric of one study, at the level it is read: pooled rows, or rows of single
    seeds together; those of shifted copies apart, whose number would drown the others. Rows of
    groups keep what `kit.analysis.groups` adjusted.
    """
    made = [dict(row) for row in rows]
    families = defaultdict(list)
    for row in made:
        if not math.isnan(row["p_value"]) and not row["group"]:
            families[row["metric"], row["seed"] == "all", is_shifted(row["condition"])].append(row)
    for family in families.values():
        adjusted = holm(np.array([row["p_value"] for row in family]))
        for row, p_value in zip(family, adjusted, strict=True):
            row["p_adjusted"] = float(p_value)
    return made


class Unpaired(Exception):
    """Why two runs have no paired difference."""


@dataclass(frozen=True)
class Paired:
    """A variant's values less its baseline's, on the items both have seen.

    Attributes:
        differences: [pairs of seeds, items].
        clusters: of the items.
        binary: the metric is right or wrong.
        kept: where the variant's first sample has the items; None: it has no others.
        notes: for the rows.
    """

    differences: Array
    clusters: Clusters
    binary: bool
    kept: Array | None
    notes: list[str]

    @property
    def change(self) -> Change:
        """The mean change."""
        return change(self.differences, self.clusters, binary=self.binary)


def paired(
    entry: Entry, ours: Estimates, theirs: Estimates, pairs: Sequence[tuple[int, int]]
) -> Paired:
    """Returns the differences of two sides, item by item.

    Raises:
        Unpaired: one side has no value an item, or they share none that it could be had of.
    """
    if not theirs:
        raise Unpaired("the baseline was not measured here")
    if not pairs:
        raise Unpaired("the variant and the baseline share no seed")
    for seeds, who, at in ((ours, "variant", 0), (theirs, "baseline", 1)):
        for seed in {pair[at] for pair in pairs}:
            first = seeds[seed][1][0]
            if not first.by_item:
                raise Unpaired(f"{who}, seed {seed}: {first.note or 'no value an item'}")
    sides = [side for a, b in pairs for side in (ours[a], theirs[b])]
    if entry.traits.get("by_columns"):
        widths = [sample.artifact.columns["logits"].shape[1] for sample, _ in sides]
        if len(set(widths)) > 1:
            raise Unpaired(
                f"the variant answers with {widths[0]} labels, the baseline with {widths[1]}: "
                f"{entry.name} has another scale"
            )
    items = [sample.items(estimates[0].beside) for sample, estimates in sides]
    shared, picks = shared_items(items)
    if not len(shared):
        raise Unpaired("the variant and the baseline share no item")
    _check_same(entry, [sample for sample, _ in sides], picks)
    missing = len(items[0]) - len(shared)
    notes = [f"{missing} items not shared"] if missing else []
    protocols = {sample.protocol for sample, _ in sides}
    if len(protocols) > 1:
        notes.append("protocols differ: " + " and ".join(sorted(protocols)))
    try:
        values = [side[1][0].pseudo_values(pick) for side, pick in zip(sides, picks, strict=True)]
    except Undefined as error:
        raise Unpaired(f"on the items that both have: {error}") from error
    differences = np.stack([a - b for a, b in zip(values[::2], values[1::2], strict=True)])
    clusters = sides[0][0].clusters_with(sides[0][1][0].beside).of(picks[0])
    binary = all(estimates[0].binary for _, estimates in sides)
    return Paired(differences, clusters, binary, picks[0], notes)


def _check_same(entry: Entry, samples: Sequence[Sample], picks: Sequence[Array | None]) -> None:
    """Raises Unpaired where what a metric's scale depends on is not the same, item by item."""
    for column, meaning in entry.traits.get("same", {}).items():
        both = list(zip((one.artifact.columns for one in samples), picks, strict=True))
        values, items = (
            [columns[name][slice(None) if pick is None else pick] for columns, pick in both]
            for name in (column, "item")
        )
        for other in values:
            if len(at := np.flatnonzero(other != values[0])):
                raise Unpaired(
                    f"{meaning}: {values[0][at[0]]} and {other[at[0]]} {column} of item "
                    f"{items[0][at[0]]}; {entry.name} is on another scale"
                )


def shared_items(items: Sequence[Array]) -> tuple[Array, list[Array | None]]:
    """Returns the ids all have, in the first one's order, and where each has them (None: all)."""
    import pandas as pd

    if all(np.array_equal(items[0], other) for other in items[1:]):
        return items[0], [None] * len(items)
    indexes = [pd.Index(ids.astype(object)) for ids in items]
    if not all(index.is_unique for index in indexes):
        raise Unpaired("an item id stands twice in a run")
    shared = items[0][np.logical_and.reduce([indexes[0].isin(index) for index in indexes])]
    return shared, [index.get_indexer(shared.astype(object)) for index in indexes]


def places(artifacts: Sequence[Artifact]) -> tuple[Array, list[Any]]:
    """Returns the items that all runs have, and where each run has them.

    Raises:
        SpecError: they share none.
    """
    shared, picks = shared_items([one.columns["item"] for one in artifacts])
    if not len(shared):
        raise SpecError("the runs of the baseline and the variant share no item")
    return shared, [slice(None) if pick is None else pick for pick in picks]
