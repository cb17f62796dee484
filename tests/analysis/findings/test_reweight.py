"""Reweighted predictions: against loops and survey formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from kit.analysis.findings.reweight import at_shares, reweighted
from kit.analysis.statistics.influence import Ratio
from kit.spec.checking import SpecError
from kit.spec.spec import Variant

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_mean_is_the_mean_of_strata(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values, strata = rng.normal(size=90), rng.permutation(np.repeat(["a", "b"], [30, 60]))
    found, effective = reweighted(Ratio(values, np.ones(90)), strata, {"a": share, "b": 1 - share})
    each = [values[strata == name] for name in "ab"]
    shares = np.array([share, 1 - share])
    assert found.value == pytest.approx(shares @ [one.mean() for one in each])
    # stratified sampling: the sum of share^2 s^2 / n over strata (Cochran 1977, 5.6)
    variance = (shares**2) @ [one.var() / len(one) for one in each]
    assert (found.influence**2).mean() / 90 == pytest.approx(variance)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)
    weights = np.where(strata == "a", share * 3, (1 - share) * 1.5)
    assert found.value == pytest.approx(DescrStatsW(values, weights).mean)
    assert effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


@quick
@given(st.integers(0, 10_000))
def test_its_own_shares_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratio = Ratio(rng.random((50, 2)), rng.integers(0, 3, (50, 2)) + 0.1)
    found, effective = reweighted(ratio, np.arange(50) % 2, {0: 0.5, 1: 0.5})
    assert found.value == pytest.approx(ratio.value) and effective == pytest.approx(50)


def test_a_ratio_is_that_of_the_items_repeated() -> None:
    rng = np.random.default_rng(0)
    ratio = Ratio(rng.random((40, 3)), rng.integers(1, 9, (40, 3)))
    strata = np.repeat([0, 1], 20)
    found, _ = reweighted(ratio, strata, {0: 0.25, 1: 0.75})
    assert found.value == pytest.approx(ratio.of(np.repeat(np.arange(40), 1 + 2 * strata)).value)


def test_bad_shares() -> None:
    ratio, strata = Ratio(np.ones(4), np.ones(4)), np.array(["cat", "cat", "dog", "dog"])
    for shares, says in (
        ({"dgo": 1.0}, "Did you mean 'dog'"),
        ({"cat": 1.5, "dog": -0.5}, "expected a share"),
        ({"cat": math.nan, "dog": 1.0}, "expected a share"),
        ({"cat": 0.5}, "add up to 0.5"),
    ):
        with pytest.raises(SpecError, match=says):
            reweighted(ratio, strata, shares)


def test_a_table_of_shares(classified: Any, base: Variant) -> None:
    right = np.random.default_rng(2).random(300) < np.where(np.arange(300) % 2, 0.9, 0.6)
    artifact = classified(base, right, **{"group:part": np.repeat(["a", "b", "c"], 100)})
    table = at_shares([artifact], shares=(0.0, 0.5, 1.0))
    assert len(table) == 6 and set(table["label"]) == {0, 1}
    own = table.set_index(["label", "share"])["value"]
    assert own[1, 1.0] == pytest.approx(right[1::2].mean()) == pytest.approx(own[0, 0.0])
    assert own[1, 0.5] == pytest.approx(right.mean())
    assert (table["ci_low"] < table["value"]).all() and (table["value"] < table["ci_high"]).all()
    assert table["effective_n"].tolist() == pytest.approx([150, 300, 150] * 2)
    parts = at_shares([artifact], by="part", shares=(0.4,), metric="nll")
    assert parts["observed"].tolist() == pytest.approx([1 / 3] * 3)
    with pytest.raises(SpecError, match="Did you mean 'part'"):
        at_shares([artifact], by="prat")


def test_what_cannot_be_weighted_says_so(classified: Any, base: Variant) -> None:
    artifact = classified(base, np.arange(50) > 9, **{"group:part": np.full(50, "a")})
    whole = at_shares([artifact], metric="auroc", shares=(0.5,))
    assert whole["value"].isna().all() and "no sum over items" in whole["note"][0]
    alone = at_shares([artifact], by="part", shares=(0.5,))
    assert alone["value"].isna().all() and "no other share" in alone["note"][0]
    rated = classified(base, np.arange(50) > 9, info={"rated": False})
    assert "no probabilities" in at_shares([rated], metric="nll")["note"][0]
