"""Changes group by group: against formulas, statsmodels and simulation."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests

from kit.analysis.groups import MOST_GROUPS, group_changes, slices
from kit.analysis.paired import change
from kit.analysis.score import compare, score
from kit.analysis.statistics.clusters import Clusters
from kit.spec.spec import Variant
from kit.store import results

quick = settings(deadline=None, max_examples=25)


def flips(rng: np.random.Generator, losses: list[float], size: int) -> np.ndarray:
    """Differences of right and wrong: 2% flips each way, and what each group loses beyond."""
    lost = 0.02 + np.repeat(losses, size)
    draws = rng.random(len(lost))
    return (draws > 0.98) - (draws < lost).astype(float)


def split(count: int, size: int) -> dict[str, np.ndarray]:
    names = np.repeat(np.arange(count), size)
    return {f"part={name}": names == name for name in range(count)}


def test_slices_are_the_largest_groups_of_twenty_and_more() -> None:
    columns = {
        "item": np.arange(60),
        "group:part": np.array(["b"] * 30 + ["a"] * 20 + ["rare"] * 10),
    }
    got = list(slices(columns))
    assert [(column, text, chosen.sum()) for column, text, chosen in got] == [
        ("part", "part=a", 20),
        ("part", "part=b", 30),
    ]
    many = np.repeat(np.arange(40), 20 + np.arange(40))
    kept = [text for _, text, _ in slices({"group:part": many})]
    assert len(kept) == MOST_GROUPS and "part=39" in kept and "part=0" not in kept


@quick
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_each_group_is_the_paired_change_of_its_items(seed: int, up: bool, shared: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal(size=4).repeat(40) / 4, 1)
    clusters = Clusters(np.arange(160) // 2, 80) if shared else Clusters.alone(160)
    groups = split(4, 40)
    got = group_changes(values[None], clusters, groups, binary=False, higher_is_better=up)
    for one, chosen in zip(got, groups.values(), strict=True):
        own = Clusters(np.arange(40) // 2, 20) if shared else Clusters.alone(40)
        assert one.change == change(values[None, chosen], own, binary=False)
        assert one.n == 40
    known = multipletests([one.change.p_value for one in got], method="fdr_bh")[1]
    assert [one.p_adjusted for one in got] == pytest.approx(list(known))


@quick
@given(st.integers(0, 10_000), st.booleans())
def test_the_excess_is_a_contrast_of_two_regressions(seed: int, shared: bool) -> None:
    """Of the group's mean and the mean, stacked, whose errors share items and clusters."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat([0, 1, 2], [50, 70, 80]))
    codes = np.arange(200) // 4 if shared else np.arange(200)
    count = codes.max() + 1
    values, chosen = rng.normal(names / 3, 1), names == 0
    got = group_changes(
        values[None],
        Clusters(codes, count),
        {"part=0": chosen},
        binary=False,
        higher_is_better=False,
    )[0]
    design = np.repeat(np.eye(2), [50, 200], axis=0)
    clusters = np.concatenate([codes[chosen], codes])
    fit = OLS(np.concatenate([values[chosen], values]), design).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    contrast = np.array([1, -2])
    error = math.sqrt(contrast @ fit.cov_params() @ contrast * count / (count - 1))
    value = contrast @ fit.params
    assert got.excess is not None
    assert got.excess.change.value == pytest.approx(value)
    half = stats.t.ppf(0.975, count - 1) * error
    assert got.excess.change.interval[:2] == pytest.approx((value - half, value + half))
    alone = stats.ttest_1samp(values[chosen], 0, alternative="greater").pvalue
    more = stats.t.sf(value / error, count - 1)
    if not shared:
        assert got.excess.p_value == pytest.approx(max(alone, more))


def test_a_planted_loss_is_flagged_and_nothing_else() -> None:
    """The small version of `benchmarks groups`, with room for the error of 60 studies."""
    rng, groups, alone = np.random.default_rng(8), split(10, 300), Clusters.alone(3000)
    found, wrong = 0, 0
    for planted in (0.07, 0.0):
        for _ in range(60):
            change = flips(rng, [planted] + [0.0] * 9, 300)
            got = group_changes(change[None], alone, groups, binary=True, higher_is_better=True)
            flagged = [one.excess is not None and one.excess.flagged for one in got]
            found += flagged[0] and planted > 0
            wrong += any(flagged[1:]) or (flagged[0] and not planted)
    assert found >= 60 * 0.8 - 2 * math.sqrt(60 * 0.8 * 0.2)
    assert wrong <= 120 * 0.05 + 2 * math.sqrt(120 * 0.05 * 0.95)


def test_what_loses_no_more_than_others_or_gains_is_not_flagged() -> None:
    rng, groups, alone = np.random.default_rng(9), split(5, 400), Clusters.alone(2000)
    for losses in ([0.2] * 5, [-0.1, -0.1, -0.1, -0.1, 0.0]):
        lost = np.repeat(losses, 400)
        draws = rng.random(2000)
        change = (draws < np.maximum(-lost, 0)) - (draws < np.maximum(lost, 0)).astype(float)
        got = group_changes(change[None], alone, groups, binary=True, higher_is_better=True)
        assert not any(one.excess is not None and one.excess.flagged for one in got)


