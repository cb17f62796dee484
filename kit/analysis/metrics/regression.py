"""How well a classifier's score follows a rating on a scale, where the data have one (`valence`).

The score is the log-odds of the second of two classes. Its order is compared as it is; errors on
the scale of the rating need a line from score to rating, fitted on the validation split.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from kit.analysis.statistics import ranking
from kit.analysis.statistics.intervals import Array, Influence
from kit.registry import register_metric
from kit.spec import Undefined

_of_rating = partial(register_metric, artifact="classification", version=1, columns=("valence",))


def log_odds(logits: Array) -> Array:
    """Returns the log-odds of the second of two classes [n].

    Raises:
        Undefined: there are not two classes.
    """
    if logits.shape[1] != 2:
        raise Undefined(f"a score on a scale needs two classes; there are {logits.shape[1]}")
    scores = logits.astype(np.float64)
    return np.asarray(scores[:, 1] - scores[:, 0])


def fit_line(logits: Array, valence: Array) -> tuple[float, float]:
    """Returns slope and height of the line of least squares from log-odds to rating.

    Raises:
        Undefined: the score is constant.
    """
    score = log_odds(logits)
    if not score.std():
        raise Undefined("on validation the score is the same for every item: no line")
    slope = float(np.cov(score, valence, bias=True)[0, 1] / score.var())
    return slope, float(valence.mean() - slope * score.mean())


def _missed(logits: Array, valence: Array, fitted: tuple[float, float]) -> Array:
    """Returns rating less prediction [n]."""
    return np.asarray(valence - fitted[0] * log_odds(logits) - fitted[1])


@_of_rating(higher_is_better=True, unit="correlation", bounds=(-1, 1))
def spearman(logits: Array, valence: Array) -> Influence:
    """Spearman's rank correlation of log-odds and rating."""
    return ranking.spearman(log_odds(logits), valence)


@_of_rating(higher_is_better=False, unit="valence", fit=fit_line, optional=True)
def mae(logits: Array, valence: Array, fitted: tuple[float, float]) -> Array:
    """Mean absolute error of the rating that the score stands for."""
    return np.abs(_missed(logits, valence, fitted))


@_of_rating(higher_is_better=False, unit="valence", fit=fit_line, optional=True)
def rmse(logits: Array, valence: Array, fitted: tuple[float, float]) -> Influence:
    """Root mean square error of the rating that the score stands for."""
    squares = _missed(logits, valence, fitted) ** 2
    value = math.sqrt(squares.mean())
    return Influence(value, (squares - value**2) / (2 * value) if value else squares)


@_of_rating(higher_is_better=True, unit="share", fit=fit_line, optional=True)
def r2(logits: Array, valence: Array, fitted: tuple[float, float]) -> Influence:
    """Share of the rating's variance that the score explains; below 0, worse than the mean rating.

    Raises:
        Undefined: the rating is the same for every item.
    """
    squares, spread = _missed(logits, valence, fitted) ** 2, (valence - valence.mean()) ** 2
    if not spread.any():
        raise Undefined("the rating is the same for every item: no variance to explain")
    left = float(squares.sum() / spread.sum())
    return Influence(1 - left, (left * spread - squares) / spread.mean())
