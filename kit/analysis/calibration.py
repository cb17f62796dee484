"""Does a model know how sure it may be?"""

from __future__ import annotations

import numpy as np

from kit.analysis.intervals import Array
from kit.analysis.metrics import log_softmax
from kit.registry import register_metric


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="share",
    interval=None,
    version=1,
    needs_probabilities=True,
    note="no interval: the estimate is biased upward at small n, and a bootstrap of it more so",
)
def ece(logits: Array, label: Array) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 bins of equal width.

    Bins are (a, b], the first with 0; Guo et al. 2017.
    """
    probabilities = np.exp(log_softmax(logits))
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == label
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    return float(np.abs(np.bincount(bins, right - confidence, minlength=15)).sum() / len(label))