def test_direction_turns_the_loss_around() -> None:
    change = flips(np.random.default_rng(10), [0.1, 0.0, 0.0, 0.0], 300)[None]
    alone, groups = Clusters.alone(1200), split(4, 300)
    up = group_changes(change, alone, groups, binary=True, higher_is_better=True)
    down = group_changes(-change, alone, groups, binary=True, higher_is_better=False)
    assert [one.excess for one in up] == [one.excess for one in down]
    assert up[0].excess is not None and up[0].excess.flagged and up[0].change.value < 0
    none = group_changes(change, alone, groups, binary=True, higher_is_better=None)
    assert [one.excess for one in none] == [None] * 4


def test_identical_predictions_and_lone_clusters() -> None:
    same, groups, alone = np.zeros((3, 80)), split(2, 40), Clusters.alone(80)
    got = group_changes(same, alone, groups, binary=True, higher_is_better=True)
    assert all(one.excess is not None and not one.excess.flagged for one in got)
    assert group_changes(same, alone, {}, binary=True, higher_is_better=True) == []
    three = Clusters(np.repeat([0, 1, 2], [40, 20, 20]), 3)  # the first group is one cluster
    values = np.random.default_rng(11).normal(size=(1, 80))
    lone, other = group_changes(values, three, groups, binary=False, higher_is_better=True)
    assert math.isnan(lone.p_adjusted) and "one item or cluster" in lone.change.interval.note
    assert lone.excess is not None and not lone.excess.flagged
    assert other.p_adjusted == other.change.p_value


PARTS = {"group:part": np.repeat(["a", "b", "c", "rare"], [100, 100, 90, 10])}


def test_the_worst_group_and_the_gap(classified: Any, base: Variant) -> None:
    right = np.ones(300, bool)
    right[:30], right[100:110], right[290:] = False, False, False
    rows = score(classified(base, right, **PARTS), ["accuracy"])
    found = {(row["metric"], row["group"]): row for row in rows}
    worst, gap = found["worst_group_accuracy", "part"], found["accuracy_group_gap", "part"]
    assert (worst["value"], worst["n"]) == (0.7, 100) and worst["note"].startswith("part=a; no")
    assert gap["value"] == pytest.approx(0.3) and gap["note"].startswith("part=a to part=c; no")
    assert gap["n"] == 300 and math.isnan(gap["ci_low"])
    results.to_frame(rows)
    alone = score(classified(base, right, **{"group:part": np.full(300, "a")}), ["accuracy"])
    assert [row["metric"] for row in alone] == ["accuracy", "accuracy"]


def test_rows_of_group_changes(classified: Any, base: Variant, small: Variant) -> None:
    before, after = np.ones(300, bool), np.ones(300, bool)
    after[:40], before[100:102] = False, False
    runs = [classified(base, before, **PARTS), classified(small, after, **PARTS)]
    rows = compare(runs, base, ["accuracy"])
    found = {(row["metric"], row["group"]): row for row in rows}
    a, b = found["accuracy_change", "part=a"], found["accuracy_change", "part=b"]
    assert (a["value"], a["n"], a["baseline"]) == (-0.4, 100, "base") and a["mde"] > 0
    assert a["ci_low"] < -0.4 < a["ci_high"] and b["value"] == 0.02
    known = multipletests([a["p_value"], b["p_value"], 1.0], method="fdr_bh")[1]
    assert (a["p_adjusted"], b["p_adjusted"]) == pytest.approx(tuple(known[:2]))
    excess = found["accuracy_excess_loss", "part=a"]
    assert excess["value"] == pytest.approx(0.4 - 2 * 38 / 300) and "flagged" in excess["note"]
    assert excess["p_adjusted"] < 0.05 < found["accuracy_excess_loss", "part=b"]["p_adjusted"]
    assert ("accuracy_change", "part=rare") not in found
    whole = found["accuracy_change", ""]
    assert whole["p_adjusted"] == whole["p_value"]  # groups are no part of its family
    results.to_frame(rows)


def test_groups_of_what_both_have_and_over_seeds(
    classified: Any, base: Variant, small: Variant
) -> None:
    right = np.arange(300) % 7 > 0
    theirs = classified(base, np.ones(300, bool), **PARTS)
    back = np.arange(300)[:50:-1]
    ours = classified(small, right, **PARTS)
    ours = replace(ours, columns={name: each[back] for name, each in ours.columns.items()})
    rows = compare([theirs, ours], base, ["accuracy"])
    (made,) = [row for row in rows if row["group"] == "part=b" and "change" in row["metric"]]
    assert made["value"] == pytest.approx(right[100:200].mean() - 1)
    seeds = [classified(small.replace(seed=seed), right, **PARTS) for seed in (0, 1)]
    rows = compare([theirs, *seeds], base, ["accuracy"])
    assert {row["seed"] for row in rows if row["group"]} == {"all"}


def test_a_million_items() -> None:
    rng = np.random.default_rng(12)
    change, part = rng.choice([-1.0, 0, 1], (1, 1_000_000), p=[0.02, 0.96, 0.02]), 20
    groups = {f"part={k}": np.arange(1_000_000) % part == k for k in range(part)}
    pairs = Clusters(np.arange(1_000_000) // 2, 500_000)
    start = time.perf_counter()
    group_changes(change, pairs, groups, binary=True, higher_is_better=True)
    assert time.perf_counter() - start < 10
