"""The figure of shifted copies: what breaks which variant, and how fast."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from kit.analysis.rows import records
from kit.report import tables
from kit.report.style import GREY, Figure, axis, empty, shortened, styled

_DARK = 0.55
"""Share of the colour scale from which a cell's number is written in black."""
NEAR_CHANCE = 0.25
"""Share of the way from chance to all right below which a cell is grey."""


@styled
def heat(table: pd.DataFrame, metric: str = "accuracy_retained", *, title: str = "") -> Figure:
    """Draws a metric of shifted items as a heat map: a row a variant, a column what shifted them.

    Below each number stands the accuracy, where the table has it: what is kept of little is little.
    A cell whose accuracy is near chance is grey.

    Args:
        table: rows of a study with shifted copies, as corruptions make; a panel a severity.
        metric: any metric that such rows have.
        title: instead of the question.
    """
    rows, unit = tables.scaled(tables.pooled(tables.shifted(table, metric)))
    rows = rows.assign(_right=_accuracy(table, rows, metric))
    names, columns = list(rows["variant"].unique()), list(rows["copy"].unique())
    levels = sorted(rows["severity"].unique(), key=str)
    question = title or "What breaks which variant, and how fast?"
    notes = [f"Each number: {axis(metric, unit)}. Severity 1 is mild, 5 as bad as one can bear."]
    if rows["_right"].notna().any():
        notes.append(
            "Below it: how many answers are right. Grey: less than a quarter of the way from "
            "chance to all right, where what is retained says nothing."
        )
    notes += tables.unmeasured(table, [metric])
    labels = [shortened(name, 36) for name in names]
    wide = 1.2 + 0.075 * max(map(len, labels)) + 0.52 * len(columns) * len(levels)
    figure, grid = empty(question, max(wide, 5), 1.9 + 0.42 * len(names), notes, len(levels))
    low, high = float(rows["value"].min()), float(rows["value"].max())
    high = min(high, 1.0) if unit == "share" else high  # a few chance hits would dull all others
    for axes, level in zip(grid, levels, strict=True):
        part = rows[rows["severity"] == level]
        cells = part.pivot(index="variant", columns="copy", values="value")
        cells = cells.reindex(index=names, columns=columns)
        axes.imshow(cells, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for row in records(part):
            place = columns.index(row["copy"]), names.index(row["variant"])
            _cell(axes, place, row["value"], row["_right"], tables.chance(row["task"]), low, high)
        axes.set_title(f"severity {level}" if level != "" else "")
        axes.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns])
        axes.tick_params(axis="x", labelrotation=90, length=0)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
    grid[0].set_yticks(range(len(names)), labels)
    return figure


def _accuracy(table: pd.DataFrame, rows: pd.DataFrame, metric: str) -> list[float]:
    """Returns the accuracy of each row's cell; NaN where the table has none, or the row is it."""
    key = ["variant", "copy", "severity"]
    if metric == "accuracy":
        return [math.nan] * len(rows)
    try:
        right = tables.pooled(tables.shifted(table, "accuracy")).set_index(key)["value"]
    except ValueError:
        right = pd.Series(dtype=float)
    known = right[~right.index.duplicated()].to_dict()
    return [known.get(cell, math.nan) for cell in rows[key].itertuples(index=False, name=None)]


def _cell(
    axes: Axes,
    place: tuple[int, int],
    value: float,
    right: float,
    chance: float,
    low: float,
    high: float,
) -> None:
    """Writes a cell's number and accuracy, on grey where the accuracy is near chance."""
    colour = "black" if value - low > _DARK * (high - low) else "white"
    if right < chance + NEAR_CHANCE * (1 - chance):
        colour = GREY
        corner = (place[0] - 0.5, place[1] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="#E3E3E3", edgecolor="white"))
    text = f"{value:.2f}" + ("" if math.isnan(right) else f"\n{right:.0%}")
    axes.text(*place, text, ha="center", va="center", fontsize=7.5, color=colour)
