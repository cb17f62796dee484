"""Tests of no difference, item by item, that need no normal law: flips, swapped signs, draws."""

from __future__ import annotations

import math

import numpy as np

from kit.analysis.statistics.bootstrap import ratios
from kit.analysis.statistics.intervals import Array, Interval, Ratio


def mcnemar(lost: int, gained: int, *, mid_p: bool = False) -> float:
    """Returns McNemar's two-sided p-value of the flips each way: are they a fair coin's?

    Rows have the exact one: a true null is rejected in no more than 5% of studies, however few
    flips there are, so that what is called different stands. Mid-p, which counts half of what was
    found, is nearer to 5% and sees a little more, but goes above it for some numbers of flips
    (Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13, 2013).

    Args:
        lost: items right before and wrong after.
        gained: the reverse.
        mid_p: instead of exact.
    """
    from scipy.special import bdtr

    least, flips = min(lost, gained), lost + gained
    as_far = float(bdtr(least, flips, 0.5))
    farther = float(bdtr(least - 1, flips, 0.5)) if least else 0.0
    return min(as_far + (farther if mid_p else as_far), 1.0)


def permutation(
    differences: Array, codes: Array, count: int, rng: np.random.Generator, times: int = 10_000
) -> float:
    """Returns the two-sided p-value of a mean difference whose sign is flipped at random.

    Exact where variant and baseline could be swapped within each cluster (Fisher 1935), whatever
    the distribution; all flips where they are no more than `times`, else random ones (then with
    the one that was found: Phipson and Smyth 2010).

    Args:
        differences: [items].
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
        rng: draws the flips.
        times: how many.
    """
    sums = np.bincount(codes, differences, minlength=count)
    sums = sums[sums != 0]
    found = abs(sums.sum()) * (1 - 1e-9)  # a tie is one, whatever the order of summing
    if len(sums) <= math.log2(times):
        bits = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))
        return float((abs((1 - 2 * (bits & 1)) @ sums) >= found).mean())
    beyond = 1
    for chunk in np.array_split(np.arange(times), max(1, times * len(sums) // 2_000_000)):
        signs = rng.integers(0, 2, (len(chunk), len(sums)), dtype=np.int8)
        beyond += int((abs((1.0 - 2.0 * signs) @ sums) >= found).sum())
    return beyond / (times + 1)


def paired_bootstrap(
    differences: Array, codes: Array, count: int, rng: np.random.Generator
) -> tuple[Interval, float]:
    """Returns the symmetric bootstrap-t interval of a mean difference, and its two-sided p-value.

    The two agree: zero is outside where p is below 5% (Hall, "The Bootstrap and Edgeworth
    Expansion", 1992, section 3.6). Where a draw may lack any flip, `mcnemar` serves better.

    Args:
        differences: [items].
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
        rng: draws the clusters.
    """
    ratio = Ratio(differences, np.ones(len(differences)))
    draws = ratios(*ratio.sums(codes, count), rng)
    beyond = abs(draws.studentized())
    if not draws.error or not len(beyond):
        same = "the same on every item" if count > 1 else "one item or cluster"
        return Interval(note=f"{same}: no interval"), math.nan if draws.value else 1.0
    half = float(np.quantile(beyond, 0.95)) * draws.error
    over = "items" if count == len(differences) else "clusters"
    p_value = (1 + int((beyond >= abs(draws.value) / draws.error).sum())) / (1 + len(beyond))
    return Interval(draws.value - half, draws.value + half, over), p_value
