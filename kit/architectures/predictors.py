"""Models that are no neural network: the null models a table should hold.

A predictor takes raw examples and returns scores, float32 [n, classes]; of a regression its
predictions [n, 1]. It is neither compressed nor trained by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.spec.checking import SpecError
from kit.spec.register_models import register_architecture

if TYPE_CHECKING:
    from datasets import Dataset

Predictor = Callable[[Sequence[Any]], npt.NDArray[np.float32]]


@register_architecture(kind="predictor", version=1, probabilities=True)
def majority(train: Dataset, classes: int | None = None) -> Predictor:
    """Answers everything with the log share of each class in the training split.

    Its accuracy is what knowing nothing but the class balance gives. Each class counts one item
    more than it has (Laplace), so that a class that is absent keeps a finite log probability. Where
    an item has several labels, or none, the log-odds of each; of a number the mean.

    Args:
        train: the training split.
        classes: that the task has; where not given, those that the split has.

    Raises:
        SpecError: the training split is empty.
    """
    if not len(train):
        raise SpecError("majority learns from the split 'train', which is empty")
    labels = np.asarray(train["label"])
    names = getattr(train.features["label"], "num_classes", None)
    if labels.ndim == 2:
        answer = _log_odds(labels)
    elif labels.dtype.kind == "f":
        answer = labels.mean(keepdims=True)
    else:
        answer = _log_shares(labels, classes or names)
    return lambda examples: np.tile(answer.astype(np.float32), (len(examples), 1))


def _log_shares(labels: npt.NDArray[Any], classes: int | None) -> npt.NDArray[np.float64]:
    """Returns the log share of each class among labels [n]."""
    counts = np.bincount(labels, minlength=classes or 0) + 1
    return np.asarray(np.log(counts / counts.sum()))


def _log_odds(labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the log-odds of each label, of which labels [n, classes] says who has it."""
    there = labels.sum(axis=0) + 1
    return np.asarray(np.log(there / (len(labels) + 2 - there)))


@register_architecture(kind="predictor", version=1, probabilities=False, modality="text")
def vader() -> Predictor:
    """VADER's lexicon and rules (Hutto and Gilbert 2014): label 0 is negative, 1 positive.

    The scores are the negated and the plain compound score in [-1, 1]; they are no probabilities.
    A text without any word of the lexicon scores 0 on both, and the tie goes to label 0. The
    sentiment task's tweets come from the archive that the lexicon was made and judged on.
    """
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()

    def predict(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        compound = [analyzer.polarity_scores(text)["compound"] for text in texts]
        positive = np.asarray(compound, dtype=np.float32)
        return np.stack([-positive, positive], axis=1)

    return predict
