"""Accuracy without labels: against loops, and where it must be right and wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kit.analysis.metrics.unlabelled import (
    estimated_accuracy,
    estimated_accuracy_error,
    known,
    scores,
)
from kit.analysis.sample import Related
from kit.analysis.score import score
from kit.spec.probabilities import log_softmax
from kit.spec.spec import Variant

quick = settings(deadline=None, max_examples=40)


def drawn(rng: np.random.Generator, n: int, spread: float = 2.0) -> tuple[Any, Any]:
    """Calibrated scores and labels drawn by them."""
    logits = rng.normal(0, spread, (n, 3))
    chances = special.softmax(logits, axis=1)
    return log_softmax(logits), (chances.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)


@quick
@given(st.integers(0, 10_000))
def test_scores_are_scipy(seed: int) -> None:
    logits = log_softmax(np.random.default_rng(seed).normal(0, 5, (20, 4)))
    found, chances = scores(logits), special.softmax(logits, axis=1)
    assert found["confidence"] == pytest.approx(chances.max(axis=1))
    assert found["entropy"] == pytest.approx(-stats.entropy(chances, axis=1))


@quick
@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_in_distribution_the_estimate_is_the_accuracy(seed: int, n: int, coarse: bool) -> None:
    """On what it was fitted on; with equal scores as near as a threshold can come."""
    rng = np.random.default_rng(seed)
    logits, label = drawn(rng, n)
    if coarse:
        logits = log_softmax(np.round(logits))
    true = (logits.argmax(axis=1) == label).mean()
    found, fitted = estimated_accuracy(logits, known(logits, label)), known(logits, label)
    assert found["method=doc"] == pytest.approx(true)
    for name, values in scores(logits).items():
        reach = [(values >= at).mean() for at in [*np.unique(values), np.inf]]
        best = min(abs(share - true) for share in reach)
        assert abs(found[f"method=atc_{name}"] - true) == pytest.approx(best)
        assert (values >= fitted.thresholds[name]).mean() == found[f"method=atc_{name}"]


def test_a_shift_of_difficulty_alone_is_seen() -> None:
    """The difference follows where confidence keeps its meaning; nothing does where it loses it."""
    rng = np.random.default_rng(0)
    fitted = known(*drawn(rng, 20_000))
    harder = drawn(rng, 20_000, spread=1.0)
    assert abs(estimated_accuracy_error(*harder, fitted)["method=doc"]) < 0.02
    logits, label = drawn(rng, 20_000)
    wrong = np.where(rng.random(20_000) < 0.3, rng.integers(0, 3, 20_000), label)
    assert all(error > 0.05 for error in estimated_accuracy_error(logits, wrong, fitted).values())


def test_all_right_and_all_wrong() -> None:
    logits = log_softmax(np.random.default_rng(1).normal(size=(30, 2)))
    said = logits.argmax(axis=1)
    assert estimated_accuracy(logits, known(logits, said)) == pytest.approx(
        {"method=atc_confidence": 1, "method=atc_entropy": 1, "method=doc": 1}
    )
    assert set(estimated_accuracy(logits, known(logits, 1 - said)).values()) == {0}


def test_rows_where_the_study_has_validation(classified: Any, base: Variant) -> None:
    right = np.arange(80) > 15
    runs = [classified(base, right, split=split) for split in ("validation", "amazon")]
    related = Related(runs, {})
    rows = score(related.sample(runs[1]), ["estimated_accuracy", "estimated_accuracy_error"])
    found = {(row["metric"], row["condition"]): row["value"] for row in rows}
    assert found["estimated_accuracy", "method=doc"] == pytest.approx(64 / 80)
    assert found["estimated_accuracy_error", "method=doc"] == pytest.approx(0)
    assert len(found) == 6 and all("no interval" in row["note"] for row in rows)
    assert score(runs[1], ["estimated_accuracy"]) == []
