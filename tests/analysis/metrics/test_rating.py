"""A score against a rating: scikit-learn and scipy have the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from kit.analysis.metrics import rating
from kit.analysis.metrics.regression import spearman
from kit.spec.checking import Undefined


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 2)).astype(np.float32)
    return logits, (logits[:, 1] - logits[:, 0] + rng.normal(size=n)).round(1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(8, 60))
def test_errors_are_those_of_scikit_learn(seed: int, n: int) -> None:
    logits, valence = drawn(seed, n)
    score = logits[:, 1].astype(float) - logits[:, 0]
    slope, height = fitted = rating.fit_line(*drawn(seed + 1, 50))
    said = slope * score + height
    assert rating.rating_mae(logits, valence, fitted).mean() == pytest.approx(
        mean_absolute_error(valence, said)
    )
    rmse = rating.rating_rmse(logits, valence, fitted)
    assert rmse.value == pytest.approx(root_mean_squared_error(valence, said))
    r2 = rating.rating_r2(logits, valence, fitted)
    assert r2.value == pytest.approx(r2_score(valence, said))
    assert spearman(np.zeros(1), logits=logits, valence=valence).value == pytest.approx(
        spearmanr(score, valence).statistic
    )
    for found in (rmse, r2):
        assert found.influence.mean() == pytest.approx(0, abs=1e-9)


def test_the_line_is_that_of_least_squares() -> None:
    logits, valence = drawn(0, 80)
    known = linregress(logits[:, 1].astype(float) - logits[:, 0], valence)
    assert rating.fit_line(logits, valence) == pytest.approx((known.slope, known.intercept))


@pytest.mark.parametrize("measure", [rating.rating_rmse, rating.rating_r2])
def test_influence_is_what_the_jackknife_sees(measure: object) -> None:
    logits, valence = drawn(3, 200)
    found = measure(logits, valence, (1.0, 0.2))  # type: ignore[operator]
    others = [np.delete(np.arange(200), item) for item in range(200)]
    left = [measure(logits[i], valence[i], (1.0, 0.2)).value for i in others]  # type: ignore[operator]
    assert found.influence.std() == pytest.approx(199 * np.std(left), rel=0.02)


def test_what_has_no_value_says_why() -> None:
    flat, valence = np.zeros((5, 2)), np.arange(5.0)
    with pytest.raises(Undefined, match="two classes; there are 3"):
        spearman(np.zeros(5), logits=np.zeros((5, 3)), valence=valence)
    with pytest.raises(Undefined, match="no correlation"):
        spearman(np.zeros(1), logits=flat, valence=valence)
    with pytest.raises(Undefined, match="no line"):
        rating.fit_line(flat, valence)
    with pytest.raises(Undefined, match="no variance"):
        rating.rating_r2(np.eye(2), np.ones(2), (1.0, 0.0))
    perfect = rating.rating_rmse(np.array([[0.0, 1], [0, 2]]), np.array([1.0, 2]), (1.0, 0.0))
    assert perfect.value == 0 and not perfect.influence.any()
