"""Quality of models that give an item any number of labels, each by the sigmoid of its score.

A label is given where its probability is above one half. `macro_f1` is in `classification.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from kit.analysis.metrics.calibration import calibration_error, equal_width, gap
from kit.analysis.metrics.classification import decided
from kit.analysis.statistics import ranking
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

_of_labels = partial(register_metric, artifact="multi_label")


@_of_labels(higher_is_better=True, unit="share")
def subset_accuracy(logits: Array, label: Array) -> Array:
    """Share of items whose labels are all right: those given and those not."""
    said, there = decided(logits, label)
    return np.asarray((said == there).all(axis=1))


@_of_labels(higher_is_better=False, unit="share")
def hamming_loss(logits: Array, label: Array) -> Array:
    """Share of an item's labels that are wrong: given and not there, or there and not given."""
    said, there = decided(logits, label)
    return np.asarray((said != there).mean(axis=1))


@_of_labels(higher_is_better=True, unit="share")
def micro_f1(logits: Array, label: Array) -> Ratio:
    """Harmonic mean of precision and recall over all labels of all items at once.

    Raises:
        Undefined: no item has a label and none was given.
    """
    said, there = decided(logits, label)
    return Ratio(2.0 * (said & there).sum(axis=1), said.sum(axis=1) + 1.0 * there.sum(axis=1))


def _areas(logits: Array, label: Array) -> Iterator[Influence | Undefined]:
    """Yields each label's area under the ROC curve, or why it has none."""
    for scores, there in zip(logits.T, label.T == 1, strict=True):
        try:
            yield ranking.auroc(scores, there)
        except Undefined as error:
            yield error


@_of_labels(higher_is_better=True, unit="AUROC")
def label_auroc(
    logits: Array, label: Array, labels: Sequence[str]
) -> dict[str, Influence | Undefined]:
    """Chance that an item with a label scores higher for it than one without, by label."""
    each = zip(labels, _areas(logits, label), strict=True)
    return {f"label={re.sub('[;=]', '_', name)}": area for name, area in each}


@_of_labels(higher_is_better=True, unit="AUROC")
def macro_auroc(logits: Array, label: Array) -> Influence:
    """Mean over the labels of the chance that an item with the label scores above one without.

    Labels that all items have, or none, are left out.

    Raises:
        Undefined: all labels are so.
    """
    each = [area for area in _areas(logits, label) if isinstance(area, Influence)]
    if not each:
        raise Undefined("every item has the same labels: nothing to tell apart")
    influence = np.mean([area.influence for area in each], axis=0)
    return Influence(float(np.mean([area.value for area in each])), influence, (0, 1))


@_of_labels(higher_is_better=False, unit="nats")
def label_nll(log_probabilities: Array, label: Array) -> Array:
    """Binary cross-entropy: negative log-likelihood of a label being there or not, mean over them.

    As torch's `BCEWithLogitsLoss`.
    """
    own = np.take_along_axis(log_probabilities, label[..., None].astype(np.int64), axis=-1)
    return np.asarray(-own[..., 0].mean(axis=1))


@_of_labels(higher_is_better=False, unit="score")
def label_brier(probabilities: Array, label: Array) -> Array:
    """Squared error of the probabilities (Brier 1950), mean over the labels: 0..1."""
    return np.asarray(((probabilities - label) ** 2).mean(axis=1))


@calibration_error(artifact="multi_label")
def label_ece(probabilities: Array, label: Array) -> float:
    """Expected calibration error of all labels at once: mean gap of probability and share there.

    Over 15 bins of equal width of the probability that the label is there; each label of each item
    counts once.
    """
    said, there = probabilities.ravel(), (label == 1).ravel()
    return gap(equal_width(said), said, there)
