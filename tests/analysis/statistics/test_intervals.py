"""Intervals against other libraries and naive loops; `test_coverage` has their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from kit.analysis.statistics import ranking
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.intervals import resampled, robust, skewed, smooth, unskewed, wilson
from kit.spec.checking import Undefined

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_is_statsmodels(n: int, share: float) -> None:
    hits = int(n * share)
    got = wilson(np.arange(n) < hits, Clusters.alone(n))
    assert got[:2] == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-9)
    assert got.over == "items"


def test_shared_clusters_widen() -> None:
    right = np.repeat(np.random.default_rng(4).random(40) < 0.8, 10)
    alone = wilson(right, Clusters.alone(400))
    shared = wilson(right, Clusters(np.repeat(np.arange(40), 10), 40))
    forty = wilson(right[::10], Clusters.alone(40))
    assert shared.over == "clusters"
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    assert shared[:2] == pytest.approx(forty[:2], abs=0.02)


def test_singletons_give_the_ordinary_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    known = stats.ttest_1samp(values, 0).confidence_interval()
    assert robust(values, Clusters.alone(30))[:2] == pytest.approx((known.low, known.high))


@quick
@given(st.floats(-3, 3), st.floats(-1, 1))
def test_unskewed_solves_the_cubic(t: float, tail: float) -> None:
    y = unskewed(t, tail)
    cubic = y + tail * y**2 / 3 + tail**2 * y**3 / 27 + tail / 6
    assert cubic == pytest.approx(t, abs=1e-5)


def studentized(top: np.ndarray, bottom: np.ndarray, draws: int = 4000) -> tuple[float, float]:
    """The bootstrap-t interval of a ratio (Hall 1988), whose draws the closed form stands for."""
    picks = np.random.default_rng(1).integers(0, len(top), (draws, len(top)))
    value = top.sum() / bottom.sum()
    tops, bottoms = top[picks], bottom[picks]
    found = tops.sum(1) / bottoms.sum(1)
    errors = np.sqrt(((tops - found[:, None] * bottoms) ** 2).sum(1)) / bottoms.sum(1)
    error = math.sqrt(((top - value * bottom) ** 2).sum()) / bottom.sum()
    high, low = np.quantile((found - value) / errors, [0.025, 0.975])
    return value - low * error, value - high * error


@pytest.mark.parametrize("size", [1, 4])
def test_a_ratio_has_the_interval_of_studentized_draws(size: int) -> None:
    rng = np.random.default_rng(2)
    top, bottom = rng.exponential(2, 150 * size), rng.integers(1, 50, 150 * size).astype(float)
    clusters = Clusters(np.arange(150 * size) // size, 150)
    got = skewed(Ratio(top, bottom), clusters)
    low, high = studentized(clusters.sums(top), clusters.sums(bottom))
    assert got[:2] == pytest.approx((low, high), abs=0.05 * (high - low))
    assert got.over == ("items" if size == 1 else "clusters")


def test_a_long_tail_moves_the_interval_up() -> None:
    values = np.random.default_rng(5).exponential(size=100)
    plain = robust(values, Clusters.alone(100))
    moved = skewed(Ratio(values, np.ones(100)), Clusters.alone(100))
    assert moved.low > plain.low and moved.high > plain.high
    even = np.concatenate([values, -values])
    known = robust(even, Clusters.alone(200))
    assert skewed(Ratio(even, np.ones(200)), Clusters.alone(200))[:2] == pytest.approx(known[:2])


def test_shares_stay_between_0_and_1() -> None:
    for wrong in (1, 2, 199):
        right = np.arange(200) >= wrong
        of_class = (np.arange(200) % 2)[:, None] == [0, 1]
        ratio = Ratio(of_class & right[:, None], of_class)
        got = skewed(ratio, Clusters.alone(200))
        assert 0 <= got.low < ratio.value < got.high <= 1


@pytest.mark.parametrize("count", [2, 3, 200])
def test_few_events_and_few_clusters_have_an_interval(count: int) -> None:
    ratio = Ratio(3.0 * (np.arange(count) == 0), np.random.default_rng(6).integers(1, 50, count))
    got = skewed(ratio, Clusters.alone(count))
    assert got.low < ratio.value < got.high


def test_bounds_hold_and_without_them_it_is_the_t_interval() -> None:
    rng, alone = np.random.default_rng(1), Clusters.alone(40)
    influence = rng.choice([-1.0, 1.0], 40)
    influence -= influence.mean()
    plain = smooth(Influence(0.9, influence), alone)
    expected = robust(0.9 + influence, alone)
    assert plain[:2] == pytest.approx(expected[:2], rel=1e-6)
    inside = smooth(Influence(0.9, influence, (0, 1)), alone)
    assert 0 < inside.low < 0.9 < inside.high < 1 < plain.high
    at_the_end = smooth(Influence(1.0, influence, (0, 1)), alone)
    assert at_the_end.high == 1 and at_the_end.low == pytest.approx(plain.low + 0.1)


def test_of_a_correlation_it_is_near_fishers_z() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=1000)
    y = x + rng.normal(size=1000)
    made = smooth(ranking.spearman(x, y), Clusters.alone(1000))
    ranks = [stats.rankdata(side) for side in (x, y)]
    fisher = stats.pearsonr(*ranks).confidence_interval()
    assert made[:2] == pytest.approx(tuple(fisher), abs=0.01)


def test_a_function_has_the_percentiles_of_its_draws() -> None:
    values = np.random.default_rng(3).exponential(size=300)
    known = stats.bootstrap(
        (values,), np.median, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    rngs = (np.random.default_rng(seed) for seed in (5, 5, 6))
    got = [resampled(lambda i: float(np.median(values[i])), Clusters.alone(300), r) for r in rngs]
    assert got[0][:2] == pytest.approx(tuple(known), abs=0.15 * (known[1] - known[0]))
    assert got[0] == got[1] != got[2] and got[0].over == "items"


def test_functions_see_whole_clusters() -> None:
    codes = np.array([2, 0, 1, 2, 0, 2])

    def value(items: np.ndarray) -> float:
        times = np.bincount(codes[items], minlength=3)
        assert (times % np.bincount(codes) == 0).all() and times.sum() >= 3
        return float(times[2])

    got = resampled(value, Clusters(codes, 3), np.random.default_rng(0))
    assert (got.low, got.high, got.over) == (0, 9, "clusters")


def test_functions_without_a_value() -> None:
    def value(items: np.ndarray) -> float:
        if 0 not in items:
            raise Undefined("no first item")
        return float(items.mean())

    got = resampled(value, Clusters.alone(30), np.random.default_rng(0))
    assert "resamples: no interval" in got.note and math.isnan(got.low)
    same = resampled(lambda items: 1.0, Clusters.alone(30), np.random.default_rng(0))
    assert "same value" in same.note
    few = resampled(lambda i: math.inf if 0 in i[:1] else 0.1 * i[1], Clusters.alone(30),
                    np.random.default_rng(0))  # fmt: skip
    assert few.low < few.high < math.inf


def test_one_cluster_or_no_spread_has_no_interval() -> None:
    one, nothing = Clusters(np.zeros(9, int), 1), Clusters.alone(9)
    ratio = Ratio(np.ones(9), np.ones(9))
    assert "one item" in skewed(ratio, one).note and "same value" in skewed(ratio, nothing).note
    size = np.random.default_rng(0).integers(1, 50, 9)
    assert "same value" in skewed(Ratio(0.3 * size, size), nothing).note
    assert "one cluster" in wilson(np.ones(9), one).note
    assert "one item" in smooth(Influence(0.5, np.ones(9)), one).note
    assert "no item changes" in smooth(Influence(1.0, np.zeros(9)), nothing).note
    assert "one item" in resampled(lambda items: 1.0, one, np.random.default_rng(0)).note
