"""Does a variant lose in one group what its average hides? Paired changes, group by group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kit.analysis.evaluate import Estimate
from kit.analysis.paired import Change, Paired, change
from kit.analysis.rows import Row, change_row, interval_of, row_of
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array, Clusters
from kit.analysis.statistics.corrections import bh
from kit.analysis.statistics.intervals import Interval
from kit.spec.registry import Entry
from kit.store.meaning import join_name

SMALLEST_GROUP, MOST_GROUPS = 20, 20
"""Items below which a group is too small to be a row, and rows that one group column may give."""
LEVEL = 0.05
TIMES = 2.0
"""A group is flagged when it loses more than so many times the mean loss."""
BIASED = "no interval: the extreme of several estimates lies too far out by chance"


def slices(columns: Mapping[str, Array]) -> Iterator[tuple[str, str, Array]]:
    """Yields column, `column=value` and which items it is, for the largest groups of each column.

    Args:
        columns: of an artifact; those named `group:<column>` are read.
    """
    for name in sorted(column for column in columns if column.startswith("group:")):
        values, codes = np.unique(columns[name], return_inverse=True)
        sizes = np.bincount(codes)
        largest = np.argsort(-sizes, kind="stable")[:MOST_GROUPS]
        column = name.removeprefix("group:")
        for place in np.sort(largest[sizes[largest] >= SMALLEST_GROUP]):
            yield column, f"{column}={values[place]}", codes == place


@dataclass(frozen=True)
class Excess:
    """By how much a group loses more than twice the mean loss, and whether that is shown.

    Attributes:
        change: loss of the group less twice the mean loss, above 0 where it loses more.
        p_value: one-sided, of a group that loses nothing or no more than twice the mean.
        p_adjusted: for all groups tested beside it.
    """

    change: Change
    p_value: float
    p_adjusted: float

    @property
    def flagged(self) -> bool:
        """Says whether the group is shown to lose more than twice the mean."""
        return self.p_adjusted <= LEVEL


@dataclass(frozen=True)
class GroupChange:
    """The paired change of one group.

    Attributes:
        group: `column=value`.
        n: items.
        change: variant minus baseline.
        p_adjusted: by Benjamini and Hochberg over the groups.
        excess: None where a metric has no better direction.
    """

    group: str
    n: int
    change: Change
    p_adjusted: float
    excess: Excess | None


def group_changes(
    differences: Array,
    clusters: Clusters,
    groups: Mapping[str, Array],
    *,
    binary: bool,
    higher_is_better: bool | None,
) -> list[GroupChange]:
    """Returns the change of each group, and which lose more than twice the mean loss.

    Two questions are tested a group, one-sided: does it lose at all, and does it lose more than
    twice the mean (the group's mean less twice the mean over all items, itself among them, so both
    from one influence value an item)? A group is flagged where the first holds by Benjamini and
    Hochberg (1995) over all groups, and the second by the same over those that lose at 5%. Where no
    group loses, any flag at all is thus an error of at most 5%. Testing the second over all groups
    would cost some ten points of power (`benchmarks/groups.py`); the price of not doing so is that
    where half of the groups lose exactly twice the mean, and little, 9% instead of 5% of studies
    flag one.

    Args:
        differences: [seeds, items], variant minus baseline.
        clusters: of the items.
        groups: `column=value` -> which items [items], as booleans.
        binary: the metric is right or wrong.
        higher_is_better: its direction.
    """
    if not groups:
        return []
    changes = [
        change(differences[:, chosen], clusters.of(chosen), binary=binary)
        for chosen in groups.values()
    ]
    adjusted = bh(np.array([one.p_value for one in changes]))
    excesses: list[Any] = [None] * len(changes)
    if higher_is_better is not None:
        losses = -differences if higher_is_better else differences
        excesses = _excesses(losses, clusters, groups, changes, higher_is_better)
    return [
        GroupChange(name, int(chosen.sum()), one, float(p_value), excess)
        for (name, chosen), one, p_value, excess in zip(
            groups.items(), changes, adjusted, excesses, strict=True
        )
    ]


def _excesses(
    losses: Array,
    clusters: Clusters,
    groups: Mapping[str, Array],
    changes: list[Change],
    higher_is_better: bool,
) -> list[Excess]:
    """Returns for each group how far its loss exceeds twice the mean, tested as said above."""
    found = [change(_beyond(losses, chosen), clusters, binary=False) for chosen in groups.values()]
    loses = np.array([_one_sided(one, up=not higher_is_better) for one in changes])
    more = np.array([_one_sided(one, up=True) for one in found])
    losing = loses <= LEVEL
    adjusted = more.copy()
    adjusted[losing] = bh(more[losing])
    adjusted = np.maximum(bh(loses), adjusted)
    each = zip(found, np.maximum(loses, more), adjusted, strict=True)
    return [Excess(one, float(p_value), float(p_adjusted)) for one, p_value, p_adjusted in each]


def _beyond(losses: Array, chosen: Array) -> Array:
    """Returns values [seeds, items] whose mean is the group's mean loss less twice the mean loss.

    Their spread is that of the estimate: the influence of a mean over some of the items, less twice
    that of the mean over all.
    """
    within = losses[:, chosen]
    mean = within.mean(axis=1, keepdims=True)
    values = mean - TIMES * losses
    values[:, chosen] += (within - mean) * (losses.shape[1] / within.shape[1])
    return np.asarray(values)


def _one_sided(one: Change, *, up: bool) -> float:
    """Returns the p-value against a change above zero (`up`) or below it."""
    return one.p_value / 2 if (one.value > 0) == up else 1 - one.p_value / 2


def group_rows(entry: Entry, estimate: Estimate, sample: Sample) -> Iterator[Row]:
    """Yields a metric for the groups of each column, the worst of them, and how far apart they are.

    Rows `worst_group_<metric>` and `<metric>_group_gap` (best less worst) have the column for a
    group. They have no interval: the least of several estimates lies too low by chance.

    Args:
        entry: the metric; without a value an item it gives nothing.
        estimate: of all items.
        sample: whose groups they are.
    """
    if estimate.ratio is None:
        return
    values: dict[str, dict[str, Estimate]] = defaultdict(dict)
    for column, group, chosen in slices(sample.artifact.columns):
        ratio = estimate.ratio.of(chosen)
        part = replace(estimate, value=ratio.value, n=int(chosen.sum()), ratio=ratio)
        interval = interval_of(entry, part, sample, chosen)
        yield row_of(sample, entry, part, interval, group=group)
        values[column][group] = part
    higher = entry.traits["higher_is_better"]
    for column, parts in values.items():
        if higher is None or len(parts) < 2:
            continue
        ordered = sorted(parts, key=lambda group: parts[group].value, reverse=not higher)
        worst, best = parts[ordered[0]], parts[ordered[-1]]
        gap = replace(estimate, value=abs(best.value - worst.value), note=f"to {ordered[-1]}")
        for metric, one in (
            (join_name(entry.name, "worst_group"), worst),
            (join_name(entry.name, "group_gap"), gap),
        ):
            told = replace(one, note=" ".join(each for each in (ordered[0], one.note) if each))
            yield row_of(sample, entry, told, Interval(note=BIASED), group=column, metric=metric)


def change_rows(
    entry: Entry, both: Paired, sample: Sample, condition: str, fields: Row
) -> Iterator[Row]:
    """Yields `<metric>_change` and `<metric>_excess_loss` for each group that is not all items.

    Args:
        entry: the metric.
        both: its paired differences.
        sample: of the variant, whose groups they are.
        condition: of the rows.
        fields: of the row over all items, `<metric>_change`.
    """
    columns = sample.artifact.columns
    if both.kept is not None:
        columns = {name: values[both.kept] for name, values in columns.items()}
    groups = {name: chosen for _, name, chosen in slices(columns) if not chosen.all()}
    for found in group_changes(
        both.differences,
        both.clusters,
        groups,
        binary=both.binary,
        higher_is_better=entry.traits["higher_is_better"],
    ):
        here, excess = fields | {"group": found.group}, found.excess
        about = here | {"p_adjusted": found.p_adjusted}
        yield change_row(sample, entry, found.change, condition, found.n, "", about)
        if excess is not None:
            note = "flagged: it loses more than twice the mean" if excess.flagged else ""
            tested = {"p_value": excess.p_value, "p_adjusted": excess.p_adjusted, "mde": math.nan}
            about = here | {"metric": join_name(entry.name, "excess_loss")} | tested
            yield change_row(sample, entry, excess.change, condition, found.n, note, about)
