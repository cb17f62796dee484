"""Does a model know how sure it may be? Gaps between confidence and accuracy, in bins."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kit.analysis.metrics.classification import one_hot, squared_errors
from kit.analysis.statistics.clusters import Array, Clusters
from kit.analysis.statistics.intervals import wilson
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax
from kit.spec.register_measures import register_metric

if TYPE_CHECKING:
    import pandas as pd

BINS = 15
BIASED = "no interval: the estimate is biased upward at small n, and a bootstrap of it more so"

calibration_error = partial(
    register_metric,
    artifact="classification",
    higher_is_better=False,
    unit="share",
    no_interval=BIASED,
)
"""Registers a distance between confidence and accuracy."""


def equal_width(values: Array) -> Array:
    """Returns the bin 0..14 of values in 0..1: bins are (a, b], the first with 0."""
    return np.asarray(np.clip(np.ceil(values * BINS).astype(int) - 1, 0, BINS - 1))


def equal_mass(values: Array) -> Array:
    """Returns the bin 0..14 of values, between quantiles; what is equal shares a bin."""
    edges = np.quantile(values, np.arange(1, BINS) / BINS)
    return np.asarray(np.searchsorted(edges, values))


def _confidence(probabilities: Array, label: Array) -> tuple[Array, Array]:
    """Returns the largest probability [n], and whether it is the label's [n]."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == label


def gap(bins: Array, said: Array, true: Array) -> float:
    """Returns the mean over items of the gap between what is said and what is true in their bin."""
    return float(np.abs(np.bincount(bins, true - said, minlength=BINS)).sum() / len(said))


@calibration_error()
def ece(probabilities: Array, label: Array) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 bins of equal width.

    Bins are (a, b], the first with 0; Guo et al. 2017.
    """
    confidence, right = _confidence(probabilities, label)
    return gap(equal_width(confidence), confidence, right)


@calibration_error()
def ece_equal_mass(probabilities: Array, label: Array) -> float:
    """Expected calibration error over 15 bins of equally many items (Nixon et al. 2019)."""
    confidence, right = _confidence(probabilities, label)
    return gap(equal_mass(confidence), confidence, right)


@calibration_error()
def classwise_ece(probabilities: Array, label: Array) -> float:
    """Mean over the classes of the gap between their probability and share (Kull et al. 2019)."""
    there = one_hot(label, probabilities.shape[1])
    pairs = zip(probabilities.T, there.T, strict=True)
    return float(np.mean([gap(equal_width(said), said, true) for said, true in pairs]))


@calibration_error(
    no_interval="no interval: near zero the spread of a debiased square follows no normal law"
)
def rms_calibration_error(probabilities: Array, label: Array) -> float:
    """Root mean square gap of confidence and accuracy, less what chance alone adds to it.

    Over 15 bins of equal mass the squared gap is too large by the variance of the accuracy,
    a (1 - a) / (n - 1), which is taken off; below zero counts as zero (Kumar, Liang and Ma,
    "Verified uncertainty calibration", 2019). Bins of one item cannot be mended and are left out.

    Raises:
        Undefined: no bin has two items.
    """
    confidence, right = _confidence(probabilities, label)
    bins = equal_mass(confidence)
    sizes = np.bincount(bins, minlength=BINS)
    kept = sizes > 1
    if not kept.any():
        raise Undefined("no two items have a confidence alike: nothing to average")
    hits, said = np.bincount(bins, right, BINS)[kept], np.bincount(bins, confidence, BINS)[kept]
    n = sizes[kept]
    accuracy = hits / n
    squared = (said / n - accuracy) ** 2 - accuracy * (1 - accuracy) / (n - 1)
    return float(np.sqrt(max(n @ squared / n.sum(), 0.0)))


@register_metric(
    artifact="classification",
    higher_is_better=None,
    unit="score",
    no_interval=BIASED,
)
def brier_parts(probabilities: Array, label: Array) -> dict[str, float]:
    """The Brier score as reliability - resolution + uncertainty (Murphy 1973), and what is left.

    Over 15 bins of equal width for each class: `reliability` is the squared gap of probability and
    share within bins (0 is calibrated), `resolution` how far the bins' shares lie from the class's
    own (higher tells more apart), `uncertainty` the score of always saying the class's share, and
    `within_bins` what the bins hide, so that the four add up to `brier`.
    """
    classes = probabilities.shape[1]
    there = one_hot(label, classes)
    each = []
    for said, true in zip(probabilities.T, there.T, strict=True):
        bins, share = equal_width(said), true.mean()
        n = np.bincount(bins, minlength=BINS)
        mean, hits = (np.bincount(bins, side, BINS) / np.maximum(n, 1) for side in (said, true))
        apart = n @ (mean - hits) ** 2, n @ (hits - share) ** 2
        each.append((*np.divide(apart, len(said)), share * (1 - share)))
    sums = np.sum(each, axis=0) / (2 if classes == 2 else 1)
    names = ("reliability", "resolution", "uncertainty")
    parts = dict(zip(names, map(float, sums), strict=True))
    explained = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    total = float(squared_errors(probabilities, label).sum(axis=1).mean())
    parts["within_bins"] = total - explained
    return {f"part={name}": value for name, value in parts.items()}


def reliability(logits: Array, label: Array, *, mass: bool = False) -> pd.DataFrame:
    """Returns what a reliability diagram shows: accuracy by confidence.

    Args:
        logits: scores [n, classes].
        label: [n].
        mass: bins of equally many items, not of equal width.

    Returns:
        Columns confidence (mean of the bin), accuracy, n, ci_low, ci_high (Wilson's 95% interval
        of the accuracy, items independent); a row for each bin that has items.
    """
    import pandas as pd

    confidence, right = _confidence(np.exp(log_softmax(logits)), label)
    bins = (equal_mass if mass else equal_width)(confidence)
    rows = []
    for place in np.unique(bins):
        hits = right[bins == place]
        ends = wilson(hits, Clusters.alone(len(hits)))
        said = confidence[bins == place].mean()
        rows.append((said, hits.mean(), len(hits), ends.low, ends.high))
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "n", "ci_low", "ci_high"])
