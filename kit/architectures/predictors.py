"""Classifiers that are no neural network: the null models a table should hold.

A predictor takes raw examples and returns scores, float32 [n, classes]. It is neither compressed
nor trained by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.registry import register_architecture
from kit.spec import SpecError

if TYPE_CHECKING:
    from datasets import Dataset

Predictor = Callable[[Sequence[Any]], npt.NDArray[np.float32]]


@register_architecture(kind="predictor", version=1, probabilities=True)
def majority(train: Dataset) -> Predictor:
    """Answers everything with the log share of each class in the training split.

    Its accuracy is what knowing nothing but the class balance gives. Each class counts one item
    more than it has (Laplace), so that a class that is absent keeps a finite log probability.

    Raises:
        SpecError: the labels are no classes.
    """
    labels = np.asarray(train["label"])
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise SpecError("majority counts classes; the labels of this task are none")
    labels = labels.astype(np.int64)
    names = getattr(train.features["label"], "num_classes", None)
    classes = names or int(labels.max(initial=0)) + 1
    counts = np.bincount(labels, minlength=classes) + 1
    prior = np.log(counts / counts.sum()).astype(np.float32)
    return lambda examples: np.tile(prior, (len(examples), 1))


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
