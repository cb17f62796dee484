"""How far predictions on a scale lie from what is true, with what each item adds to it."""

from __future__ import annotations

import math

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.checking import Undefined


def root_mean_square(errors: Array) -> Influence:
    """Returns the root mean square of errors [n]."""
    squares = np.asarray(errors, np.float64) ** 2
    value = math.sqrt(squares.mean())
    return Influence(value, (squares - value**2) / (2 * value) if value else squares)


def r_squared(errors: Array, truth: Array) -> Influence:
    """Returns the share of the truth's variance that errors [n] leave explained.

    Below 0 the predictions are worse than the mean of the truth.

    Args:
        errors: truth less prediction [n].
        truth: [n].

    Raises:
        Undefined: the truth is the same for every item.
    """
    squares, spread = errors**2, (truth - truth.mean()) ** 2
    if not spread.any():
        raise Undefined("the label is the same for every item: no variance to explain")
    left = float(squares.sum() / spread.sum())
    return Influence(1 - left, (left * spread - squares) / spread.mean())


def pearson(x: Array, y: Array) -> Influence:
    """Returns Pearson's correlation of x [n] and y [n].

    Raises:
        Undefined: one side is constant.
    """
    sides = [np.asarray(side, np.float64) - np.mean(side, dtype=np.float64) for side in (x, y)]
    if any(np.ptp(side) == 0 for side in (x, y)):
        raise Undefined("all values of one side are the same: no correlation")
    a, b = (side / side.std() for side in sides)
    value = float((a * b).mean())
    return Influence(value, a * b - value * (a * a + b * b) / 2, (-1, 1))
