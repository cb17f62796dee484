"""Corrections of p-values for how many there are."""

from __future__ import annotations

import numpy as np

from kit.analysis.statistics.clusters import Array


def holm(p_values: Array) -> Array:
    """Returns p-values adjusted by Holm's step-down rule (1979)."""
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    made = np.empty(len(p_values))
    made[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return made


def bh(p_values: Array) -> Array:
    """Returns p-values adjusted by Benjamini and Hochberg (1995); NaN, of no test, stays NaN.

    Of what is called different at 5%, no more than 5% is not, on average; Holm's rule, stricter,
    is wrong once in no more than 5% of families.
    """
    from scipy.stats import false_discovery_control

    made, there = p_values.copy(), ~np.isnan(p_values)
    if there.any():
        made[there] = false_discovery_control(p_values[there])
    return made
