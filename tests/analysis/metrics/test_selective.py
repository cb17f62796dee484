"""Risk over coverage against the naive loop; conformal sets keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.analysis.metrics import selective
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 10_000)


def drawn(seed: int, n: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = log_softmax(2 * rng.normal(size=(n, classes)))
    return scores, (scores + rng.gumbel(size=(n, classes))).argmax(axis=1)


@quick
@given(seeds, st.integers(1, 60))
def test_aurc_is_the_naive_loop(seed: int, n: int) -> None:
    logits, label = drawn(seed, n)
    order = np.argsort(-log_softmax(logits).max(1))
    wrong = (logits.argmax(1) != label)[order]
    risks = [wrong[: k + 1].mean() for k in range(n)]
    assert selective.aurc(logits, label).value == pytest.approx(np.mean(risks))


def test_ties_count_as_the_mean_over_their_orders() -> None:
    confidence = np.repeat([2.0, 1.0, 0.5], [3, 4, 3])
    logits, label = (
        log_softmax(np.stack([confidence, np.zeros(10)], 1)),
        np.array([0, 1, 0, 0, 1, 1, 0, 1, 1, 0]),
    )
    rng, values = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.lexsort((rng.random(10), -confidence))
        values.append((np.cumsum(label[order]) / np.arange(1, 11)).mean())
    assert selective.aurc(logits, label).value == pytest.approx(np.mean(values), abs=0.005)


def test_influence_of_aurc_is_what_the_jackknife_sees() -> None:
    logits, label = drawn(7, 300)
    found = selective.aurc(logits, label)
    others = [np.delete(np.arange(300), item) for item in range(300)]
    jackknife = [selective.aurc(logits[i], label[i]).value for i in others]
    seen = 299 * (found.value - np.array(jackknife))
    assert found.influence.std() == pytest.approx(seen.std(), rel=0.02)
    assert np.corrcoef(found.influence, seen)[0, 1] > 0.995


def test_a_model_without_errors_has_no_risk() -> None:
    label = np.arange(20) % 2
    assert selective.aurc(log_softmax(4.0 * np.eye(2)[label]), label).value == 0
    assert selective.aurc(log_softmax(np.zeros((20, 2))), label).value == 0.5


@quick
@given(seeds, st.integers(9, 200))
def test_the_threshold_is_the_order_statistic(seed: int, n: int) -> None:
    logits, label = drawn(seed, n)
    scores = np.sort(1 - np.exp(log_softmax(logits)[np.arange(n), label]))
    rank = int(np.ceil(round((n + 1) * 0.9, 9)))
    assert selective.fit_conformal(logits, label) == pytest.approx(scores[rank - 1])
    # so many of the items it was fitted on are held: the one at the threshold is
    held = selective.conformal_coverage(logits, label, selective.fit_conformal(logits, label))
    assert held.sum() >= rank


@quick
@given(seeds, st.integers(9, 60))
def test_sets_hold_what_they_promise_of_items_drawn_alike(seed: int, n: int) -> None:
    """Of n + 1 items each is as likely to be the one that was not fitted on (Vovk et al. 2005)."""
    logits, label = drawn(seed, n + 1)
    held = 0
    for item in range(n + 1):
        rest = np.arange(n + 1) != item
        threshold = selective.fit_conformal(logits[rest], label[rest])
        held += selective.conformal_coverage(logits[[item]], label[[item]], threshold).sum()
    assert held == np.ceil(round((n + 1) * 0.9, 9))


def test_sets_hold_less_where_labels_follow_nothing() -> None:
    threshold = selective.fit_conformal(*drawn(0, 400))
    logits, label = drawn(1, 400)
    other = np.random.default_rng(2).integers(0, 3, 400)
    assert selective.conformal_coverage(logits, other, threshold).mean() < 0.7
    assert selective.conformal_coverage(logits, label, threshold).mean() > 0.85
    assert 1 < selective.conformal_size(logits, threshold).mean() < 2


def test_too_few_items_cannot_promise() -> None:
    with pytest.raises(Undefined, match="need 9 validation items, not 8"):
        selective.fit_conformal(*drawn(0, 8))
    assert 0 <= selective.fit_conformal(*drawn(0, 9)) <= 1
