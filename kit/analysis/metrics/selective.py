"""When a model may abstain, or answer with a set: what its confidence is good for."""

from __future__ import annotations

import math

import numpy as np

from kit.analysis.metrics.classification import nll
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

COVERAGE = 0.9
"""Share of items whose label a conformal set is to hold."""


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="share",
)
def aurc(log_probabilities: Array, label: Array) -> Influence:
    """Area under the risk-coverage curve: mean share of errors among the k surest items, all k.

    Geifman and El-Yaniv 2017. Equally sure items stand in every order at once, so that each counts
    with their mean error. The influence is the derivative by each item's weight. Confidence is the
    largest log-probability: it tells apart what rounds to a probability of one.
    """
    n, wrong = len(label), log_probabilities.argmax(axis=1) != label
    confidence = log_probabilities.max(axis=1)
    _, at, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(at, wrong)
    spread = (errors / sizes)[::-1].repeat(sizes[::-1])
    value = float((np.cumsum(spread) / np.arange(1, n + 1)).mean())
    kept = np.cumsum(sizes[::-1])[::-1]
    risk = np.cumsum(errors[::-1])[::-1] / kept
    # an item is among those kept at its own level and at every lower one
    alone, shared = np.cumsum(sizes / kept), np.cumsum(sizes * risk / kept)
    influence = risk[at] + wrong * alone[at] - shared[at]
    return Influence(value, influence - influence.mean(), (0, 1))


def fit_conformal(log_probabilities: Array, label: Array) -> float:
    """Returns the threshold on 1 - probability below which a label is in the set.

    Split conformal sets by the least ambiguous classifier (Sadinle, Lei and Wasserman 2019): the
    quantile at (n + 1) 0.9 of the validation split, which covers 90% of items drawn alike.

    Args:
        log_probabilities: of the validation split [n, classes].
        label: [n].

    Raises:
        Undefined: too few items.
    """
    scores = 1 - np.exp(-nll(log_probabilities, label))
    rank = math.ceil((len(scores) + 1) * COVERAGE - 1e-9)
    if rank > len(scores):
        needed = math.ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
        raise Undefined(f"sets that cover 90% need {needed} validation items, not {len(scores)}")
    return float(np.partition(scores, rank - 1)[rank - 1])


def conformal_sets(log_probabilities: Array, threshold: float) -> Array:
    """Returns which classes are in each item's set [n, classes]; a set may be empty."""
    return np.asarray(1 - np.exp(log_probabilities) <= threshold)


@register_metric(
    artifact="classification",
    higher_is_better=None,
    unit="share",
    fit=fit_conformal,
)
def conformal_coverage(log_probabilities: Array, label: Array, fitted: float) -> Array:
    """Share of items whose conformal set holds the label; 0.9 is promised in distribution alone."""
    return np.asarray(conformal_sets(log_probabilities, fitted)[np.arange(len(label)), label])


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="labels",
    fit=fit_conformal,
)
def conformal_size(log_probabilities: Array, fitted: float) -> Array:
    """Mean number of labels in a conformal set: what the promised coverage costs."""
    return np.asarray(conformal_sets(log_probabilities, fitted).sum(axis=1).astype(np.float64))
