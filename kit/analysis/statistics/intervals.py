"""How far a number could be off: intervals over items, clusters and launches.

All intervals are two-sided 95%, each of the form that covers the truth (`benchmarks coverage`).
Items that share a cluster (a passage, an author) are not independent, so the cluster is resampled
or squared, not the item.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kit.analysis.statistics import bootstrap as boot
from kit.values import Undefined

Array = np.ndarray[Any, np.dtype[Any]]
FEW, MANY = 5, 20_000
"""Numbers of clusters (or items) below and above which the bootstrap gives way to a closed form."""


class Interval(NamedTuple):
    """Bounds, what they are over (items, clusters, seeds, launches), or why there are none."""

    low: float = math.nan
    high: float = math.nan
    over: str = ""
    note: str = ""


class Bounded(NamedTuple):
    """A value that brings its own interval: what a metric with `interval="own"` returns.

    Attributes:
        value: the metric.
        interval: of it.
        n: what it rests on: items, launches.
        p_value: of the metric's own null hypothesis, where it has one.
    """

    value: float
    interval: Interval
    n: int
    p_value: float = math.nan


@dataclass(frozen=True)
class Ratio:
    """A metric as a ratio of sums over items: `numerator.sum() / denominator.sum()`.

    With columns [n, k], k ratios whose mean is the value (balanced accuracy: a ratio a class). A
    metric that is such a ratio gets intervals, paired differences and pooling for nothing.

    Attributes:
        numerator: [n] or [n, k].
        denominator: the same shape; columns that sum to zero are left out.
    """

    numerator: Array
    denominator: Array

    def of(self, items: Array | None) -> Ratio:
        """Returns the ratio over some items (indices or a mask); None is all."""
        return self if items is None else Ratio(self.numerator[items], self.denominator[items])

    def sums(self, codes: Array, count: int) -> tuple[Array, Array]:
        """Returns both sides summed by cluster, [count, k] each."""
        parts = []
        for side in (self.numerator, self.denominator):
            columns = np.asarray(side, dtype=np.float64).reshape(len(codes), -1)
            sums = [np.bincount(codes, column, minlength=count) for column in columns.T]
            parts.append(np.stack(sums, axis=1))
        return parts[0], parts[1]

    @property
    def value(self) -> float:
        """The mean of the ratios whose denominator is not zero.

        Raises:
            Undefined: all denominators are zero.
        """
        top, bottom = self.numerator.sum(axis=0), self.denominator.sum(axis=0)
        if not np.any(bottom):
            raise Undefined("the denominator is zero")
        return float(boot.mean_ratio(np.atleast_1d(top), np.atleast_1d(bottom)))

    def pseudo_values(self) -> Array:
        """Returns one value an item whose mean is `value` and whose spread is its influence [n].

        The delta method: of a mean these are the values themselves.
        """
        sides = (np.asarray(side, np.float64) for side in (self.numerator, self.denominator))
        top, bottom = (side.reshape(len(side), -1) for side in sides)
        if top.shape[1] == 1 and (bottom == 1).all():
            return top[:, 0]  # exactly: a difference of two runs must be zero where they agree
        whole = top.sum(axis=0, keepdims=True), bottom.sum(axis=0, keepdims=True)
        added = boot.influence(top, bottom, *whole)[0]
        return np.asarray(boot.mean_ratio(*whole) + len(top) * added)


@dataclass(frozen=True)
class Influence:
    """A smooth metric of the whole sample (AUROC, macro F1, R2), with what each item adds to it.

    Attributes:
        value: the metric.
        influence: its influence function at each item, mean zero [n] (Hampel, JASA 1974).
    """

    value: float
    influence: Array

    def pseudo_values(self) -> Array:
        """Returns one value an item whose mean is `value` and whose spread is its influence [n]."""
        return np.asarray(self.value + self.influence)


def t_quantile(probability: float, df: float) -> float:
    """Returns the quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def standard_error(values: Array, codes: Array, count: int) -> float:
    """Returns the cluster-robust standard error of the mean of `values`.

    CR1 (Liang and Zeger 1986, with the factor G / (G - 1)); clusters of one item give s / sqrt(n).

    Args:
        values: [n].
        codes: cluster of each item, 0..count-1.
        count: number of clusters, at least 2.
    """
    sums = np.bincount(codes, values - values.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values))


def robust(values: Array, codes: Array, count: int) -> Interval:
    """Returns the t interval of a mean with cluster-robust error."""
    half = t_quantile(0.975, count - 1) * standard_error(values, codes, count)
    mean = float(values.mean())
    return Interval(mean - half, mean + half, _over(codes, count))


def _over(codes: Array, count: int) -> str:
    return "items" if count == len(codes) else "clusters"


def wilson(values: Array, codes: Array, count: int) -> Interval:
    """Returns Wilson's interval of a proportion; with clusters, at the effective sample size.

    n is divided by the design effect of the cluster-robust variance and z becomes t (Dean and
    Pagano 2015); where all items agree the clusters count as the sample.

    Args:
        values: [n] of 0 and 1.
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
    """
    share, n, z = float(values.mean()), float(len(values)), 1.959963984540054
    if count < len(values):
        if count < 2:
            return Interval(note="all items are in one cluster: no interval")
        variance, z = standard_error(values, codes, count) ** 2, t_quantile(0.975, count - 1)
        n = min(n, share * (1 - share) / variance) if 0 < share < 1 and variance else float(count)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else centre - half
    return Interval(low, 1.0 if share == 1 else centre + half, _over(codes, count))


