"""How well scores order items: areas under curves and a correlation of ranks.

Each comes with its influence function at every item, in closed form, so that its error needs no
resampling. Tied scores are one level: nothing depends on the order in which items were saved.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.checking import Undefined


class Levels(NamedTuple):
    """Distinct scores, ascending, and how many items of each class have them.

    Attributes:
        of: level of each item [n].
        positive: positives at each level [levels].
        negative: negatives at each level [levels].
    """

    of: Array
    positive: Array
    negative: Array


def levels(scores: Array, positive: Array) -> Levels:
    """Returns the levels of scores [n] whose positives [n] are marked.

    Raises:
        Undefined: all items are of one class.
    """
    if positive.all() or not positive.any():
        which = "positive" if positive.any() else "negative"
        raise Undefined(f"every item is {which}: nothing to tell apart")
    distinct, at = np.unique(scores, return_inverse=True)
    there = np.bincount(at, positive, minlength=len(distinct))
    return Levels(at, there, np.bincount(at, minlength=len(distinct)) - there)


def auroc(scores: Array, positive: Array) -> Influence:
    """Returns the area under the ROC curve: the chance that a positive scores above a negative.

    Ties count half. The influence is that of DeLong, DeLong and Clarke-Pearson (Biometrics 1988).

    Args:
        scores: higher for positives [n].
        positive: which items are positive [n], boolean.

    Raises:
        Undefined: all items are of one class.
    """
    at, ups, downs = levels(scores, positive)
    n_up, n_down = ups.sum(), downs.sum()
    below = (np.cumsum(downs) - downs / 2) / n_down  # of negatives, as a positive sees them
    above = 1 - (np.cumsum(ups) - ups / 2) / n_up  # of positives, as a negative sees them
    value = float(ups @ below / n_up)
    placed = np.where(positive, below[at], above[at]) - value
    return Influence(value, placed * len(at) / np.where(positive, n_up, n_down), (0, 1))


def average_precision(scores: Array, positive: Array) -> Influence:
    """Returns the area under the precision-recall curve, as a sum of steps.

    Straight lines between the points, as in OpenOOD, would give a constant score more than its due
    (Davis and Goadrich, ICML 2006). The influence is the derivative by each item's weight.

    Args:
        scores: higher for positives [n].
        positive: which items are positive [n], boolean.

    Raises:
        Undefined: all items are of one class.
    """
    at, ups, downs = levels(scores, positive)
    hits = np.cumsum(ups[::-1])[::-1]
    found = hits + np.cumsum(downs[::-1])[::-1]
    precision, total = hits / found, ups.sum()
    value = float(ups @ precision / total)
    # an item counts among those found at its own level and at every lower one
    as_hit = np.cumsum(ups * (found - hits) / found**2) + precision - value
    as_miss = -np.cumsum(ups * hits / found**2)
    derivative = np.where(positive, as_hit[at], as_miss[at]) / total
    return Influence(value, len(at) * derivative, (0, 1))


def false_positive_rate(scores: Array, positive: Array, recall: float = 0.95) -> Influence:
    """Returns the share of negatives at or above the threshold that finds a share of positives.

    The threshold is a quantile of the positives; how far its error moves the rate depends on the
    slope of the ROC curve there, taken over the threshold's own 95% interval (Woodruff 1952).

    Args:
        scores: higher for positives [n].
        positive: which items are positive [n], boolean.
        recall: share of positives to be found.

    Raises:
        Undefined: all items are of one class.
    """
    at, ups, downs = levels(scores, positive)
    n_up = ups.sum()
    # from the highest threshold down: counts are whole, so that 95% of 20 is 19
    hits, alarms = np.cumsum(ups[::-1]), np.cumsum(downs[::-1]) / downs.sum()

    def reached(share: float) -> int:
        return int(np.searchsorted(hits, min(max(share, 0), 1) * n_up - 1e-9))

    place = reached(recall)
    half = 1.96 * math.sqrt(recall * (1 - recall) / n_up)
    before, after = reached(recall - half), reached(recall + half)
    rise = (hits[after] - hits[before]) / n_up
    slope = (alarms[after] - alarms[before]) / rise if rise else 0.0
    value, flagged = float(alarms[place]), at >= len(ups) - 1 - place
    of_up = -slope * (flagged - hits[place] / n_up) / n_up
    of_down = (flagged - value) / downs.sum()
    return Influence(value, len(at) * np.where(positive, of_up, of_down), (0, 1))


def spearman(x: Array, y: Array) -> Influence:
    """Returns Spearman's correlation: Pearson's of the ranks, ties sharing their middle rank.

    The influence counts that an item moves the ranks of the others, too.

    Args:
        x: [n].
        y: [n].

    Raises:
        Undefined: one side is constant.
    """
    ranks = [_middle_ranks(side) for side in (x, y)]
    spreads = [float(rank.std()) for _, rank in ranks]
    if not all(spreads):
        raise Undefined("all values of one side are the same: no correlation")
    a, b = ((rank - 0.5) / spread for (_, rank), spread in zip(ranks, spreads, strict=True))
    value = float((a * b).mean())
    (at_x, _), (at_y, _) = ranks
    cross = a * b + _passed(at_x, b) / spreads[0] + _passed(at_y, a) / spreads[1]
    own_x = a * a + 2 * _passed(at_x, a) / spreads[0]
    own_y = b * b + 2 * _passed(at_y, b) / spreads[1]
    influence = cross - value * (own_x + own_y) / 2
    return Influence(value, influence - influence.mean(), (-1, 1))


def _middle_ranks(values: Array) -> tuple[Array, Array]:
    """Returns each item's level and its middle rank as a share of n [n], whose mean is 1/2."""
    _, at, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return at, (np.cumsum(sizes) - sizes / 2)[at] / len(at)


def _passed(at: Array, weights: Array) -> Array:
    """Returns the mean weight of items above each item, those at its level counting half [n]."""
    sums = np.bincount(at, weights)
    return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[at] / len(at))
