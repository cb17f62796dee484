"""Calibration mended after training, by what is fitted on the validation split alone."""

from __future__ import annotations

import numpy as np

from kit.analysis.metrics.calibration import calibration_error, ece
from kit.analysis.metrics.classification import nll, one_hot
from kit.analysis.statistics.clusters import Array
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax
from kit.spec.register_measures import register_metric

COLDEST, HOTTEST = 1e-3, 1e3


def fit_temperature(log_probabilities: Array, label: Array) -> float:
    """Returns the temperature by which scores are divided, at the least NLL (Guo et al. 2017).

    The NLL is convex in the inverse temperature; its slope, the mean score expected less the
    label's, is zero at the best one.

    Args:
        log_probabilities: of the validation split, or any scores [n, classes]: what is added to all
            scores of an item changes nothing.
        label: [n].

    Raises:
        Undefined: no temperature is best: every label has the largest score, or scores tell
            nothing or the opposite of the labels.
    """
    from scipy.optimize import brentq

    scores = log_probabilities.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    own = float(np.take_along_axis(scores, label[:, None], axis=1).mean())

    def slope(log_temperature: float) -> float:
        weights = np.exp(scores / np.exp(log_temperature))
        return float((scores * weights).sum(axis=1) @ (1 / weights.sum(axis=1))) / len(label) - own

    low, high = np.log(COLDEST), np.log(HOTTEST)
    if slope(low) <= 0:
        raise Undefined("on validation every label has the largest score: no temperature is best")
    if slope(high) >= 0:
        raise Undefined("on validation the scores say nothing of the labels: no temperature helps")
    return float(np.exp(brentq(slope, low, high, xtol=1e-10)))


def fit_vector(logits: Array, label: Array) -> tuple[Array, Array]:
    """Returns a factor and a shift of each class's score, at the least NLL (Guo et al. 2017).

    Args:
        logits: of the validation split [n, classes].
        label: [n].

    Raises:
        Undefined: a class has no item, or there is no best fit.
    """
    from scipy.optimize import minimize

    n, classes = logits.shape
    scores, there = logits.astype(np.float64), one_hot(label, classes)
    if not there.any(axis=0).all():
        absent = int(there.any(axis=0).argmin())
        raise Undefined(f"class {absent} has no item in the validation split: no shift is best")

    def loss(parameters: Array) -> tuple[float, Array]:
        factor, shift = parameters[:classes], parameters[classes:]
        logs = log_softmax(scores * factor + shift)
        gap = (np.exp(logs) - there) / n
        return -float(logs[there].sum()) / n, np.append((gap * scores).sum(axis=0), gap.sum(axis=0))

    start = np.append(np.ones(classes), np.zeros(classes))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    if not found.success or found.fun * n < 0.01:  # the classes can be told apart without error
        raise Undefined("vector scaling has no best fit on validation: it separates the classes")
    return found.x[:classes], found.x[classes:]


def _scaled(logits: Array, fitted: tuple[Array, Array]) -> Array:
    return log_softmax(logits * fitted[0] + fitted[1])


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="nats",
    fit=fit_temperature,
)
def nll_temperature(log_probabilities: Array, label: Array, fitted: float) -> Array:
    """Negative log-likelihood after temperature scaling on validation."""
    return nll(log_softmax(log_probabilities / fitted), label)


@calibration_error(fit=fit_temperature)
def ece_temperature(log_probabilities: Array, label: Array, fitted: float) -> float:
    """Expected calibration error after temperature scaling on validation."""
    return ece(np.exp(log_softmax(log_probabilities / fitted)), label)


@register_metric(
    artifact="classification",
    higher_is_better=False,
    unit="nats",
    fit=fit_vector,
)
def nll_vector(logits: Array, label: Array, fitted: tuple[Array, Array]) -> Array:
    """Negative log-likelihood after vector scaling on validation."""
    return nll(_scaled(logits, fitted), label)


@calibration_error(fit=fit_vector)
def ece_vector(logits: Array, label: Array, fitted: tuple[Array, Array]) -> float:
    """Expected calibration error after vector scaling on validation."""
    return ece(np.exp(_scaled(logits, fitted)), label)
