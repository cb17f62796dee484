"""What a model said of each item, in words, and whether it was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np

from kit.analysis.metrics.classification import decided
from kit.analysis.metrics.generations import exact_match
from kit.analysis.statistics.clusters import Array
from kit.spec.checking import SpecError
from kit.spec.probabilities import log_softmax
from kit.spec.registry import artifacts
from kit.store.store import Artifact


class Answers(NamedTuple):
    """A model's answers.

    Attributes:
        said: the label given, or the labels, joined; of answers on offer the text [n], or its
            letter where texts are not known.
        label: the item's own [n].
        right: whether they are the same [n].
        confidence: the model's probability of what it said [n].
    """

    said: Array
    label: Array
    right: Array
    confidence: Array


Names = Sequence[str] | Mapping[str, Sequence[str]]
"""Of a task's labels; of questions item id -> the answers on offer."""


def answers(artifact: Artifact, labels: Names) -> Answers:
    """Returns what a run's model said.

    Args:
        artifact: predictions, of one label an item or of several.
        labels: names of the task's labels; the run may know of more.

    Raises:
        SpecError: it has no labels, as a regression.
    """
    if artifact.kind == "generations":
        return _written(artifact.columns)
    if artifact.kind == "choices":
        return _picked(artifact.columns, labels if isinstance(labels, Mapping) else {})
    if not {"logits", "label"} <= artifact.columns.keys():
        raise SpecError(
            f"{artifact.run.variant.name} gives no labels but {artifact.kind}: "
            "no answer is right or wrong"
        )
    logits, label = (np.asarray(artifact.columns[name]) for name in ("logits", "label"))
    assert not isinstance(labels, Mapping)
    names = np.asarray(artifact.info.get("labels", labels))
    said, there = decided(logits, label)
    right = (said == there).all(axis=1)
    if label.ndim == 1:
        chosen = logits.argmax(axis=1)
        sure = np.exp(log_softmax(logits))[np.arange(len(chosen)), chosen]
        return Answers(names[chosen], names[label], right, sure)
    sure = np.exp(-np.logaddexp(0, -np.abs(logits.astype(np.float64))).sum(axis=1))
    return Answers(_joined(said, names), _joined(there, names), right, sure)


def _written(columns: Mapping[str, Array]) -> Answers:
    """Returns what a model wrote, right where it is one of the right answers, normalized."""
    wanted = np.array([" / ".join(each for each in row if each) for row in columns["answers"]])
    right = exact_match(columns["text"], columns["answers"])
    return Answers(columns["text"], wanted, right, np.full(len(right), np.nan))


def _picked(columns: Mapping[str, Array], offers: Mapping[str, Sequence[str]]) -> Answers:
    """Returns which of the answers on offer a model found likeliest."""
    count, label = columns["choices"], columns["label"] == 1
    derive = artifacts.get("choices").traits["derived"]["choice_probabilities"]
    said = derive(columns["loglikelihood"], count)
    rows, chosen = np.arange(len(said)), said.argmax(axis=1)
    letters = [*ascii_uppercase, *map(str, range(len(ascii_uppercase), label.shape[1]))]
    names = [[*offers.get(item, letters)] for item in columns["item"].tolist()]
    picked = np.array([each[place] for each, place in zip(names, chosen, strict=True)])
    wanted = np.array([
        ", ".join(name for name, there in zip(each, row, strict=False) if there)
        for each, row in zip(names, label, strict=True)
    ])  # fmt: skip
    return Answers(picked, wanted, label[rows, chosen], said[rows, chosen])


def _joined(chosen: Array, names: Array) -> Array:
    """Returns the names of the labels that each item has."""
    return np.array([", ".join(names[: len(row)][row]) or "none" for row in chosen])
