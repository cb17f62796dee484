"""Numbers of lm-evaluation-harness, a row each, as that library computes them.

Where it takes a mean, a ratio of sums or the exponential of one, what an item adds is known: the
interval and the change against a baseline are the kit's. Of others the number stands alone.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.intervals import Bounded, Interval
from kit.spec.artifact_kinds import EXPONENTIAL, WHOLE
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

ALL = "the task pools its items in a way of its own: no interval"

measured = partial(register_metric, artifact=("lm_eval", "choices"), unit="score")


@measured(higher_is_better=True)
def lm_eval_score(
    measure: Array, score: Array, weight: Array, pooled: Array, form: Array, better: Array
) -> dict[str, Any]:
    """Numbers of lm-evaluation-harness of which more is better, such as accuracies."""
    return _of(better == 1, measure, score, weight, pooled, form)


@measured(higher_is_better=False)
def lm_eval_loss(
    measure: Array, score: Array, weight: Array, pooled: Array, form: Array, better: Array
) -> dict[str, Any]:
    """Numbers of lm-evaluation-harness of which less is better, such as perplexities."""
    return _of(better == -1, measure, score, weight, pooled, form)


@measured(higher_is_better=None)
def lm_eval_other(
    measure: Array, score: Array, weight: Array, pooled: Array, form: Array, better: Array
) -> dict[str, Any]:
    """Numbers of lm-evaluation-harness of which it is not said whether more is better."""
    return _of(better == 0, measure, score, weight, pooled, form)


def _of(chosen: Array, measure: Array, *columns: Array) -> dict[str, Any]:
    """Returns the chosen measures [n, measures] by their condition."""
    places = np.flatnonzero(chosen[0])
    return {str(measure[0, k]): _value(*(column[:, k] for column in columns)) for k in places}


def _value(score: Array, weight: Array, pooled: Array, form: Array) -> Any:
    """Returns one measure [n], with what its interval is made of."""
    if form[0] == WHOLE:
        return Bounded(float(pooled[0]), Interval(note=ALL), len(score))
    if form[0] < 0:
        return Undefined("lm-evaluation-harness gave no finite number")
    if form[0] == EXPONENTIAL:
        share = score.sum() / weight.sum()
        value = math.exp(share)
        return Influence(value, value * (score - share * weight) / weight.mean(), (0.0, math.inf))
    if not (weight == 1).all():
        return Ratio(score, weight)
    return score == 1 if np.isin(score, (0, 1)).all() else score
