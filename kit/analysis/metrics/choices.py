"""Which of the answers on offer a language model finds likeliest, and how sure it is.

Names and rules are lm-evaluation-harness's where it has the metric. An item is right where the
likeliest of its answers is one that counts as right; of answers that are equally likely the first
counts, as there.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from kit.analysis.metrics.calibration import BIASED, equal_width, gap
from kit.analysis.statistics.clusters import Array
from kit.spec.register_measures import register_metric

choice_metric = partial(register_metric, artifact="choices")
right = partial(choice_metric, higher_is_better=True, unit="share")


def offered(scores: Array, choices: Array) -> Array:
    """Returns scores [n, most] with those beyond an item's number of answers at minus infinity."""
    return np.where(np.arange(scores.shape[1]) < choices[:, None], scores, -np.inf)


def _right(scores: Array, choices: Array, label: Array) -> Array:
    """Returns whether the answer of the highest score counts as right, [n]."""
    picked = offered(scores, choices).argmax(axis=1)
    return np.asarray(label[np.arange(len(label)), picked] == 1)


@right()
def acc(loglikelihood: Array, choices: Array, label: Array) -> Array:
    """Share of items whose likeliest answer is right."""
    return _right(loglikelihood, choices, label)


@right()
def acc_norm(
    loglikelihood: Array,
    choices: Array,
    label: Array,
    bytes: Array,  # noqa: A002 (the column's name)
) -> Array:
    """Share of items whose answer that is likeliest a byte is right: long answers are no worse."""
    return _right(loglikelihood / np.maximum(bytes, 1), choices, label)


@right()
def acc_mutual_info(
    loglikelihood: Array, choices: Array, label: Array, unconditional: Array
) -> Array:
    """Share of items right by how much the question adds to an answer's log-likelihood."""
    return _right(loglikelihood - unconditional, choices, label)


@choice_metric(higher_is_better=True, unit="nats")
def choice_margin(loglikelihood: Array, choices: Array, label: Array) -> Array:
    """How much likelier the best right answer is than the best wrong one, in nats an item.

    Accuracy stays where a margin shrinks and does not change its sign: it moves first.
    """
    scores, there = offered(loglikelihood, choices), label == 1
    best = np.where(there, scores, -np.inf).max(axis=1)
    return np.asarray(best - np.where(there, -np.inf, scores).max(axis=1))


@choice_metric(higher_is_better=False, unit="score")
def choice_brier(choice_probabilities: Array, label: Array) -> Array:
    """Squared distance of the answers' probabilities, which add up to 1, from what is right.

    Of several right answers it does not matter which is said (Brier 1950, over the answers).
    """
    there = label == 1
    sure = np.where(there, choice_probabilities, 0.0).sum(axis=1)
    wrong = np.where(there, 0.0, choice_probabilities)
    return np.asarray((1 - sure) ** 2 + (wrong**2).sum(axis=1))


@choice_metric(higher_is_better=False, unit="share", no_interval=BIASED)
def choice_ece(choice_probabilities: Array, label: Array) -> float:
    """Expected calibration error of the likeliest answer's probability, over 15 bins."""
    confidence, picked = choice_probabilities.max(axis=1), choice_probabilities.argmax(axis=1)
    hit = label[np.arange(len(label)), picked] == 1
    return gap(equal_width(confidence), confidence, hit)


@choice_metric(higher_is_better=None, unit="share", no_interval="of the items alone: no interval")
def chance(choices: Array, label: Array) -> float:
    """Share that guessing gets right: the mean of an item's right answers by all of them."""
    return float((label.sum(axis=1) / choices).mean())


@choice_metric(
    higher_is_better=None, unit="share", no_interval="of the place said most often: no interval"
)
def favourite_place(loglikelihood: Array, choices: Array) -> float:
    """Share of items at which the answer at the place that is said most often is said.

    One near 1 is a model that says a place, such as A, whatever is asked: then it knows nothing
    here, and a version that says the same place loses nothing.
    """
    picked = offered(loglikelihood, choices).argmax(axis=1)
    return float(np.bincount(picked).max() / len(picked))


@choice_metric(higher_is_better=None, unit="share")
def stereotype_likelier(loglikelihood: Array, choices: Array, label: Array) -> Array:
    """Share of pairs of which the model finds the stereotype likelier; 1/2 favours neither.

    Of tasks whose pairs mark the stereotype as `label` (Nangia et al. 2020, Nadeem et al. 2021).
    """
    return _right(loglikelihood, choices, label)


@choice_metric(higher_is_better=None, unit="share")
def greedy_match(greedy: Array, choices: Array, label: Array) -> Array:
    """Share of items of which the model, left to itself, would have said a right answer."""
    there = np.arange(greedy.shape[1]) < choices[:, None]
    return np.asarray((greedy & there & (label == 1)).any(axis=1))
