"""Intervals against other libraries, naive loops and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.proportion import proportion_confint

from kit.analysis.statistics import intervals
from kit.analysis.statistics.intervals import Influence, Ratio

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_is_statsmodels(n: int, share: float) -> None:
    hits = int(n * share)
    values = np.arange(n) < hits
    got = intervals.wilson(values, np.arange(n), n)
    assert got[:2] == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-9)
    assert got.over == "items"


@quick
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_cluster_robust_error_is_statsmodels(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(count), rng.integers(0, count, 40)])
    values = rng.normal(size=len(codes)) + codes
    fit = OLS(values, np.ones(len(codes))).fit(cov_type="cluster", cov_kwds={"groups": codes})
    assert intervals.standard_error(values, codes, count) == pytest.approx(fit.bse[0])


def test_singletons_give_the_ordinary_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    got = intervals.robust(values, np.arange(30), 30)
    known = stats.ttest_1samp(values, 0).confidence_interval()
    assert got[:2] == pytest.approx((known.low, known.high))


def test_bootstrap_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(1)
    top, bottom = rng.exponential(2, 200), rng.integers(1, 50, 200)
    got = intervals.bootstrap(Ratio(top, bottom), np.arange(200), 200, np.random.default_rng(2))
    picks = rng.integers(0, 200, (4000, 200))
    low, high = np.quantile(top[picks].sum(1) / bottom[picks].sum(1), [0.025, 0.975])
    assert got[:2] == pytest.approx((low, high), rel=0.05)
    whole = intervals.resampled(
        lambda i: float(top[i].sum() / bottom[i].sum()), np.arange(200), 200, rng
    )
    assert whole[:2] == pytest.approx((low, high), rel=0.05)


def test_delta_method_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(300), 4)
    ratio = Ratio(rng.exponential(2, 1200) + codes % 3, rng.integers(1, 50, 1200))
    assert ratio.pseudo_values().mean() == pytest.approx(ratio.value)
    closed = intervals.robust(ratio.pseudo_values(), codes, 300)
    drawn = intervals.bootstrap(ratio, codes, 300, rng)
    assert closed[:2] == pytest.approx(drawn[:2], rel=0.03)
    assert closed.over == drawn.over == "clusters"


def test_a_long_tail_moves_the_interval_up() -> None:
    values = np.random.default_rng(5).exponential(size=100)
    plain = intervals.robust(values, np.arange(100), 100)
    moved = intervals.skewed(values, np.arange(100), 100)
    assert moved.low > plain.low and moved.high > plain.high
    even = np.concatenate([values, -values])
    known = intervals.robust(even, np.arange(200), 200)
    assert intervals.skewed(even, np.arange(200), 200)[:2] == pytest.approx(known[:2])


def test_shares_stay_between_0_and_1() -> None:
    for wrong in (1, 2, 199):
        right = np.arange(200) >= wrong
        of_class = (np.arange(200) % 2)[:, None] == [0, 1]
        ratio = Ratio(of_class & right[:, None], of_class)
        got = intervals.bootstrap(ratio, np.arange(200), 200, np.random.default_rng(0))
        assert 0 <= got.low < ratio.value < got.high <= 1


def test_few_events_and_few_clusters_have_an_interval() -> None:
    """Draws without any event have no spread: the closed form serves."""
    rng = np.random.default_rng(6)
    for count in (2, 3, 200):
        top = np.zeros(count)
        top[0] = 3.0
        ratio = Ratio(top, rng.integers(1, 50, count))
        got = intervals.bootstrap(ratio, np.arange(count), count, rng)
        assert got.low < ratio.value < got.high


def test_influence_has_pseudo_values() -> None:
    values = np.random.default_rng(7).normal(size=50)
    got = Influence(float(values.mean()), values - values.mean())
    assert got.pseudo_values() == pytest.approx(values)


def test_shared_clusters_widen() -> None:
    right = np.repeat(np.random.default_rng(4).random(40) < 0.8, 10)
    codes = np.repeat(np.arange(40), 10)
    alone = intervals.wilson(right, np.arange(400), 400)
    shared = intervals.wilson(right, codes, 40)
    forty = intervals.wilson(right[::10], np.arange(40), 40)
    assert shared.over == "clusters"
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    assert shared[:2] == pytest.approx(forty[:2], abs=0.02)


def test_what_cannot_be_had_has_a_reason() -> None:
    one = np.ones(1)
    rng = np.random.default_rng(0)
    assert intervals.bootstrap(Ratio(one, one), np.zeros(1, int), 1, rng).note
    same = Ratio(np.ones(50), np.ones(50))
    assert "same value" in intervals.bootstrap(same, np.arange(50), 50, rng).note
    assert intervals.wilson(np.ones(9), np.zeros(9, int), 1).note
    assert "2 launches" in intervals.launches(np.array([1.0, 2.0])).interval.note


def test_launches_are_a_t_test_on_logarithms() -> None:
    ratios = np.array([1.9, 2.1, 2.3, 1.8])
    got = intervals.launches(ratios, null=1.0)
    known = stats.ttest_1samp(np.log(ratios), 0)
    assert got.value == pytest.approx(stats.gmean(ratios))
    assert got.p_value == pytest.approx(known.pvalue)
    limits = np.exp(known.confidence_interval())
    assert got.interval[:2] == pytest.approx(tuple(limits))
    assert 0 < got.mde < 1


@pytest.mark.parametrize(("n", "share"), [(200, 0.8), (200, 0.95), (60, 0.5)])
def test_coverage(n: int, share: float) -> None:
    """95% intervals cover the truth within the simulation's error (3 sigma of 400 draws: 3.3%)."""
    rng = np.random.default_rng(n)
    codes = np.repeat(np.arange(n), 3)
    hits = {"wilson": 0, "clusters": 0}
    for _ in range(400):
        alone = intervals.wilson(rng.random(n) < share, np.arange(n), n)
        hits["wilson"] += alone.low <= share <= alone.high
        of_cluster = rng.beta(share * 4, (1 - share) * 4, n)
        shared = intervals.wilson(rng.random(3 * n) < np.repeat(of_cluster, 3), codes, n)
        hits["clusters"] += shared.low <= share <= shared.high
    assert all(abs(count / 400 - 0.95) <= 0.033 for count in hits.values()), hits
