"""How well a classifier's score follows a rating on a scale, where the data have one (`valence`).

The score is the log-odds of the second of two classes. Its order is compared as it is (`spearman`,
in `regression.py`); errors on the scale of the rating need a line from score to rating, fitted on
the validation split.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from kit.analysis.statistics import errors
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric


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


_of_rating = partial(
    register_metric,
    artifact="classification",
    fit=fit_line,
)


def _missed(logits: Array, valence: Array, fitted: tuple[float, float]) -> Array:
    """Returns rating less prediction [n]."""
    return np.asarray(valence - fitted[0] * log_odds(logits) - fitted[1])


@_of_rating(higher_is_better=False, unit="valence")
def rating_mae(logits: Array, valence: Array, fitted: tuple[float, float]) -> Array:
    """Mean absolute error of the rating that the score stands for."""
    return np.abs(_missed(logits, valence, fitted))


@_of_rating(higher_is_better=False, unit="valence")
def rating_rmse(logits: Array, valence: Array, fitted: tuple[float, float]) -> Influence:
    """Root mean square error of the rating that the score stands for."""
    return errors.root_mean_square(_missed(logits, valence, fitted))


@_of_rating(higher_is_better=True, unit="share")
def rating_r2(logits: Array, valence: Array, fitted: tuple[float, float]) -> Influence:
    """Share of the rating's variance that the score explains; below 0, worse than the mean rating.

    Raises:
        Undefined: the rating is the same for every item.
    """
    return errors.r_squared(_missed(logits, valence, fitted), valence)
