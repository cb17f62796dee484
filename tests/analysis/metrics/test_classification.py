"""Metrics against scikit-learn and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from kit.analysis.metrics import timing
from kit.analysis.metrics.classification import (
    accuracy,
    accuracy_retained,
    auroc,
    balanced_accuracy,
    brier,
    macro_f1,
    nll,
    top_k_accuracy,
)
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.intervals import skewed
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax

quick = settings(deadline=None, max_examples=40)


@quick
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 60))
def test_quality_is_scikit_learn(seed: int, classes: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.append(np.arange(classes), rng.integers(0, classes, n))
    logits = rng.normal(size=(len(label), classes)).round(1).astype(np.float32)
    guess = logits.argmax(1)
    assert accuracy(logits, label).mean() == pytest.approx(accuracy_score(label, guess))
    balanced = balanced_accuracy(logits, label)
    assert balanced.value == pytest.approx(balanced_accuracy_score(label, guess))
    assert balanced.pseudo_values().mean() == pytest.approx(balanced.value)
    probabilities = np.exp(log_softmax(logits))
    loss = log_loss(label, probabilities, labels=range(classes))
    assert nll(log_softmax(logits), label).mean() == pytest.approx(loss)
    f1 = f1_score(label, guess, average="macro")
    assert macro_f1(logits, label).value == pytest.approx(f1)
    squares = brier_score_loss(label, probabilities, labels=range(classes))
    assert brier(probabilities, label).mean() == pytest.approx(squares)
    areas = {"y_true": label, "y_score": probabilities, "multi_class": "ovr"}
    if classes == 2:
        areas = {"y_true": label, "y_score": logits[:, 1].astype(float) - logits[:, 0]}
    assert auroc(logits, label).value == pytest.approx(roc_auc_score(**areas))


def test_a_class_without_items_does_not_count() -> None:
    logits = np.array([[2.0, 0, 0], [0, 1, 0], [3, 1, 0]])
    assert balanced_accuracy(logits, np.array([0, 1, 1])).value == pytest.approx(0.75)


@quick
@given(st.integers(0, 10_000), st.integers(6, 12), st.integers(1, 40), st.integers(0, 2))
def test_top_k_is_scikit_learn(seed: int, classes: int, n: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    label, logits = rng.integers(0, classes, n), rng.normal(size=(n, classes)).round(places)
    expected = top_k_accuracy_score(label, logits, k=5, labels=range(classes))
    assert top_k_accuracy(logits, label).mean() == pytest.approx(expected)


def test_what_has_no_value_says_why() -> None:
    logits = np.zeros((4, 2))
    with pytest.raises(Undefined, match="among the 5 largest of 2 scores"):
        top_k_accuracy(logits, np.zeros(4, int))
    with pytest.raises(Undefined, match="every item is negative"):
        auroc(logits, np.zeros(4, int))
    with pytest.raises(Undefined, match="every item is positive"):
        auroc(np.zeros((4, 3)), np.ones(4, int))


def test_perfect_and_constant_predictions() -> None:
    label = np.arange(30) % 3
    perfect, constant = 200.0 * np.eye(3)[label], np.ones((30, 3))
    assert macro_f1(perfect, label).value == auroc(perfect, label).value == 1
    assert brier(softmax(perfect, axis=1), label).mean() == pytest.approx(0)
    assert macro_f1(constant, label).value == pytest.approx(0.5 / 3)
    assert auroc(constant, label).value == 0.5
    assert brier(softmax(constant, axis=1), label).mean() == pytest.approx(2 / 3)


def test_scores_are_never_changed_by_a_constant_or_too_large_to_be_computed() -> None:
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(50, 2)), rng.integers(0, 2, 50)
    for shift in (5.0, -1000.0):
        assert nll(log_softmax(logits + shift), label) == pytest.approx(
            nll(log_softmax(logits), label)
        )
    assert np.isfinite(nll(log_softmax(1e4 * logits), label)).all()


def test_accuracy_retained_is_a_ratio_over_the_same_items() -> None:
    before, after = np.eye(2)[[0, 0, 1, 1, 0]], np.eye(2)[[0, 1, 1, 0, 1]]
    label = np.array([0, 0, 1, 1, 1])
    assert accuracy_retained(after, label, before, label).value == pytest.approx(3 / 4)
    with pytest.raises(Undefined):
        _ = accuracy_retained(after, label, 1 - np.eye(2)[label], label).value


def test_more_may_be_right_after_a_corruption_than_before() -> None:
    label, items = np.zeros(500, int), np.arange(500)
    before, after = (np.eye(2)[(items < lost).astype(int)] for lost in (70, 60))
    ratio = accuracy_retained(after, label, before, label)
    ends = skewed(ratio, Clusters.alone(500))
    assert ends.low < ratio.value < ends.high
    assert ratio.value > 1


def test_percentiles_need_the_samples_of_mlperf() -> None:
    assert (timing.samples_needed(0.9), timing.samples_needed(0.99)) == (64, 662)
