"""A number predicted: scikit-learn and scipy have the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from kit.analysis.metrics.regression import mae, pearson, r2, rmse, spearman
from kit.spec.checking import Undefined


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = 100 + rng.gamma(2.0, size=n).round(1)
    label[:2] = 100, 101
    return label, label + rng.normal(size=n)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_errors_are_those_of_scikit_learn(seed: int, n: int) -> None:
    label, prediction = drawn(seed, n)
    expected = root_mean_squared_error(label, prediction)
    assert rmse(label, prediction).value == pytest.approx(expected)
    assert mae(label, prediction).mean() == pytest.approx(mean_absolute_error(label, prediction))
    assert r2(label, prediction).value == pytest.approx(r2_score(label, prediction))
    assert pearson(label, prediction).value == pytest.approx(pearsonr(label, prediction).statistic)
    expected = spearmanr(label, prediction).statistic
    assert spearman(label, prediction).value == pytest.approx(expected)


@pytest.mark.parametrize("measure", [rmse, r2, pearson, spearman])
def test_influence_is_what_the_jackknife_sees(measure: Any) -> None:
    label, prediction = drawn(3, 300)
    found = measure(label, prediction)
    others = (np.delete(np.arange(300), item) for item in range(300))
    left = [measure(label[kept], prediction[kept]).value for kept in others]
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    assert found.influence.std() == pytest.approx(299 * np.std(left), rel=0.05)


def test_what_has_no_value_says_why() -> None:
    flat, label = np.ones(5), np.arange(5.0)
    for measure in (pearson, spearman):
        with pytest.raises(Undefined, match="no correlation"):
            measure(label, flat)
    with pytest.raises(Undefined, match="no variance"):
        r2(flat, label)
    assert rmse(label, label).value == 0 and not rmse(label, label).influence.any()
