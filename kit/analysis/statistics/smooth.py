"""Closed-form intervals of smooth metrics of the whole sample, from their influence function."""

from __future__ import annotations

import math

import numpy as np

from kit.analysis.statistics.intervals import Array, Influence, Interval, standard_error, t_quantile


def interval(
    found: Influence, codes: Array, count: int, bounds: tuple[float, float] | None = None
) -> Interval:
    """Returns the t interval with the cluster-robust error of the influence function.

    For AUROC the error is DeLong's (DeLong, DeLong and Clarke-Pearson, Biometrics 1988), and with
    clusters that of Obuchowski (Biometrics 1997). Where few items carry the influence (errors of a
    good model, a rare class) the error itself is uncertain: the degrees of freedom follow from the
    spread of the squared influences (Satterthwaite, Biometrics Bulletin 1946). A metric with bounds
    is transformed, by the logit of its place between them, so that the interval stays inside; of a
    correlation that is Fisher's z.

    Args:
        found: the metric.
        codes: cluster of each item, 0..count-1.
        count: number of clusters.
        bounds: least and greatest value.
    """
    from scipy.special import expit, logit

    if count < 2:
        return Interval(note="one item or cluster: no interval")
    if np.abs(found.influence).max() < 1e-12:  # rounding
        return Interval(note="no item changes the value: no interval")
    squares = np.bincount(codes, found.influence, minlength=count) ** 2
    spread = ((squares - squares.mean()) ** 2).sum()
    df = count - 1.0 if spread == 0 else min(2 * squares.sum() ** 2 / spread, count - 1.0)
    half = t_quantile(0.975, df) * standard_error(found.influence, codes, count)
    over = "items" if count == len(codes) else "clusters"
    low, high = bounds or (-math.inf, math.inf)
    share = (found.value - low) / (high - low) if bounds else 0.0
    if not 0 < share < 1:
        return Interval(max(found.value - half, low), min(found.value + half, high), over)
    half /= (high - low) * share * (1 - share)
    ends = low + (high - low) * expit(logit(share) + np.array([-half, half]))
    return Interval(float(ends[0]), float(ends[1]), over)
