"""Simulated items whose truth is known: what `coverage` tries intervals on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri

from kit.analysis.statistics.clusters import Array, Clusters

SHARED, STEEP, AGREE = 0.3, 3.0, 0.95
"""Correlation within clusters; spread of the margins of logits; correlation of two models."""
Draw = np.random.Generator


@dataclass(frozen=True)
class World:
    """Items of which a model gets a share right; `size` of them share a passage."""

    n: int
    accuracy: float
    size: int = 1

    @property
    def clusters(self) -> Clusters:
        return Clusters(np.arange(self.n) // self.size, self.n // self.size)

    def noise(self, rng: Draw) -> Array:
        """Standard normal, correlated within clusters [n]."""
        if self.size == 1:
            return rng.normal(size=self.n)
        shared = np.repeat(rng.normal(size=self.n // self.size), self.size)
        return math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * rng.normal(size=self.n)

    def margins(self, rng: Draw) -> Array:
        """The label's logit less the other's [n]: above 0 is right."""
        return STEEP * (ndtri(self.accuracy) + self.noise(rng))

    def two(self, rng: Draw, loss: float) -> tuple[Array, Array]:
        """Margins of a baseline and of a variant that is right less often by `loss`."""
        first, other = self.noise(rng), self.noise(rng)
        second = AGREE * first + math.sqrt(1 - AGREE**2) * other
        base, variant = ndtri(self.accuracy), ndtri(self.accuracy - loss)
        return STEEP * (base + first), STEEP * (variant + second)


def nll(margins: Array) -> Array:
    return np.logaddexp(0, -margins)


@cache
def mean_nll(accuracy: float) -> float:
    z = np.linspace(-9, 9, 20_001)
    weight = np.exp(-z * z / 2)
    return float((nll(STEEP * (ndtri(accuracy) + z)) * weight).sum() / weight.sum())
