"""How far a timing could be off: launches are its replicates, their logarithms are averaged."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.intervals import Interval, t_quantile, t_test


class Launches(NamedTuple):
    """What launches say: their geometric mean, its interval, and the test against `null`."""

    value: float
    interval: Interval
    p_value: float = math.nan
    mde: float = math.nan


def launches(values: Array, null: float | None = None, first: int | None = None) -> Launches:
    """Returns the geometric mean over launches with the t interval of their logarithms.

    The launch is the unit of replication: calls within one share its luck (memory layout, threads).
    Values that are not all positive are averaged as they are.

    Args:
        values: one a launch.
        null: the value under no difference; gives a p-value and the smallest share by which the
            value could have differed and been seen with 80% power.
        first: launches of the first stage, whose spread decided how many there are
            (`second_stage`): the error and its degrees of freedom are then theirs.
    """
    logs = bool((values > 0).all())
    x = np.log(values) if logs else values
    back = np.exp if logs else np.asarray
    n, mean = len(x), float(x.mean())
    value = float(back(mean))
    if n < 3:
        count = "one launch" if n == 1 else f"{n} launches"
        return Launches(value, Interval(note=f"{count}: no interval below 3"))
    stage = x if first is None else x[:first]
    error, df = float(stage.std(ddof=1) / math.sqrt(n)), len(stage) - 1
    half = t_quantile(0.975, df) * error
    interval = Interval(float(back(mean - half)), float(back(mean + half)), "launches")
    if null is None or not logs:
        return Launches(value, interval)
    shift = mean - math.log(null)
    power = t_quantile(0.975, df) + t_quantile(0.8, df)
    return Launches(value, interval, t_test(shift, error, df), math.expm1(power * error))


def second_stage(values: Array, half: float) -> int:
    """Returns how many launches give a 95% interval of a ratio whose half-width is below `half`.

    Stein's two-stage rule (Annals of Mathematical Statistics 16, 1945): the spread of a first
    sample fixes the number once. The mean of a normal sample says nothing of its spread, so the
    interval with the first sample's error and degrees of freedom keeps its coverage exactly.

    Args:
        values: one a launch, of the first stage; positive.
        half: as a share, such as 0.02.
    """
    spread = float(np.log(values).std(ddof=1))
    return math.ceil((t_quantile(0.975, len(values) - 1) * spread / math.log1p(half)) ** 2)
