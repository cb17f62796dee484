"""Intervals from influence functions cover, also of rare classes and in clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, pearsonr

from kit.analysis.statistics import ranking, smooth
from kit.analysis.statistics.intervals import Influence, robust


def coverage(truth: float, items: int, share: float, size: int, tries: int = 400) -> float:
    """Share of simulated data sets whose interval holds the true AUROC."""
    rng, codes, held = np.random.default_rng(0), np.arange(items) // size, 0
    for _ in range(tries):
        positive = np.repeat(rng.random(items // size) < share, size)
        noise = np.repeat(rng.normal(size=items // size), size) * 0.7
        scores = noise + rng.normal(size=items) * np.sqrt(1 - 0.49)
        scores += norm.ppf(truth) * np.sqrt(2) * positive
        made = ranking.auroc(scores, positive)
        ends = smooth.interval(made, codes, items // size, (0, 1))
        held += ends.low <= truth <= ends.high
    return held / tries


@pytest.mark.parametrize(
    ("truth", "share", "size"), [(0.8, 0.5, 1), (0.95, 0.5, 1), (0.95, 0.15, 1), (0.8, 0.5, 4)]
)
def test_intervals_of_auroc_cover(truth: float, share: float, size: int) -> None:
    assert 0.92 <= coverage(truth, 200, share, size) <= 0.98


def test_bounds_hold_and_without_them_it_is_the_t_interval() -> None:
    rng, codes = np.random.default_rng(1), np.arange(40)
    influence = rng.choice([-1.0, 1.0], 40)
    influence -= influence.mean()
    plain = smooth.interval(Influence(0.9, influence), codes, 40)
    expected = robust(0.9 + influence, codes, 40)
    assert (plain.low, plain.high) == pytest.approx((expected.low, expected.high), rel=1e-6)
    inside = smooth.interval(Influence(0.9, influence), codes, 40, (0, 1))
    assert 0 < inside.low < 0.9 < inside.high < 1 < plain.high
    at_the_end = smooth.interval(Influence(1.0, influence), codes, 40, (0, 1))
    assert at_the_end.high == 1 and at_the_end.low == pytest.approx(plain.low + 0.1)


def test_of_a_correlation_it_is_near_fishers_z() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=1000)
    y = x + rng.normal(size=1000)
    made = smooth.interval(ranking.spearman(x, y), np.arange(1000), 1000, (-1, 1))
    fisher = pearsonr(np.argsort(np.argsort(x)), np.argsort(np.argsort(y))).confidence_interval()
    assert (made.low, made.high) == pytest.approx(fisher, abs=0.01)


def test_no_spread_and_one_cluster_have_no_interval() -> None:
    assert "one item" in smooth.interval(Influence(0.5, np.ones(1)), np.zeros(1, int), 1).note
    nothing = smooth.interval(Influence(1.0, np.zeros(9)), np.arange(9), 9, (0, 1))
    assert "no item changes" in nothing.note and np.isnan(nothing.low)
