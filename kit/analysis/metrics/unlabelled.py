"""How accurate is a model where nobody has labels? Estimates from its confidence alone.

What is fitted is fitted on the validation split in distribution, so the estimates hold as far as
confidence keeps its meaning under the shift; `estimated_accuracy_error` says how far that was.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.spec.register_measures import register_metric

NOTE = "no interval: how far confidence keeps its meaning under a shift is not known from scores"


class Known(NamedTuple):
    """What a validation split says of confidence and accuracy.

    Attributes:
        thresholds: score -> above which as many items lie as are right.
        excess: mean confidence less accuracy.
    """

    thresholds: Mapping[str, float]
    excess: float


def scores(log_probabilities: Array) -> dict[str, Array]:
    """Returns how sure a model is of each item, two ways: `confidence` and negative `entropy`."""
    probabilities = np.exp(log_probabilities)
    return {
        "confidence": probabilities.max(axis=1),
        "entropy": np.where(probabilities > 0, probabilities * log_probabilities, 0.0).sum(axis=1),
    }


def known(log_probabilities: Array, label: Array) -> Known:
    """Fits both estimates on labelled items.

    Args:
        log_probabilities: [n, classes].
        label: [n].
    """
    right = log_probabilities.argmax(axis=1) == label
    found = scores(log_probabilities)
    wrong = int((~right).sum())
    thresholds = {name: _threshold(values, wrong) for name, values in found.items()}
    return Known(thresholds, float((found["confidence"] - right).mean()))


def _threshold(values: Array, below: int) -> float:
    """Returns a threshold with `below` values under it, or as near as equal values allow."""
    if below == len(values):
        return np.inf
    ordered = np.sort(values)
    at = ordered[below]
    least, most = np.searchsorted(ordered, at), np.searchsorted(ordered, at, side="right")
    return float(np.nextafter(at, np.inf) if most - below < below - least else at)


_estimate = partial(
    register_metric,
    artifact="classification",
    higher_is_better=None,
    unit="share",
    fit=known,
    no_interval=NOTE,
)


@_estimate()
def estimated_accuracy(log_probabilities: Array, fitted: Known) -> dict[str, float]:
    """Accuracy as estimated without labels.

    `atc_confidence` and `atc_entropy` are the average threshold confidence, the share of items
    above the threshold (Garg et al., ICLR 2022); `doc`, the difference of confidences, is the mean
    confidence less its excess in distribution (Guillory et al., ICCV 2021).
    """
    found = scores(log_probabilities)
    made = {
        f"method=atc_{name}": float((found[name] >= threshold).mean())
        for name, threshold in fitted.thresholds.items()
    }
    return {**made, "method=doc": float(found["confidence"].mean() - fitted.excess)}


@_estimate()
def estimated_accuracy_error(
    log_probabilities: Array, label: Array, fitted: Known
) -> dict[str, float]:
    """By how much the accuracy estimated without labels is too high (below 0: too low)."""
    true = float((log_probabilities.argmax(axis=1) == label).mean())
    return {
        name: value - true for name, value in estimated_accuracy(log_probabilities, fitted).items()
    }
