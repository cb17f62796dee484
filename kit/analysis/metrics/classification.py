"""Quality of predictions. Parameters are named as the columns of the artifact they read.

A metric returns one value, one value an item (their mean is the value), a `Ratio` of sums, or an
`Influence`: a value of the whole sample with what each item adds to it.
"""

from __future__ import annotations

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.ranking import auroc as area_under_roc
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax
from kit.spec.register_measures import register_metric

TOP = 5
"""Guesses that `top_k_accuracy` allows."""


def one_hot(label: Array, classes: int) -> Array:
    """Returns which class is each item's [n, classes]."""
    return np.asarray(label[:, None] == np.arange(classes))


@register_metric(
    artifact="classification",
    higher_is_better=True,
    unit="share",
)
def accuracy(logits: Array, label: Array) -> Array:
    """Share of items whose largest score is at the label."""
    return np.asarray(logits.argmax(axis=1) == label)


@register_metric(artifact="classification", higher_is_better=True, unit="share")
def balanced_accuracy(logits: Array, label: Array) -> Ratio:
    """Mean over the classes of the share of their items found: no class outweighs another."""
    of_class = one_hot(label, logits.shape[1])
    return Ratio(of_class & (logits.argmax(axis=1) == label)[:, None], of_class)


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="nats",
)
def nll(log_probabilities: Array, label: Array) -> Array:
    """Negative log-likelihood of the label: punishes a wrong answer by how sure it was."""
    return np.asarray(-np.take_along_axis(log_probabilities, label[:, None], axis=1)[:, 0])


@register_metric(
    artifact="classification",
    higher_is_better=True,
    unit="share",
)
def top_k_accuracy(logits: Array, label: Array) -> Array:
    """Share of items whose label is among the five largest scores.

    Of equal scores the later class counts as larger, as in scikit-learn.

    Raises:
        Undefined: there are no more than five classes.
    """
    n, classes = logits.shape
    if classes <= TOP:
        raise Undefined(f"the label is always among the {TOP} largest of {classes} scores")
    own = logits[np.arange(n), label][:, None]
    larger = (logits > own) | ((logits == own) & (np.arange(classes) > label[:, None]))
    return np.asarray(larger.sum(axis=1) < TOP)


def decided(logits: Array, label: Array) -> tuple[Array, Array]:
    """Returns which classes each item was given, and which it has, [n, classes] both.

    Of a label an item [n] the class of the largest score is given; of several [n, classes] each
    class whose probability, by the sigmoid of its score, is above one half.
    """
    if label.ndim == 2:
        return logits > 0, label == 1
    classes = logits.shape[1]
    return one_hot(logits.argmax(axis=1), classes), one_hot(label, classes)


@register_metric(
    artifact=("classification", "multi_label"), higher_is_better=True, unit="share", version=1
)
def macro_f1(logits: Array, label: Array) -> Ratio:
    """Mean over the classes of the harmonic mean of precision and recall.

    Over the classes that some item has: one that the model knows and the data lack is a wrong
    answer to the items that were given it, and no class to be found.
    """
    said, there = decided(logits, label)
    counted = there.any(axis=0)
    return Ratio(2.0 * (said & there), (said.astype(np.float64) + there) * counted)


@register_metric(artifact="classification", higher_is_better=True, unit="AUROC")
def auroc(logits: Array, label: Array) -> Influence:
    """Chance that an item of a class scores higher for it than an item of another class.

    Of two classes the second is the positive one; of more, the mean over the classes that occur,
    each against the rest by its probability. Its interval is DeLong's.

    Raises:
        Undefined: all items are of one class.
    """
    if logits.shape[1] == 2:
        wide = logits.astype(np.float64)
        return area_under_roc(wide[:, 1] - wide[:, 0], label == 1)
    scores = log_softmax(logits)
    each = [area_under_roc(scores[:, k], label == k) for k in np.unique(label)]
    influence = np.mean([one.influence for one in each], axis=0)
    return Influence(float(np.mean([one.value for one in each])), influence, (0, 1))


def squared_errors(probabilities: Array, label: Array) -> Array:
    """Returns (probability - outcome)^2 for each class [n, classes]; of two classes half of it.

    So that the score of two classes lies in 0..1 and is the squared error of one probability.
    """
    classes = probabilities.shape[1]
    errors = (probabilities - one_hot(label, classes)) ** 2
    return np.asarray(errors / 2 if classes == 2 else errors)


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="score",
    by_columns=True,
)
def brier(probabilities: Array, label: Array) -> Array:
    """Squared error of the probabilities (Brier 1950): 0..1 for two classes, 0..2 for more."""
    return np.asarray(squared_errors(probabilities, label).sum(axis=1))


@register_metric(artifact="classification", higher_is_better=True, unit="share")
def accuracy_retained(
    logits: Array, label: Array, clean_logits: Array, clean_label: Array
) -> Ratio:
    """Accuracy on corrupted items as a share of the accuracy on the same items as they were."""
    after, before = accuracy(logits, label), accuracy(clean_logits, clean_label)
    return Ratio(after.astype(float), before)  # no share: an item may be right after alone
