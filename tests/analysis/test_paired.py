"""Paired changes against formulas and statsmodels; identical predictions are never different."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from kit.analysis.paired import adjust, bh, change
from kit.results import row

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 300))
def test_right_and_wrong_are_bonett_price_and_mcnemar(lost: int, gained: int, same: int) -> None:
    flips = np.concatenate([-np.ones(lost), np.ones(gained), np.zeros(same)])
    n = len(flips)
    got = change(flips[None], np.arange(n), n, binary=True)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    error = math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    error *= math.sqrt((n + 2) / (n + 1))  # their formula divides by n, a t interval by n - 1
    half = stats.t.ppf(0.975, n + 1) * error
    limits = (max(-1, up - down - half), min(1, up - down + half))
    assert got.interval[:2] == pytest.approx(limits)
    assert got.p_value == pytest.approx(mcnemar([[same, lost], [gained, 0]], exact=True).pvalue)
    assert (got.value, got.lost, got.gained) == ((gained - lost) / n, lost, gained)
    assert got.interval.low < got.interval.high


def test_values_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=80), rng.normal(0.1, size=80)
    got = change((a - b)[None], np.arange(80), 80, binary=False)
    known = stats.ttest_rel(a, b)
    assert got.p_value == pytest.approx(known.pvalue)
    assert got.interval[:2] == pytest.approx(tuple(known.confidence_interval()))


def test_identical_predictions_are_not_different() -> None:
    for seeds in (1, 3):
        nothing = np.zeros((seeds, 50))
        right = change(nothing, np.arange(50), 50, binary=True)
        assert right.p_value == 1 and right.interval.low < 0 < right.interval.high
        loss = change(nothing, np.arange(50), 50, binary=False)
        assert loss.p_value == 1 and loss.interval[:2] == (0, 0) and math.isnan(loss.mde)


@pytest.mark.parametrize("binary", [True, False])
def test_false_alarms_and_power(binary: bool) -> None:
    """The 5% test errs no more than it says, and sees the difference it says it can see."""
    rng = np.random.default_rng(5)
    n, alarms, seen, covered, mde = 400, 0, 0, 0, 0.06
    for _ in range(300):
        draws = rng.random(n)
        plain = np.select([draws < 0.05, draws < 0.1], [-1.0, 1.0], 0.0)
        if not binary:
            plain = rng.normal(0, 0.4, n)
        got = change(plain[None], np.arange(n), n, binary=binary)
        alarms += got.p_value < 0.05
        covered += got.interval.low <= 0 <= got.interval.high
        mde = got.mde
    for _ in range(300):
        shift = rng.normal(mde, 0.4, n)
        seen += change(shift[None], np.arange(n), n, binary=False).p_value < 0.05
    assert alarms <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert covered >= 300 * 0.95 - 3 * math.sqrt(300 * 0.05 * 0.95)
    if not binary:
        assert seen / 300 == pytest.approx(0.8, abs=0.08)


def test_clusters_are_not_taken_for_items() -> None:
    """Ten copies of each difference say no more than one of each."""
    one = np.random.default_rng(6).normal(size=30)
    codes = np.repeat(np.arange(30), 10)
    copied = change(np.repeat(one, 10)[None], codes, 30, binary=False)
    alone = change(one[None], np.arange(30), 30, binary=False)
    assert copied.interval[:2] == pytest.approx(alone.interval[:2])
    assert copied.interval.over == "clusters"


def test_spread_between_seeds_counts_from_three_on() -> None:
    items = np.random.default_rng(7).normal(size=(1, 500)) * 0.01
    two = change(np.concatenate([items + 0.1, items - 0.1]), np.arange(500), 500, binary=False)
    three = change(
        np.concatenate([items + 0.1, items - 0.1, items]), np.arange(500), 500, binary=False
    )
    assert (two.interval.over, three.interval.over) == ("items", "seeds")
    between = stats.t.ppf(0.975, 2) * np.std([0.1, -0.1, 0], ddof=1) / math.sqrt(3)
    assert three.interval.high - three.value == pytest.approx(between, rel=0.01)


@pytest.mark.parametrize(("between", "own"), [(0.0, 1.0), (0.1, 0.3)])
def test_two_levels_count_no_variance_twice(between: float, own: float) -> None:
    """Seeds that meet the same items anew: their own spread is in the items' variance already."""
    rng = np.random.default_rng(8)
    codes, hits, widths = np.repeat(np.arange(100), 3), 0, []
    for _ in range(300):
        luck = between * rng.normal(size=(10, 1))
        items = 0.2 * np.repeat(rng.normal(size=100), 3)
        anew = own * np.repeat(rng.normal(size=(10, 100)), 3, axis=1)
        got = change(luck + items + anew, codes, 100, binary=False)
        hits += got.interval.low <= 0 <= got.interval.high
        widths.append(got.interval.high - got.interval.low)
    truth = math.sqrt(between**2 / 10 + 0.2**2 / 100 + own**2 / 1000)
    assert np.median(widths) == pytest.approx(2 * 2.1 * truth, rel=0.2)
    assert 0.91 <= hits / 300 <= 0.99


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_benjamini_hochberg_is_statsmodels(p_values: list[float]) -> None:
    known = multipletests(p_values, method="fdr_bh")[1]
    assert list(bh(np.array(p_values))) == pytest.approx(list(known))
    untested = bh(np.array([*p_values, math.nan]))
    assert list(untested[:-1]) == pytest.approx(list(known)) and math.isnan(untested[-1])


@settings(deadline=None, max_examples=10)  # statsmodels collects garbage on every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels_within_a_family(p_values: list[float]) -> None:
    rows = [row(variant="v", seed="0", metric="a_change", p_value=p) for p in p_values]
    other = row(variant="v", seed="all", metric="a_change", p_value=0.04)
    damaged = row(
        variant="v", metric="a_change", condition="corruption=typos;severity=1", p_value=0.03
    )
    got = adjust([*rows, damaged, other, row(variant="v", metric="a")])
    known = multipletests(p_values, method="holm")[1]
    assert [made["p_adjusted"] for made in got[:-3]] == pytest.approx(list(known))
    assert got[-3]["p_adjusted"] == 0.03
    assert got[-2]["p_adjusted"] == 0.04
    assert math.isnan(got[-1]["p_adjusted"])