def skewed(values: Array, codes: Array, count: int) -> Interval:
    """Returns the t interval of a mean with cluster-robust error, corrected for skewness.

    Where losses have a long tail, the plain t interval ends too low (`unskewed`, Hall 1992).

    Args:
        values: [n].
        codes: cluster of each item, 0..count-1.
        count: number of clusters, at least 2.
    """
    mean, t = float(values.mean()), t_quantile(0.975, count - 1)
    tail = boot.skewness(np.bincount(codes, values - mean, minlength=count))
    error = standard_error(values, codes, count)
    low, high = (mean - boot.unskewed(end, tail) * error for end in (t, -t))
    return Interval(low, high, _over(codes, count))


def bootstrap(ratio: Ratio, codes: Array, count: int, rng: np.random.Generator) -> Interval:
    """Returns the interval of a ratio of sums: studentized, by draws or without them.

    Clusters are drawn again (bootstrap-t) where denominators differ between them. `skewed` covers
    as well for a mean, and better for shares and rare events (draws without any have no spread).
    """
    if count < 2:
        return Interval(note="one item or cluster: no interval")
    top, bottom = ratio.sums(codes, count)
    share = ratio.numerator.dtype == bool
    if not share and FEW <= count <= MANY and np.ptp(bottom, axis=0).any():
        draws = boot.ratios(top, bottom, rng)
        if (draws.errors > 0).all():
            return _spread(Interval(*boot.studentized(draws), _over(codes, count)))
    made = _spread(skewed(ratio.pseudo_values(), codes, count))
    return made._replace(low=max(made.low, 0.0), high=min(made.high, 1.0)) if share else made


def _spread(interval: Interval) -> Interval:
    """A sample without spread says nothing of its error; a width of zero would claim it knows."""
    if interval.low < interval.high:
        return interval
    return Interval(note="all items have the same value: no interval")


def resampled(
    function: Callable[[Array], float], codes: Array, count: int, rng: np.random.Generator
) -> Interval:
    """Returns the BCa interval of a metric of the whole sample, called on each resample.

    Args:
        function: item indices -> value.
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
        rng: draws the clusters.
    """
    if count < 2:
        return Interval(note="one item or cluster: no interval")
    try:
        ends = boot.bca(boot.calls(function, codes, count, rng), count)
    except Undefined as error:
        return Interval(note=f"{error}: no interval")
    return _spread(Interval(*ends, _over(codes, count)))


class Launches(NamedTuple):
    """What launches say: their geometric mean, its interval, and the test against `null`."""

    value: float
    interval: Interval
    p_value: float = math.nan
    mde: float = math.nan


def launches(values: Array, null: float | None = None, first: int | None = None) -> Launches:
    """Returns the geometric mean over launches with the t interval of their logarithms.

    The launch is the unit of replication: calls within one share its luck (memory layout, threads).
    Values that are not all positive are averaged as they are.

    Args:
        values: one a launch.
        null: the value under no difference; gives a p-value and the smallest share by which the
            value could have differed and been seen with 80% power.
        first: launches of the first stage, whose spread decided how many there are
            (`second_stage`): the error and its degrees of freedom are then theirs.
    """
    logs = bool((values > 0).all())
    x = np.log(values) if logs else values
    back = np.exp if logs else np.asarray
    n, mean = len(x), float(x.mean())
    value = float(back(mean))
    if n < 3:
        count = "one launch" if n == 1 else f"{n} launches"
        return Launches(value, Interval(note=f"{count}: no interval below 3"))
    stage = x if first is None else x[:first]
    error, df = float(stage.std(ddof=1) / math.sqrt(n)), len(stage) - 1
    half = t_quantile(0.975, df) * error
    interval = Interval(float(back(mean - half)), float(back(mean + half)), "launches")
    if null is None or not logs:
        return Launches(value, interval)
    shift = mean - math.log(null)
    power = t_quantile(0.975, df) + t_quantile(0.8, df)
    return Launches(value, interval, t_test(shift, error, df), math.expm1(power * error))


def second_stage(values: Array, half: float) -> int:
    """Returns how many launches give a 95% interval of a ratio whose half-width is below `half`.

    Stein's two-stage rule (Annals of Mathematical Statistics 16, 1945): the spread of a first
    sample fixes the number once. The mean of a normal sample says nothing of its spread, so the
    interval with the first sample's error and degrees of freedom keeps its coverage exactly.

    Args:
        values: one a launch, of the first stage; positive.
        half: as a share, such as 0.02.
    """
    spread = float(np.log(values).std(ddof=1))
    return math.ceil((t_quantile(0.975, len(values) - 1) * spread / math.log1p(half)) ** 2)


def t_test(shift: float, error: float, df: float) -> float:
    """Returns the two-sided p-value of a mean `shift` with its standard error."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if shift == 0 else 0.0
    return float(2 * stdtr(df, -abs(shift) / error))
