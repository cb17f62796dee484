"""From a model's scores to probabilities."""

from __future__ import annotations

import numpy as np

from kit.spec.checking import Undefined


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns log-probabilities [n, classes] of scores, in float64."""
    from scipy import special

    return np.asarray(special.log_softmax(logits.astype(np.float64), axis=1))


def log_sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns log-probabilities [n, labels, 2] of a label being absent and there, in float64."""
    scores = logits.astype(np.float64)
    return -np.logaddexp(0, np.stack([scores, -scores], axis=-1))


def _rated(logits: np.ndarray, rated: bool) -> np.ndarray:
    if not rated:
        raise Undefined("its scores are no probabilities")
    return logits


CLASSES = {
    "log_probabilities": lambda logits, rated=True: log_softmax(_rated(logits, rated)),
    "probabilities": lambda logits, rated=True: np.exp(log_softmax(_rated(logits, rated))),
}
"""[n, classes], of scores that are such (`rated` in the artifact's `info`)."""
LABELS = {
    "log_probabilities": lambda logits, rated=True: log_sigmoid(_rated(logits, rated)),
    "probabilities": lambda logits, rated=True: np.exp(log_sigmoid(_rated(logits, rated))[..., 1]),
}
"""[n, labels, 2], absent and there; and [n, labels], there."""
