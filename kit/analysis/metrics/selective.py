"""When a model may abstain, or answer with a set: what its confidence is good for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.analysis.metrics.classification import log_softmax
from kit.analysis.statistics.intervals import Array, Influence
from kit.registry import register_metric
from kit.values import Undefined

if TYPE_CHECKING:
    import pandas as pd

COVERAGE = 0.9
"""Share of items whose label a conformal set is to hold."""


def _errors(logits: Array, label: Array) -> tuple[Array, Array, Array, Array]:
    """Returns each item's confidence level, ascending, and each level's confidence, n and errors.

    Confidence is the largest log-probability: it tells apart what rounds to a probability of one.
    """
    confidence, at = np.unique(log_softmax(logits).max(axis=1), return_inverse=True)
    wrong = logits.argmax(axis=1) != label
    size = len(confidence)
    return at, confidence, np.bincount(at, minlength=size), np.bincount(at, wrong, size)


def risk_coverage(logits: Array, label: Array) -> pd.DataFrame:
    """Returns the share of errors among the surest items, for each share that can be kept.

    Args:
        logits: scores [n, classes].
        label: [n].

    Returns:
        Columns coverage (share of items kept), risk (share of errors among them) and confidence
        (the least kept); a row for each distinct confidence, the surest first.
    """
    import pandas as pd

    _, confidence, sizes, errors = _errors(logits, label)
    kept = np.cumsum(sizes[::-1])
    columns = {
        "coverage": kept / len(label),
        "risk": np.cumsum(errors[::-1]) / kept,
        "confidence": np.exp(confidence[::-1]),
    }
    return pd.DataFrame(columns)


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="share",
    version=1,
    needs_probabilities=True,
    bounds=(0, 1),
)
def aurc(logits: Array, label: Array) -> Influence:
    """Area under the risk-coverage curve: mean share of errors among the k surest items, all k.

    Geifman and El-Yaniv 2017. Equally sure items stand in every order at once, so that each counts
    with their mean error. The influence is the derivative by each item's weight.
    """
    at, _, sizes, errors = _errors(logits, label)
    n = len(label)
    spread = (errors / sizes)[::-1].repeat(sizes[::-1])
    value = float((np.cumsum(spread) / np.arange(1, n + 1)).mean())
    kept = np.cumsum(sizes[::-1])[::-1]
    risk = np.cumsum(errors[::-1])[::-1] / kept
    # an item is among those kept at its own level and at every lower one
    wrong = logits.argmax(axis=1) != label
    alone, shared = np.cumsum(sizes / kept), np.cumsum(sizes * risk / kept)
    influence = risk[at] + wrong * alone[at] - shared[at]
    return Influence(value, influence - influence.mean())


def fit_conformal(logits: Array, label: Array) -> float:
    """Returns the threshold on 1 - probability below which a label is in the set.

    Split conformal sets by the least ambiguous classifier (Sadinle, Lei and Wasserman 2019): the
    quantile at (n + 1) 0.9 of the validation split, which covers 90% of items drawn alike.

    Args:
        logits: of the validation split [n, classes].
        label: [n].

    Raises:
        Undefined: too few items.
    """
    scores = 1 - np.exp(np.take_along_axis(log_softmax(logits), label[:, None], axis=1)[:, 0])
    rank = math.ceil((len(scores) + 1) * COVERAGE - 1e-9)
    if rank > len(scores):
        needed = math.ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
        raise Undefined(f"sets that cover 90% need {needed} validation items, not {len(scores)}")
    return float(np.partition(scores, rank - 1)[rank - 1])


def conformal_sets(logits: Array, threshold: float) -> Array:
    """Returns which classes are in each item's set [n, classes]; a set may be empty."""
    return np.asarray(1 - np.exp(log_softmax(logits)) <= threshold)


@register_metric(
    artifact="classification",
    higher_is_better=None,
    unit="share",
    interval="wilson",
    version=1,
    graded=True,
    fit=fit_conformal,
    needs_probabilities=True,
)
def conformal_coverage(logits: Array, label: Array, fitted: float) -> Array:
    """Share of items whose conformal set holds the label; 0.9 is promised in distribution alone."""
    return np.asarray(conformal_sets(logits, fitted)[np.arange(len(label)), label])


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="labels",
    version=1,
    fit=fit_conformal,
    needs_probabilities=True,
)
def conformal_size(logits: Array, fitted: float) -> Array:
    """Mean number of labels in a conformal set: what the promised coverage costs."""
    return np.asarray(conformal_sets(logits, fitted).sum(axis=1).astype(np.float64))
