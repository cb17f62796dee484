"""Metrics against scikit-learn and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from kit.analysis import calibration, costs, metrics

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 60))
def test_quality_is_scikit_learn(seed: int, classes: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.append(np.arange(classes), rng.integers(0, classes, n))
    logits = rng.normal(size=(len(label), classes)).round(1).astype(np.float32)
    guess = logits.argmax(1)
    assert metrics.accuracy(logits, label).mean() == pytest.approx(accuracy_score(label, guess))
    balanced = metrics.balanced_accuracy(logits, label)
    assert balanced.value == pytest.approx(balanced_accuracy_score(label, guess))
    assert balanced.pseudo_values().mean() == pytest.approx(balanced.value)
    probabilities = np.exp(metrics.log_softmax(logits))
    loss = log_loss(label, probabilities, labels=range(classes))
    assert metrics.nll(logits, label).mean() == pytest.approx(loss)


def test_a_class_without_items_does_not_count() -> None:
    logits = np.array([[2.0, 0, 0], [0, 1, 0], [3, 1, 0]])
    assert metrics.balanced_accuracy(logits, np.array([0, 1, 1])).value == pytest.approx(0.75)


@quick
@given(st.integers(0, 10_000), st.integers(1, 80))
def test_ece_is_the_naive_loop(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label, logits = rng.integers(0, 3, n), rng.normal(size=(n, 3)) * 3
    probabilities = np.exp(metrics.log_softmax(logits))
    confidence, guess = probabilities.max(1), probabilities.argmax(1)
    gap = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15 + 1e-12)
        if inside.any():
            hits = (guess == label)[inside].mean()
            gap += inside.mean() * abs(hits - confidence[inside].mean())
    assert calibration.ece(logits, label) == pytest.approx(gap)


def test_bits_per_byte_is_a_ratio_of_sums() -> None:
    ratio = metrics.bits_per_byte(np.log([2.0, 16.0]), np.array([1, 9]))
    assert ratio.value == pytest.approx(5 / 10)


def test_percentiles_need_the_samples_of_mlperf() -> None:
    assert (costs.samples_needed(0.9), costs.samples_needed(0.99)) == (64, 662)
