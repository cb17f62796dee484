"""Quality of predictions. Parameters are named as the columns of the artifact they read.

A metric returns one value, one value an item (their mean is the value), or a `Ratio` of sums.
"""

from __future__ import annotations

import math

import numpy as np

from kit.analysis.intervals import Array, Ratio
from kit.registry import register_metric


def log_softmax(logits: Array) -> Array:
    """Returns log-probabilities [n, classes] of scores, in float64."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


@register_metric(
    artifact="classification",
    higher_is_better=True,
    unit="share",
    interval="wilson",
    version=1,
    by_group=True,
    flips=True,
)
def accuracy(logits: Array, label: Array) -> Array:
    """Share of items whose largest score is at the label."""
    return np.asarray(logits.argmax(axis=1) == label)


@register_metric(artifact="classification", higher_is_better=True, unit="share", version=1)
def balanced_accuracy(logits: Array, label: Array) -> Ratio:
    """Mean over the classes of the share of their items found: no class outweighs another."""
    of_class = label[:, None] == np.arange(logits.shape[1])
    return Ratio(of_class & (logits.argmax(axis=1) == label)[:, None], of_class)


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="nats",
    version=1,
    needs_probabilities=True,
)
def nll(logits: Array, label: Array) -> Array:
    """Negative log-likelihood of the label: punishes a wrong answer by how sure it was."""
    return np.asarray(-np.take_along_axis(log_softmax(logits), label[:, None], axis=1)[:, 0])


@register_metric(artifact="tokens", higher_is_better=False, unit="bits/byte", version=1)
def bits_per_byte(nll: Array, bytes: Array) -> Ratio:  # noqa: A002 (named as the column)
    """Bits needed for a byte of text: comparable between tokenizers, as perplexity is not."""
    return Ratio(nll / math.log(2), bytes)
