"""How often each 95% interval holds the truth, and each 5% test rejects a null that is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri

from benchmarks.common import Figure
from kit.analysis.paired import Change, change
from kit.analysis.statistics import intervals, smooth
from kit.analysis.statistics.intervals import Array, Interval, Ratio
from kit.analysis.statistics.ranking import auroc
from kit.analysis.statistics.significance import mcnemar, paired_bootstrap, permutation

SHARED, STEEP, AGREE, LOSS = 0.3, 3.0, 0.95, 0.02
"""Correlation within clusters; spread of the margins of logits; correlation of two models; loss."""
MANY, SOME = 10_000, 1_000
"""Simulated data sets of closed forms, and of what draws again."""
SEEDS, BETWEEN = 5, 0.03
LAUNCHES, NOISE = 4, 0.02

Draw = np.random.Generator


@dataclass(frozen=True)
class World:
    """Items of which a model gets a share right; `size` of them share a passage."""

    n: int
    accuracy: float
    size: int = 1

    @property
    def count(self) -> int:
        return self.n // self.size

    @property
    def codes(self) -> Array:
        return np.arange(self.n) // self.size

    def noise(self, rng: Draw) -> Array:
        """Standard normal, correlated within clusters [n]."""
        if self.size == 1:
            return rng.normal(size=self.n)
        shared = np.repeat(rng.normal(size=self.count), self.size)
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


def _nll(margins: Array) -> Array:
    return np.logaddexp(0, -margins)


@cache
def _mean_nll(accuracy: float) -> float:
    z = np.linspace(-9, 9, 20_001)
    weight = np.exp(-z * z / 2)
    return float((_nll(STEEP * (ndtri(accuracy) + z)) * weight).sum() / weight.sum())


def _wilson(world: World, rng: Draw) -> tuple[Interval, float]:
    right = world.margins(rng) > 0
    return intervals.wilson(right, world.codes, world.count), world.accuracy


def _mean(world: World, rng: Draw) -> tuple[Interval, float]:
    ratio = Ratio(_nll(world.margins(rng)), np.ones(world.n))
    return intervals.bootstrap(ratio, world.codes, world.count, rng), _mean_nll(world.accuracy)


def _balanced(world: World, rng: Draw) -> tuple[Interval, float]:
    of_class = (rng.random(world.n) < 0.3)[:, None] == [False, True]
    ratio = Ratio(of_class & (world.margins(rng) > 0)[:, None], of_class)
    return intervals.bootstrap(ratio, world.codes, world.count, rng), world.accuracy


def _bits(world: World, rng: Draw) -> tuple[Interval, float]:
    size = np.exp(3 + 0.5 * world.noise(rng)).round() + 1
    ratio = Ratio(size * np.exp(0.5 * world.noise(rng)), size)
    return intervals.bootstrap(ratio, world.codes, world.count, rng), math.exp(0.125)


def _auroc(world: World, rng: Draw) -> tuple[Interval, float]:
    positive = rng.random(world.n) < 0.5
    apart = math.sqrt(2) * ndtri(world.accuracy)
    found = auroc(world.noise(rng) + apart * positive, positive)
    return smooth.interval(found, world.codes, world.count, (0.0, 1.0)), world.accuracy


def _median(world: World, rng: Draw) -> tuple[Interval, float]:
    values, codes = _nll(world.margins(rng)), world.codes
    found = intervals.resampled(lambda i: float(np.median(values[i])), codes, world.count, rng)
    return found, float(_nll(STEEP * ndtri(world.accuracy)))


def _changed(world: World, rng: Draw, loss: float, *, binary: bool) -> Change:
    base, variant = world.two(rng, loss)
    both = (variant > 0, base > 0) if binary else (_nll(variant), _nll(base))
    differences = both[0].astype(float) - both[1]
    return change(differences[None], world.codes, world.count, binary=binary)


def _flips(world: World, rng: Draw) -> tuple[Interval, float]:
    return _changed(world, rng, LOSS, binary=True).interval, -LOSS


def _losses(world: World, rng: Draw) -> tuple[Interval, float]:
    truth = _mean_nll(world.accuracy - LOSS) - _mean_nll(world.accuracy)
    return _changed(world, rng, LOSS, binary=False).interval, truth


def _seeds(world: World, rng: Draw) -> tuple[Interval, float]:
    luck = BETWEEN * rng.normal(size=(SEEDS, 1))
    differences = luck + world.noise(rng) + np.stack([world.noise(rng) for _ in range(SEEDS)])
    return change(differences, world.codes, world.count, binary=False).interval, 0.0


def _launches(world: World, rng: Draw) -> tuple[Interval, float]:
    return intervals.launches(np.exp(NOISE * rng.normal(size=LAUNCHES))).interval, 1.0


def _stein(world: World, rng: Draw) -> tuple[Interval, float]:
    first = np.exp(NOISE * rng.normal(size=LAUNCHES))
    more = max(intervals.second_stage(first, NOISE) - LAUNCHES, 0)
    values = np.append(first, np.exp(NOISE * rng.normal(size=more)))
    return intervals.launches(values, first=LAUNCHES).interval, 1.0


def _exact(world: World, rng: Draw) -> float:
    found = _changed(world, rng, 0.0, binary=True)
    return mcnemar(found.lost, found.gained)


def _mid_p(world: World, rng: Draw) -> float:
    found = _changed(world, rng, 0.0, binary=True)
    return mcnemar(found.lost, found.gained, mid_p=True)


def _row_flips(world: World, rng: Draw) -> float:
    return _changed(world, rng, 0.0, binary=True).p_value


def _row_losses(world: World, rng: Draw) -> float:
    return _changed(world, rng, 0.0, binary=False).p_value


def _signs(world: World, rng: Draw) -> float:
    base, variant = world.two(rng, 0.0)
    return permutation(_nll(variant) - _nll(base), world.codes, world.count, rng, 399)


def _draws(world: World, rng: Draw) -> float:
    base, variant = world.two(rng, 0.0)
    return paired_bootstrap(_nll(variant) - _nll(base), world.codes, world.count, rng)[1]


@dataclass(frozen=True)
class Case:
    """What is tried, in how many simulated data sets, and on which items."""

    name: str
    once: Callable[[World, Draw], tuple[Interval, float] | float]
    times: int = MANY
    sizes: tuple[int, ...] = (1, 4)
    accuracies: tuple[float, ...] = (0.8, 0.95)
    counts: tuple[int, ...] = (200, 2000)

    def worlds(self) -> Iterator[World]:
        for n in self.counts:
            for size in self.sizes:
                for accuracy in self.accuracies:
                    yield World(n, accuracy, size)


ONE = {"sizes": (1,), "accuracies": (0.8,), "counts": (200,)}
INTERVALS = (
    Case("accuracy (Wilson)", _wilson),
    Case("mean NLL (Hall's t)", _mean),
    Case("balanced accuracy (Hall's t)", _balanced),
    Case("bits per byte (bootstrap-t)", _bits, SOME, accuracies=(0.8,)),
    Case("AUROC (influence)", _auroc),
    Case("median NLL (BCa)", _median, SOME, accuracies=(0.8,), counts=(200,)),
    Case("change of accuracy (Bonett-Price)", _flips),
    Case("change of NLL (t)", _losses),
    Case(f"change over {SEEDS} seeds", _seeds, accuracies=(0.8,)),
    Case(f"speed-up over {LAUNCHES} launches", _launches, **ONE),
    Case("speed-up, two stages (Stein)", _stein, **ONE),
)
TESTS = (
    Case("McNemar exact", _exact, sizes=(1,)),
    Case("McNemar mid-p", _mid_p, sizes=(1,)),
    Case("change of accuracy, clusters", _row_flips, sizes=(4,)),
    Case("change of NLL (t)", _row_losses),
    Case("swapped signs", _signs, SOME),
    Case("paired bootstrap", _draws, SOME, counts=(200,)),
)


def rate(case: Case, world: World, times: int, seed: int = 0) -> float:
    """Returns the share of simulated data sets whose interval holds the truth, or whose p < 5%."""
    own = [seed, world.n, world.size, round(100 * world.accuracy)]
    rng, hits = np.random.default_rng(own), 0
    for _ in range(times):
        found = case.once(world, rng)
        if isinstance(found, float):
            hits += found < 0.05
        else:
            (low, high, *_), truth = found
            hits += low <= truth <= high
    return hits / times


def _rates(place: tuple[int, World]) -> float:
    at, world = place
    case = (*INTERVALS, *TESTS)[at]
    return rate(case, world, case.times)


def coverage() -> Iterator[Figure]:
    """Coverage of each interval and false alarms of each test, +- 3 errors of the simulation."""
    cases = (*INTERVALS, *TESTS)
    places = [(at, world) for at, case in enumerate(cases) for world in case.worlds()]
    longest = sorted(places, key=lambda place: (cases[place[0]].times, -place[1].n))
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(longest, pool.map(_rates, longest), strict=True))
    for at, world in places:
        case, share = cases[at], found[at, world]
        error = 3 * math.sqrt(share * (1 - share) / case.times)
        where = f"n={world.n:,}" + (f", clusters of {world.size}" if world.size > 1 else "")
        title = f"{case.name}, {where}, accuracy {world.accuracy}"
        text = f"{100 * share:.1f}% +- {100 * error:.1f}"
        if case in INTERVALS:
            kept = 0.93 - error <= share <= 0.97 + error
            yield Figure(title, text, "93-97% hold the truth", kept)
        else:
            yield Figure(title, text, "<= 5% false alarms", share <= 0.05 + error)
