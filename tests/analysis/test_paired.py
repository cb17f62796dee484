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
from statsmodels.stats.power import TTestPower

from kit.analysis.paired import Change, adjust, change
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.corrections import bh
from kit.store.results import row

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 300))
def test_right_and_wrong_are_bonett_price_and_mcnemar(lost: int, gained: int, same: int) -> None:
    flips = np.concatenate([-np.ones(lost), np.ones(gained), np.zeros(same)])
    n = len(flips)
    got = change(flips[None], Clusters.alone(n), binary=True)
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
    got = change((a - b)[None], Clusters.alone(80), binary=False)
    known = stats.ttest_rel(a, b)
    assert got.p_value == pytest.approx(known.pvalue)
    assert got.interval[:2] == pytest.approx(tuple(known.confidence_interval()))


def test_identical_predictions_are_not_different() -> None:
    for seeds in (1, 3):
        nothing, alone = np.zeros((seeds, 50)), Clusters.alone(50)
        right = change(nothing, alone, binary=True)
        assert right.p_value == 1 and right.interval.low < 0 < right.interval.high
        loss = change(nothing, alone, binary=False)
        assert loss.p_value == 1 and loss.interval[:2] == (0, 0) and math.isnan(loss.mde)


def test_the_smallest_difference_is_seen_in_four_of_five_studies() -> None:
    values = np.random.default_rng(5).normal(0, 0.4, 60)
    mde = change(values[None], Clusters.alone(60), binary=False).mde
    power = TTestPower().power(mde / values.std(ddof=1), nobs=60, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.005)


def test_clusters_are_not_taken_for_items() -> None:
    """Ten copies of each difference say no more than one of each."""
    one = np.random.default_rng(6).normal(size=30)
    tens = Clusters(np.repeat(np.arange(30), 10), 30)
    copied = change(np.repeat(one, 10)[None], tens, binary=False)
    alone = change(one[None], Clusters.alone(30), binary=False)
    assert copied.interval[:2] == pytest.approx(alone.interval[:2])
    assert copied.interval.over == "clusters"


def test_spread_between_seeds_counts_from_three_on() -> None:
    items = np.random.default_rng(7).normal(size=(1, 500)) * 0.01
    alone, luck = Clusters.alone(500), np.array([[0.1], [-0.1], [0.0]])
    two = change(items + luck[:2], alone, binary=False)
    three = change(items + luck, alone, binary=False)
    assert (two.interval.over, three.interval.over) == ("items", "seeds")
    between = stats.t.ppf(0.975, 2) * np.std([0.1, -0.1, 0], ddof=1) / math.sqrt(3)
    assert three.interval.high - three.value == pytest.approx(between, rel=0.01)


def test_two_levels_count_no_variance_twice() -> None:
    """What seeds differ by on the items, each anew, is in the items' variance already."""
    rng = np.random.default_rng(8)
    anew, alone = rng.normal(size=(10, 3000)), Clusters.alone(3000)
    nothing = change(anew, alone, binary=False)
    luck = 0.1 * rng.normal(size=(10, 1))
    lucky = change(anew + luck, alone, binary=False)
    error = math.sqrt(1 / 30_000)
    assert _half(nothing) == pytest.approx(2 * error, rel=0.25)
    known = math.sqrt(error**2 + luck.var(ddof=1) / 10)
    assert _half(lucky) == pytest.approx(stats.t.ppf(0.975, 9) * known, rel=0.1)


def _half(found: Change) -> float:
    return (found.interval.high - found.interval.low) / 2


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
