"""A metric at other shares of labels or groups, from predictions that are there already.

Label shift and subpopulation shift change how many items of each kind there are, not what the kinds
look like: items are weighted, and no model runs again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kit.analysis.evaluate import Estimate, evaluate
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.analysis.statistics.intervals import smooth
from kit.spec.checking import SpecError, shown, suggest
from kit.spec.registry import metrics
from kit.spec.roles import data
from kit.store.store import Artifact

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


class Reweighted(NamedTuple):
    """A metric at other shares.

    Attributes:
        found: its value, and what each item adds to it.
        effective: how many items drawn at these shares would say as much (Kish 1965).
    """

    found: Influence
    effective: float


def reweighted(ratio: Ratio, strata: Array, shares: Mapping[Any, float]) -> Reweighted:
    """Returns a metric as it would be if each stratum had another share of the items.

    Each stratum is weighted to have exactly its share (post-stratification), so that the error is
    that within strata alone (Holt and Smith 1979).

    Args:
        ratio: the metric.
        strata: of each item, such as its label [n].
        shares: stratum -> its share; a stratum that is not named has none.

    Raises:
        SpecError: shares that are no shares, do not add up to 1 or name a stratum without items.
    """
    names, codes = np.unique(strata, return_inverse=True)
    sizes, known = np.bincount(codes), names.tolist()
    for name, share in shares.items():
        if name not in known:
            raise SpecError(suggest(str(name), map(str, known), "stratum"))
        if not 0 <= share <= 1:
            raise SpecError(f"shares: {shown(name)} has {shown(share)}; expected a share, 0..1")
    if not math.isclose(total := sum(shares.values()), 1, abs_tol=1e-6):
        raise SpecError(f"shares add up to {total:.6g}; expected 1")
    wanted = np.array([shares.get(name, 0.0) for name in known])
    weights = (wanted * len(codes) / sizes)[codes]
    sides = (ratio.numerator, ratio.denominator)
    made = Ratio(*((side.T * weights).T for side in sides))
    influence = made.pseudo_values() - made.value
    influence -= (np.bincount(codes, influence) / sizes)[codes]
    return Reweighted(Influence(made.value, influence), weights.sum() ** 2 / (weights**2).sum())


def at_shares(
    artifacts: Sequence[Artifact],
    by: str = "label",
    shares: Sequence[float] = SHARES,
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Returns a metric of each run at other shares of each label or group.

    The others keep their proportions to each other.

    Args:
        artifacts: predictions.
        by: `label` (of one class an item), or a group column such as `domain`.
        shares: that each label or group is given in turn.
        metric: one with a value an item (accuracy, nll), or a ratio of sums.

    Returns:
        Columns variant, seed, task, split, `by` (which label or group), observed (its share in the
        split), share (given), value, ci_low, ci_high (95%, over clusters where items share one), n
        (the items there are), effective_n (see `Reweighted`) and note, the reason where a value is
        NaN.

    Raises:
        SpecError: no such column or metric, one of another kind of predictions, or a share outside
            0..1.
    """
    import pandas as pd

    entry, rows = metrics.get(metric), []
    for artifact in artifacts:
        if artifact.kind not in entry.traits["artifacts"]:
            reads = " or ".join(entry.traits["artifacts"])
            raise SpecError(f"{metric} is a metric of {reads}; these are of {artifact.kind}")
        sample, run = Sample(artifact), artifact.run
        place = data(run.measurement)
        estimate = next(iter(evaluate(entry, sample)), Estimate("", note="it gives no value"))
        strata = _strata(artifact, by)
        names, sizes = np.unique(strata, return_counts=True)
        for name, observed in zip(names.tolist(), sizes / len(strata), strict=True):
            for share in shares:
                row = {
                    "variant": run.variant.name,
                    "seed": run.variant.seed,
                    "task": place["task"].name,
                    "split": place["split"],
                    by: name,
                    "observed": observed,
                    "share": share,
                    "n": len(strata),
                }
                rest = (1 - share) / (1 - observed) if observed < 1 else math.nan
                others = dict(zip(names.tolist(), sizes / len(strata) * rest, strict=True))
                rows.append(row | _at(sample, estimate, strata, others | {name: share}))
    columns = ["variant", "seed", "task", "split", by, "observed", "share"]
    columns += ["value", "ci_low", "ci_high", "n", "effective_n", "note"]
    return pd.DataFrame(rows, columns=columns)


def _strata(artifact: Artifact, by: str) -> Array:
    columns = artifact.columns
    name = by if by == "label" else f"group:{by}"
    if name not in columns:
        known = [each.removeprefix("group:") for each in columns if each.startswith("group:")]
        raise SpecError(suggest(by, ["label", *known], "label or group column"))
    if name == by and artifact.kind != "classification":
        raise SpecError(f"by='label' needs one class an item; these are of {artifact.kind}")
    return columns[name]


def _at(
    sample: Sample, estimate: Estimate, strata: Array, shares: Mapping[Any, float]
) -> dict[str, Any]:
    """Returns the numbers of one row, or NaN and the reason."""
    reason = estimate.note
    if estimate.status == "ok" and estimate.ratio is None:
        reason = "it is no sum over items: weighting items is not defined"
    elif len(shares) < 2:
        reason = "all items are alike: there is no other share"
    elif estimate.ratio is not None:
        found, effective = reweighted(estimate.ratio, strata, shares)
        if estimate.binary:
            found = replace(found, bounds=(0.0, 1.0))
        low, high, _, note = smooth(found, sample.clusters)
        numbers = {"value": found.value, "ci_low": low, "ci_high": high}
        return {**numbers, "effective_n": effective, "note": note}
    return {"note": reason}
