"""Straight lines through splits and variants: what quality does as the shift grows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kit.spec.checking import SpecError, suggest
from kit.store.meaning import is_shifted

if TYPE_CHECKING:
    import pandas as pd

FIT = ["slope", "intercept", "r2", "n"]


class Trend(NamedTuple):
    """Points and the least-squares lines through them.

    Attributes:
        points: a row a point, with its coordinates `x` and `y`.
        lines: a row a line: slope, intercept, r2 and n points; NaN below three points, or where
            all have one `x`.
    """

    points: pd.DataFrame
    lines: pd.DataFrame


def loss_with_distance(table: pd.DataFrame, metric: str = "accuracy_change") -> Trend:
    """Returns how a metric goes with a split's distance from the test split, a line a variant.

    The test split itself is at 0.5, where a classifier tells nothing apart. With as many points as
    a task has splits this describes these splits and predicts no other.

    Args:
        table: of a study, with `domain_auroc` rows (one variant's features measure all splits).
        metric: of the rows to place: `accuracy`, or a change against the baseline.

    Returns:
        Points with columns variant, task, split, x (distance), y (the metric, mean over seeds);
        lines by variant and task.

    Raises:
        SpecError: no distances, or no such rows.
    """
    far = _rows(table, "domain_auroc").groupby(["task", "split"])["value"].mean()
    found = _rows(table, metric)
    known = {(task, "test"): 0.5 for task, _ in far.index} | dict(far.items())
    found = found[[cell in known for cell in zip(found["task"], found["split"], strict=True)]]
    keys = ["variant", "task", "split"]
    points = found.groupby(keys, sort=False)["value"].mean().rename("y").reset_index()
    points["x"] = [known[cell] for cell in zip(points["task"], points["split"], strict=True)]
    return Trend(points[[*keys, "x", "y"]], _lines(points, ["variant", "task"]))


def on_the_line(
    table: pd.DataFrame, splits: Sequence[str] | None = None, metric: str = "accuracy"
) -> Trend:
    """Returns "accuracy on the line" (Miller et al., ICML 2021): in distribution against a shift.

    Over many models the two lie on a line once both go through the probit function. A compressed
    model below the line of the others lost more under the shift than its loss in distribution
    says; one on the line lost what any model that good would.

    Args:
        table: of a study.
        splits: the shifts; all but `test` where not given.
        metric: a share of items.

    Returns:
        Points with columns panel (the shift, with its task where there are several), line (the
        architecture), variant, seed, inside, outside (shares), x, y (their probits, at least half
        an item away from 0 and 1), residual (of y); lines by panel.

    Raises:
        SpecError: no such rows.
    """
    from scipy.stats import norm

    found = _rows(table, metric)
    known = [split for split in dict.fromkeys(found["split"]) if split != "test"]
    for split in splits or ():
        if split not in known:
            raise SpecError(suggest(split, known, f"shift with {metric} rows"))
    keys = ["task", "architecture", "variant", "seed"]
    columns = [*keys, "split", "value", "n"]
    outside = found[found["split"].isin(known if splits is None else splits)][columns]
    inside = found[found["split"] == "test"][[*keys, "value", "n"]]
    points = outside.merge(inside, on=keys, suffixes=("_out", "_in"))
    names = {"architecture": "line", "value_in": "inside", "value_out": "outside"}
    points = points.rename(columns=names)
    points["panel"] = points["split"]
    if points["task"].nunique() > 1:
        points["panel"] = points["task"] + ": " + points["split"]
    for name, share, n in (("x", "inside", "n_in"), ("y", "outside", "n_out")):
        half = 0.5 / points[n].astype(float)
        points[name] = norm.ppf(np.clip(points[share], half, 1 - half))
    lines = _lines(points, ["panel"])
    fits = points[["panel"]].merge(lines, on="panel", how="left")
    points["residual"] = points["y"] - fits["intercept"] - fits["slope"] * points["x"]
    columns = ["panel", "line", "variant", "seed", "inside", "outside", "x", "y", "residual"]
    return Trend(points[columns], lines)


def _rows(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the measured rows of a metric on whole, test splits as they are, one a seed."""
    chosen = (table["metric"] == metric) & (table["status"] == "ok") & (table["group"] == "")
    chosen &= ~table["condition"].map(is_shifted) & (table["seed"] != "all")
    chosen &= ~table["split"].str.endswith("validation")
    if not chosen.any():
        raise SpecError(suggest(metric, sorted(set(table["metric"])), "metric with rows"))
    return table[chosen]


def _lines(points: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Returns the least-squares line of each group of points."""
    import pandas as pd
    from scipy.stats import linregress

    rows: list[list[Hashable]] = []
    for key, group in points.groupby(by, sort=False):
        fit = [np.nan] * 3
        if len(group) >= 3 and group["x"].nunique() > 1:
            line = linregress(group["x"], group["y"])
            fit = [line.slope, line.intercept, line.rvalue**2]
        rows.append([*key, *fit, len(group)])
    return pd.DataFrame(rows, columns=[*by, *FIT])
