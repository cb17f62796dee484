"""Temperature and vector scaling find the least loss, and say where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from kit.analysis.metrics import scaling
from kit.analysis.metrics.calibration import ece
from kit.analysis.metrics.classification import nll
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax


def drawn(seed: int, n: int, classes: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too sure by a factor, and labels that follow the cooler ones."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, classes))
    label = (scores + rng.gumbel(size=(n, classes))).argmax(axis=1)
    return temperature * scores, label


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.3, 8.0))
def test_temperature_has_the_least_loss(seed: int, classes: int, true: float) -> None:
    logits, label = drawn(seed, 300, classes, true)
    found = scaling.fit_temperature(logits, label)

    def loss(heat: float) -> float:
        return float(nll(log_softmax(logits / np.exp(heat)), label).mean())

    best = minimize_scalar(loss, bounds=(-4, 5), method="bounded")
    assert nll(log_softmax(logits / found), label).mean() <= best.fun + 1e-9
    assert found == pytest.approx(true, rel=0.6)


def test_vector_scaling_has_the_least_loss() -> None:
    logits, label = drawn(1, 400, 3, 2.0)
    logits = logits * [1.0, 2.0, 0.5] + [0.5, 0.0, -1.0]
    fitted = scaling.fit_vector(logits, label)
    found = scaling.nll_vector(logits, label, fitted).mean()
    assert (
        found
        < scaling.nll_temperature(logits, label, scaling.fit_temperature(logits, label)).mean()
    )
    rng = np.random.default_rng(0)
    for step in 0.02 * rng.normal(size=(50, 2, 3)):
        moved = fitted[0] + step[0], fitted[1] + step[1]
        assert scaling.nll_vector(logits, label, moved).mean() >= found - 1e-9


def test_of_two_classes_and_one_score_it_is_logistic_regression() -> None:
    logits, label = drawn(2, 500, 2, 3.0)
    logits[:, 0] = 0
    factor, shift = scaling.fit_vector(logits, label)
    known = LogisticRegression(C=np.inf, tol=1e-9).fit(logits[:, 1:], label)
    assert factor[1] == pytest.approx(known.coef_[0, 0], rel=1e-3)
    assert shift[1] - shift[0] == pytest.approx(known.intercept_[0], abs=1e-3)


def test_what_was_too_sure_is_mended_on_other_items() -> None:
    validation, test = drawn(3, 2000, 3, 4.0), drawn(4, 2000, 3, 4.0)
    fitted, before = (
        scaling.fit_temperature(*validation),
        ece(np.exp(log_softmax(test[0])), test[1]),
    )
    assert scaling.ece_temperature(*test, fitted) < 0.3 * before
    assert scaling.ece_vector(*test, scaling.fit_vector(*validation)) < 0.3 * before


def test_where_nothing_is_best_it_says_so() -> None:
    label = np.arange(12) % 3
    perfect = 3.0 * np.eye(3)[label]
    with pytest.raises(Undefined, match="every label has the largest"):
        scaling.fit_temperature(perfect, label)
    with pytest.raises(Undefined, match="say nothing of the labels"):
        scaling.fit_temperature(-perfect, label)
    with pytest.raises(Undefined, match="say nothing of the labels|every label"):
        scaling.fit_temperature(np.zeros((12, 3)), label)
    with pytest.raises(Undefined, match="no best fit"):
        scaling.fit_vector(perfect, label)
    with pytest.raises(Undefined, match="class 2 has no item"):
        scaling.fit_vector(perfect, np.minimum(label, 1))
