"""How well a model predicts a number on a scale."""

from __future__ import annotations

from functools import partial

import numpy as np

from kit.analysis.metrics.rating import log_odds
from kit.analysis.statistics import errors, ranking
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

UNIT = "label units"
"""Errors are in whatever the task's labels are in."""

_of_number = partial(register_metric, artifact="regression")


@_of_number(higher_is_better=False, unit=UNIT)
def rmse(label: Array, prediction: Array) -> Influence:
    """Root mean square error: large errors weigh most."""
    return errors.root_mean_square(label - prediction)


@_of_number(higher_is_better=False, unit=UNIT)
def mae(label: Array, prediction: Array) -> Array:
    """Mean absolute error."""
    return np.asarray(np.abs(label - prediction))


@_of_number(higher_is_better=True, unit="share")
def r2(label: Array, prediction: Array) -> Influence:
    """Share of the labels' variance that is explained; below 0, worse than their mean.

    Raises:
        Undefined: the label is the same for every item.
    """
    return errors.r_squared(label - prediction, label)


@_of_number(higher_is_better=True, unit="correlation")
def pearson(label: Array, prediction: Array) -> Influence:
    """Pearson's correlation of label and prediction: how near to a line they lie.

    Raises:
        Undefined: one of them is constant.
    """
    return errors.pearson(label, prediction)


@register_metric(
    artifact=("classification", "regression"),
    higher_is_better=True,
    unit="correlation",
)
def spearman(
    label: Array,
    prediction: Array | None = None,
    logits: Array | None = None,
    valence: Array | None = None,
) -> Influence:
    """Spearman's rank correlation of label and prediction; of a classifier, of rating and log-odds.

    Raises:
        Undefined: one of them is constant; items without a rating, or of other than two classes.
    """
    if prediction is not None:
        return ranking.spearman(prediction, label)
    if logits is None or valence is None:
        raise Undefined("the items have no rating (a column 'valence')")
    return ranking.spearman(log_odds(logits), valence)
