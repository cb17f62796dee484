"""How often each 95% interval holds the truth, and each 5% test rejects a null that is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.common import Figure
from benchmarks.worlds import STEEP, Draw, World, mean_nll, nll
from kit.analysis.findings.reweight import reweighted
from kit.analysis.metrics.classification import macro_f1
from kit.analysis.paired import Change, change
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Ratio
from kit.analysis.statistics.intervals import Interval, resampled, skewed, smooth, wilson
from kit.analysis.statistics.launches import launches, second_stage
from kit.analysis.statistics.ranking import auroc

LOSS = 0.02
"""What a variant loses."""
RARE = 0.3
"""Share of the rarer of two classes."""
MANY, SOME = 10_000, 1_000
"""Simulated data sets of closed forms, and of what draws again."""
SEEDS, BETWEEN = 5, 0.03
LAUNCHES, NOISE = 4, 0.02


def _wilson(world: World, rng: Draw) -> tuple[Interval, float]:
    return wilson(world.margins(rng) > 0, world.clusters), world.accuracy


def _mean(world: World, rng: Draw) -> tuple[Interval, float]:
    ratio = Ratio(nll(world.margins(rng)), np.ones(world.n))
    return skewed(ratio, world.clusters), mean_nll(world.accuracy)


def _balanced(world: World, rng: Draw) -> tuple[Interval, float]:
    of_class = (rng.random(world.n) < RARE)[:, None] == [False, True]
    ratio = Ratio(of_class & (world.margins(rng) > 0)[:, None], of_class)
    return skewed(ratio, world.clusters), world.accuracy


def _macro_f1(world: World, rng: Draw) -> tuple[Interval, float]:
    label = (rng.random(world.n) < RARE).astype(int)
    said = np.where(world.margins(rng) > 0, label, 1 - label)
    there = np.array([1 - RARE, RARE])
    given = world.accuracy * there + (1 - world.accuracy) * (1 - there)
    truth = float((2 * world.accuracy * there / (given + there)).mean())
    return skewed(macro_f1(np.eye(2)[said], label), world.clusters), truth


def _bits(world: World, rng: Draw) -> tuple[Interval, float]:
    size = np.exp(3 + 0.5 * world.noise(rng)).round() + 1
    ratio = Ratio(size * np.exp(0.5 * world.noise(rng)), size)
    return skewed(ratio, world.clusters), math.exp(0.125)


def _retained(world: World, rng: Draw) -> tuple[Interval, float]:
    base, variant = world.two(rng, LOSS)
    ratio = Ratio((variant > 0).astype(float), base > 0)
    return skewed(ratio, world.clusters), (world.accuracy - LOSS) / world.accuracy


def _shares(world: World, rng: Draw) -> tuple[Interval, float]:
    rare = rng.random(world.n) < RARE
    right = world.margins(rng) + STEEP * np.where(rare, -0.5, 0.0) > 0
    found = reweighted(Ratio(right, np.ones(world.n)), rare, {False: 0.5, True: 0.5}).found
    truth = (world.accuracy + float(ndtr(ndtri(world.accuracy) - 0.5))) / 2
    return smooth(replace(found, bounds=(0.0, 1.0)), world.clusters), truth


def _auroc(world: World, rng: Draw) -> tuple[Interval, float]:
    positive = rng.random(world.n) < 0.5
    apart = math.sqrt(2) * ndtri(world.accuracy)
    found = auroc(world.noise(rng) + apart * positive, positive)
    return smooth(found, world.clusters), world.accuracy


def _drawn(world: World, rng: Draw, measure: Callable[[Array], float]) -> Interval:
    values = nll(world.margins(rng))
    return resampled(lambda items: float(measure(values[items])), world.clusters, rng)


def _own_mean(world: World, rng: Draw) -> tuple[Interval, float]:
    return _drawn(world, rng, np.mean), mean_nll(world.accuracy)


def _own_median(world: World, rng: Draw) -> tuple[Interval, float]:
    return _drawn(world, rng, np.median), float(nll(STEEP * ndtri(world.accuracy)))


def _changed(world: World, rng: Draw, loss: float, *, binary: bool) -> Change:
    base, variant = world.two(rng, loss)
    both = (variant > 0, base > 0) if binary else (nll(variant), nll(base))
    differences = both[0].astype(float) - both[1]
    return change(differences[None], world.clusters, binary=binary)


def _flips(world: World, rng: Draw) -> tuple[Interval, float]:
    return _changed(world, rng, LOSS, binary=True).interval, -LOSS


def _losses(world: World, rng: Draw) -> tuple[Interval, float]:
    truth = mean_nll(world.accuracy - LOSS) - mean_nll(world.accuracy)
    return _changed(world, rng, LOSS, binary=False).interval, truth


def _seeds(world: World, rng: Draw) -> tuple[Interval, float]:
    luck = BETWEEN * rng.normal(size=(SEEDS, 1))
    differences = luck + world.noise(rng) + np.stack([world.noise(rng) for _ in range(SEEDS)])
    return change(differences, world.clusters, binary=False).interval, 0.0


def _launches(world: World, rng: Draw) -> tuple[Interval, float]:
    return launches(np.exp(NOISE * rng.normal(size=LAUNCHES))).interval, 1.0


def _stein(world: World, rng: Draw) -> tuple[Interval, float]:
    first = np.exp(NOISE * rng.normal(size=LAUNCHES))
    more = max(second_stage(first, NOISE) - LAUNCHES, 0)
    values = np.append(first, np.exp(NOISE * rng.normal(size=more)))
    return launches(values, first=LAUNCHES).interval, 1.0


def _null(world: World, rng: Draw, *, binary: bool) -> float:
    return _changed(world, rng, 0.0, binary=binary).p_value


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


FEW = {"accuracies": (0.8,), "counts": (200,)}
INTERVALS = (
    Case("accuracy (Wilson)", _wilson),
    Case("mean NLL (Hall's t)", _mean),
    Case("balanced accuracy (Hall's t)", _balanced),
    Case("macro F1 (Hall's t)", _macro_f1, accuracies=(0.8,)),
    Case("bits per byte (Hall's t)", _bits, accuracies=(0.8,)),
    Case("accuracy retained (Hall's t)", _retained, counts=(2000,)),
    Case("accuracy at other shares (influence)", _shares),
    Case("AUROC (influence)", _auroc),
    Case("own function, mean NLL (bootstrap)", _own_mean, SOME, **FEW),
    Case("own function, median NLL (bootstrap)", _own_median, SOME, **FEW),
    Case("change of accuracy (Bonett-Price)", _flips),
    Case("change of NLL (t)", _losses),
    Case(f"change over {SEEDS} seeds", _seeds, accuracies=(0.8,)),
    Case(f"speed-up over {LAUNCHES} launches", _launches, sizes=(1,), **FEW),
    Case("speed-up, two stages (Stein)", _stein, sizes=(1,), **FEW),
)
TESTS = (
    Case("change of accuracy (McNemar exact, t of clusters)", partial(_null, binary=True)),
    Case("change of NLL (t)", partial(_null, binary=False)),
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
