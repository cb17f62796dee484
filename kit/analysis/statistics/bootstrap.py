"""The bootstrap of clusters: what a value is when clusters are drawn again, and bounds from that.

Of a ratio of sums the draws are matrix products; any other function is called on each. From the
draws come two kinds of bounds, both with error O(1/n) where percentiles have O(1/sqrt(n)): the
studentized ones need the error of each draw, BCa needs the skewness of the influence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kit.values import Undefined

if TYPE_CHECKING:
    from kit.analysis.statistics.intervals import Array

RESAMPLES, FEWEST, PARTS = 1000, 200, 100
"""Draws; draws of functions that are slow; parts left out in turn for the jackknife."""
LEVELS = np.array([0.025, 0.975])


class Draws(NamedTuple):
    """A value and what it was when clusters were drawn again.

    Attributes:
        value: over all clusters.
        influence: of each cluster (or part of them) on the value, mean zero [count].
        values: of each draw; where it was undefined or infinite, left out.
        errors: standard error of each draw; empty where it is not known.
    """

    value: float
    influence: Array
    values: Array
    errors: Array = np.empty(0)

    @property
    def error(self) -> float:
        """Standard error of the value, by its influence."""
        return float(np.sqrt(self.influence @ self.influence))

    def studentized(self) -> Array:
        """Returns how many of its own errors each draw that has some lies from the value."""
        there = self.errors > 0
        return np.asarray((self.values - self.value)[there] / self.errors[there])


def mean_ratio(top: Array, bottom: Array) -> Array:
    """Returns the mean over the last axis of top/bottom where bottom is not zero."""
    there = bottom != 0
    ratios = np.divide(top, bottom, out=np.zeros(np.shape(top)), where=there)
    return np.asarray(ratios.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1))


def ratios(top: Array, bottom: Array, rng: np.random.Generator) -> Draws:
    """Draws a mean of ratios of sums.

    Args:
        top: numerators summed by cluster [count, k].
        bottom: denominators.
        rng: draws the clusters.
    """
    values, errors = [], []
    for times in _times(len(top), rng):
        tops, bottoms = times @ top, times @ bottom
        values.append(mean_ratio(tops, bottoms))
        added = influence(top, bottom, tops, bottoms)
        errors.append(np.sqrt(np.einsum("bc,bc->b", times, added**2)))
    whole = top.sum(axis=0, keepdims=True), bottom.sum(axis=0, keepdims=True)
    value, added = float(mean_ratio(*whole)[0]), influence(top, bottom, *whole)[0]
    return Draws(value, added, np.concatenate(values), np.concatenate(errors))


def _times(count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yields how often each cluster is drawn, [some draws, count] each."""
    for chunk in np.array_split(np.arange(RESAMPLES), max(1, RESAMPLES * count // 2_000_000)):
        drawn = rng.integers(0, count, (len(chunk), count)) + count * np.arange(len(chunk))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield times.astype(np.float64)


def influence(top: Array, bottom: Array, tops: Array, bottoms: Array) -> Array:
    """Returns what each cluster adds to a mean of ratios, to first order (the delta method).

    Args:
        top: numerators by cluster [count, k].
        bottom: denominators.
        tops: sums of the numerators, of each draw [b, k].
        bottoms: of the denominators.

    Returns:
        [b, count].
    """
    there = bottoms != 0
    weight = np.divide(1.0, bottoms, out=np.zeros_like(bottoms), where=there)
    weight /= np.maximum(there.sum(axis=1, keepdims=True), 1)
    share = np.divide(tops, bottoms, out=np.zeros_like(tops), where=there)
    return np.asarray(weight @ top.T - (weight * share) @ bottom.T)


def calls(
    function: Callable[[Array], float], codes: Array, count: int, rng: np.random.Generator
) -> Draws:
    """Draws a function of the whole sample, called on each draw and once without each part.

    Args:
        function: item indices -> value.
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
        rng: draws the clusters, and deals them into the parts of the jackknife.

    Raises:
        Undefined: the function has no value on more than 5% of the draws.
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=count)
    starts = np.cumsum(sizes) - sizes

    def drawn() -> Array:
        clusters = rng.integers(0, count, count)
        lengths = sizes[clusters]
        first = np.repeat(starts[clusters] - (np.cumsum(lengths) - lengths), lengths)
        return np.asarray(order[first + np.arange(lengths.sum())])

    times = int(np.clip(2e8 / len(codes), FEWEST, RESAMPLES))
    values = _defined(function, (drawn() for _ in range(times)))
    if len(values) < 0.95 * times:
        raise Undefined(f"undefined on {times - len(values)} of {times} resamples")
    parts = min(count, PARTS, times // 4)
    part = (rng.permutation(count) % parts)[codes]
    without = _defined(function, (np.flatnonzero(part != one) for one in range(parts)))
    added = without.mean() - without if len(without) else np.zeros(1)
    return Draws(function(np.arange(len(codes))), added, values)


def _defined(function: Callable[[Array], float], samples: Iterator[Array]) -> Array:
    values = []
    for items in samples:
        try:
            values.append(function(items))
        except Undefined:
            continue
    found = np.array(values, dtype=np.float64)
    return found[np.isfinite(found)]


def studentized(draws: Draws) -> tuple[float, float]:
    """Returns the bootstrap-t bounds (Hall, Annals of Statistics 16, 1988), with errors.

    A draw without spread, such as one without any wrong answer, says nothing: it is left out.
    """
    high, low = np.quantile(draws.studentized(), LEVELS)
    return draws.value - float(low) * draws.error, draws.value - float(high) * draws.error


def skewness(added: Array) -> float:
    """Returns the skewness of influences over sqrt(n): that of the value; 0 without spread."""
    spread = float(added @ added)
    return float((added**3).sum()) / spread**1.5 if spread else 0.0


def unskewed(t: float, tail: float) -> float:
    """Returns where bootstrap-t has its quantile if Student's t has `t` there, without draws.

    Inverts Hall's monotone cubic y + a y^2 / 3 + a^2 y^3 / 27 + a / 6 = t (Annals of Statistics 20,
    1992).

    Args:
        t: quantile.
        tail: a, the `skewness`.
    """
    if abs(tail) < 1e-6:
        return t
    return 3 / tail * (math.cbrt(1 + tail * (t - tail / 6)) - 1)


def bca(draws: Draws, count: int) -> tuple[float, float]:
    """Returns the bias-corrected and accelerated bounds (Efron, JASA 82, 1987).

    The quantiles are those of Student's t, as a bootstrap is too narrow by sqrt((n - 1) / n) and
    normal in its tails (Hesterberg, The American Statistician 69, 2015).

    Args:
        draws: of the value.
        count: number of clusters.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    n, acceleration = len(draws.values), skewness(draws.influence) / 6
    below = (draws.values < draws.value).sum() + 0.5 * (draws.values == draws.value).sum()
    bias = ndtri(np.clip(below / n, 1 / (n + 1), n / (n + 1)))
    ends = bias + math.sqrt(count / (count - 1)) * stdtrit(count - 1, LEVELS)
    low, high = np.quantile(
        draws.values, ndtr(bias + ends / np.maximum(1 - acceleration * ends, 0.1))
    )
    return float(low), float(high)
