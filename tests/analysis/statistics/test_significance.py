"""Tests of no difference against scipy, statsmodels and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as known_mcnemar

from kit.analysis.statistics.significance import mcnemar, paired_bootstrap, permutation

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_exact_and_mid_p(lost: int, gained: int) -> None:
    exact, mid = mcnemar(lost, gained), mcnemar(lost, gained, mid_p=True)
    assert exact == pytest.approx(known_mcnemar([[5, lost], [gained, 0]], exact=True).pvalue)
    flips, least = lost + gained, min(lost, gained)
    heads = [math.comb(flips, k) / 2**flips for k in range(least + 1)]
    assert mid == pytest.approx(min(1.0, 2 * sum(heads[:-1]) + heads[-1]))
    assert mid <= exact <= 1
    assert mcnemar(gained, lost) == exact


def test_mcnemar_of_many_flips() -> None:
    assert mcnemar(49_000, 51_000) == pytest.approx(stats.binomtest(49_000, 100_000).pvalue)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=2, max_size=9))
def test_permutation_is_scipy_exactly(differences: list[float]) -> None:
    values = np.array(differences)
    known = stats.permutation_test(
        (values, np.zeros(len(values))),
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
    ).pvalue
    rng = np.random.default_rng(0)
    assert permutation(values, np.arange(len(values)), len(values), rng) == pytest.approx(known)


def test_permutation_draws_agree_with_all_of_them() -> None:
    values = np.random.default_rng(1).normal(0.5, 1, 13)
    codes, rng = np.arange(13), np.random.default_rng(2)
    whole = permutation(values, codes, 13, rng)
    drawn = permutation(values, codes, 13, rng, times=5000)
    assert drawn == pytest.approx(whole, abs=4 * math.sqrt(whole * (1 - whole) / 5000))


def test_permutation_swaps_whole_clusters() -> None:
    one = np.random.default_rng(3).normal(0.3, 1, 10)
    rng = np.random.default_rng(0)
    copied = permutation(np.repeat(one, 7), np.repeat(np.arange(10), 7), 10, rng)
    assert copied == permutation(one, np.arange(10), 10, rng)


def test_paired_bootstrap_is_near_the_t_test_and_agrees_with_itself() -> None:
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.1, 0.2):
        values = rng.normal(shift, 1, 300)
        interval, p_value = paired_bootstrap(values, np.arange(300), 300, rng)
        known = stats.ttest_1samp(values, 0)
        assert p_value == pytest.approx(known.pvalue, abs=0.06)
        limits = known.confidence_interval()
        assert interval[:2] == pytest.approx((limits.low, limits.high), abs=0.02)
        assert (p_value < 0.049) <= (not interval.low <= 0 <= interval.high)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_identical_predictions_are_not_different(n: int) -> None:
    nothing, codes, rng = np.zeros(n), np.arange(n), np.random.default_rng(0)
    assert permutation(nothing, codes, n, rng) == 1
    interval, p_value = paired_bootstrap(nothing, codes, n, rng)
    assert p_value == 1 and math.isnan(interval.low) and "no interval" in interval.note
    assert mcnemar(0, 0) == mcnemar(0, 0, mid_p=True) == 1


def test_one_item_shows_nothing() -> None:
    one, codes, rng = np.array([2.0]), np.zeros(1, int), np.random.default_rng(0)
    assert permutation(one, codes, 1, rng) == 1
    interval, p_value = paired_bootstrap(one, codes, 1, rng)
    assert math.isnan(p_value) and interval.note.startswith("one item or cluster")
    same = paired_bootstrap(np.full(9, 2.0), np.zeros(9, int), 1, rng)
    assert math.isnan(same[1])
