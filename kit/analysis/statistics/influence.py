"""Metrics of which it is known what each item adds to them: intervals and pairs for nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.analysis.statistics.clusters import Array, Clusters
from kit.spec.checking import Undefined


@dataclass(frozen=True)
class Ratio:
    """A metric as a ratio of sums over items: `numerator.sum() / denominator.sum()`.

    With columns [n, k], k ratios whose mean is the value (balanced accuracy: a ratio a class).

    Attributes:
        numerator: [n] or [n, k].
        denominator: the same shape; columns that sum to zero are left out.
    """

    numerator: Array
    denominator: Array

    def of(self, items: Array | None) -> Ratio:
        """Returns the ratio over some items (indices or a mask); None is all."""
        return self if items is None else Ratio(self.numerator[items], self.denominator[items])

    @property
    def value(self) -> float:
        """The mean of the ratios whose denominator is not zero.

        Raises:
            Undefined: all denominators are zero.
        """
        top, bottom = self.numerator.sum(axis=0), self.denominator.sum(axis=0)
        if not np.any(bottom):
            raise Undefined("the denominator is zero")
        return mean_ratio(np.atleast_1d(top), np.atleast_1d(bottom))

    def pseudo_values(self) -> Array:
        """Returns one value an item whose mean is `value` and whose spread is its influence [n].

        The delta method: of a mean these are the values themselves.
        """
        sides = (np.asarray(side, np.float64) for side in (self.numerator, self.denominator))
        top, bottom = (side.reshape(len(side), -1) for side in sides)
        if top.shape[1] == 1 and (bottom == 1).all():
            return top[:, 0]  # exactly: a difference of two runs must be zero where they agree
        whole = mean_ratio(top.sum(axis=0), bottom.sum(axis=0))
        return np.asarray(whole + len(top) * added(top, bottom))

    def left_out(self, clusters: Clusters) -> Array:
        """Returns by how much the value falls as each cluster is left out [count].

        The jackknife: of a column whose items all lie in one cluster, nothing.
        """
        top, bottom = (
            clusters.sums(np.asarray(side, np.float64).reshape(len(side), -1))
            for side in (self.numerator, self.denominator)
        )
        tops, bottoms = top.sum(axis=0), bottom.sum(axis=0)
        there = bottoms != 0
        share = np.divide(tops, bottoms, out=np.zeros_like(tops), where=there)
        rest = bottoms - bottom
        falls = np.divide(top - share * bottom, rest, out=np.zeros_like(top), where=rest != 0)
        return np.asarray(falls.sum(axis=1) / max(there.sum(), 1))


@dataclass(frozen=True)
class Influence:
    """A smooth metric of the whole sample (AUROC, R2), with what each item adds to it.

    Attributes:
        value: the metric.
        influence: its influence function at each item, mean zero [n] (Hampel, JASA 1974).
        bounds: least and greatest value; its interval stays within.
    """

    value: float
    influence: Array
    bounds: tuple[float, float] | None = None

    def pseudo_values(self) -> Array:
        """Returns one value an item whose mean is `value` and whose spread is its influence [n]."""
        return np.asarray(self.value + self.influence)


def mean_ratio(tops: Array, bottoms: Array) -> float:
    """Returns the mean of tops/bottoms [k] where bottoms are not zero."""
    there = bottoms != 0
    ratios = np.divide(tops, bottoms, out=np.zeros(np.shape(tops)), where=there)
    return float(ratios.sum() / max(there.sum(), 1))


def added(top: Array, bottom: Array) -> Array:
    """Returns what each item adds to a mean of ratios, to first order [n]; they sum to zero.

    Args:
        top: numerators [n, k].
        bottom: denominators.
    """
    tops, bottoms = top.sum(axis=0), bottom.sum(axis=0)
    there = bottoms != 0
    weight = np.divide(1.0, bottoms, out=np.zeros_like(bottoms), where=there)
    weight /= max(there.sum(), 1)
    share = np.divide(tops, bottoms, out=np.zeros_like(tops), where=there)
    return np.asarray(top @ weight - bottom @ (weight * share))
