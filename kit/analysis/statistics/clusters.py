"""Which items belong together, and how far the mean of such items could be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Items that share a passage, an author or another source, and so are not independent.

    Attributes:
        codes: cluster of each item, 0..count-1 [n].
        count: number of clusters.
    """

    codes: Array
    count: int

    @classmethod
    def alone(cls, n: int) -> Clusters:
        """Returns n items that share nothing."""
        return cls(np.arange(n), n)

    @classmethod
    def named(cls, names: Array) -> Clusters:
        """Returns the clusters of items by the names of these [n]."""
        import pandas as pd

        codes, found = pd.factorize(names.astype(object))
        return cls(codes, len(found))

    def of(self, items: Array | None) -> Clusters:
        """Returns the clusters of some items (indices or a mask); None is all."""
        if items is None:
            return self
        kept, codes = np.unique(self.codes[items], return_inverse=True)
        return Clusters(codes, len(kept))

    def more(self, n: int) -> Clusters:
        """Returns these with n further items, each its own cluster."""
        further = np.arange(self.count, self.count + n)
        return Clusters(np.append(self.codes, further), self.count + n)

    @property
    def over(self) -> str:
        """What an interval is over: `items`, where each is its own cluster, or `clusters`."""
        return "items" if self.count == len(self.codes) else "clusters"

    def sums(self, values: Array) -> Array:
        """Returns values [n] or [n, k] summed by cluster [count] or [count, k]."""
        if values.ndim == 1:
            return np.asarray(np.bincount(self.codes, values, minlength=self.count))
        return np.stack([self.sums(column) for column in values.T], axis=1)

    def standard_error(self, values: Array) -> float:
        """Returns the cluster-robust standard error of the mean of values [n].

        CR1 (Liang and Zeger 1986, with the factor G / (G - 1)), of two clusters or more; clusters
        of one item give s / sqrt(n).
        """
        squares = (self.sums(values - values.mean()) ** 2).sum()
        return math.sqrt(self.count / (self.count - 1) * squares) / len(values)

    def items(self, drawn: Array) -> Array:
        """Returns the items of clusters, as often as each was drawn."""
        order, starts, sizes = self._members
        lengths = sizes[drawn]
        first = np.repeat(starts[drawn] - (np.cumsum(lengths) - lengths), lengths)
        return np.asarray(order[first + np.arange(len(first))])

    @cached_property
    def _members(self) -> tuple[Array, Array, Array]:
        """The items cluster by cluster, and of each cluster where its first stands and its size."""
        sizes = np.bincount(self.codes, minlength=self.count)
        return np.argsort(self.codes, kind="stable"), np.cumsum(sizes) - sizes, sizes
