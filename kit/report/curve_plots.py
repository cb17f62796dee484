"""Figures of points that are no rows of a table: reliability and ROC curves.

Part of `kit.plot`. They come as frames with a row a point: a `panel` each, and a `line` in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from kit.report.style import COLOURS, GREY, MARKERS, Figure, empty, shortened, styled


@styled
def reliability(curves: pd.DataFrame, *, title: str = "") -> Figure:
    """Draws how often answers are right at each confidence; on the diagonal a model knows itself.

    Args:
        curves: a row a bin: `panel`, `line`, `confidence` and `accuracy` (means in the bin), `n`,
            `ci_low`, `ci_high`.
        title: instead of the question.
    """
    checked(curves, "confidence", "accuracy", "ci_low", "ci_high")
    question = title or "Is the model right as often as it is sure?"
    note = "Below the diagonal: surer than right. Bars: 95% intervals. Marks grow with the items."
    figure, grid = _squares(curves, question, note, ("confidence (share)", "right (share)"))
    for panel, axes in grid.items():
        for turn, (line, bins) in enumerate(parts(curves, panel)):
            colour, size = COLOURS[turn], 8 + 70 * bins["n"] / bins["n"].max()
            axes.vlines(bins["confidence"], bins["ci_low"], bins["ci_high"], colour, linewidth=1)
            axes.plot(bins["confidence"], bins["accuracy"], color=colour, linewidth=1.4)
            marks = dict(s=size, color=colour, marker=MARKERS[turn], zorder=3, label=line)
            axes.scatter(bins["confidence"], bins["accuracy"], **marks)
    name_lines(figure, grid)
    _share_axes(next(iter(grid.values())), low=float(curves["confidence"].min()))
    return figure


@styled
def roc(curves: pd.DataFrame, *, title: str = "") -> Figure:
    """Draws which share of shifted items is noticed at which share of false alarms.

    Args:
        curves: a row a threshold: `panel` (the shift), `line` (the detector), `fpr`, `tpr`.
        title: instead of the question.
    """
    checked(curves, "fpr", "tpr")
    question = title or "Does the model notice that an item is not what it was trained for?"
    note = "On the diagonal: no better than guessing. Up and left is better."
    figure, grid = _squares(curves, question, note, ("false alarms (share)", "noticed (share)"))
    for panel, axes in grid.items():
        for turn, (line, points) in enumerate(parts(curves, panel)):
            dashes = ("-", "--", ":", "-.")[turn // len(COLOURS)]
            colour = COLOURS[turn % len(COLOURS)]
            axes.plot(points["fpr"], points["tpr"], dashes, color=colour, label=line)
    name_lines(figure, grid)
    _share_axes(next(iter(grid.values())))
    return figure


def _squares(
    curves: pd.DataFrame, question: str, note: str, labels: tuple[str, str]
) -> tuple[Figure, dict[str, Axes]]:
    """Makes a figure of curves in 0..1 with their diagonal, a panel each."""
    panels = list(curves["panel"].unique())
    width = max(6.0, 0.8 + 2.7 * len(panels))
    figure, grid = empty(question, width, 3.4, [note], len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle="--", zorder=1)
        axes.set_title(shortened(panel, 30))
        axes.set_xlabel(labels[0])
    grid[0].set_ylabel(labels[1])
    return figure, dict(zip(panels, grid, strict=True))


def name_lines(figure: Figure, grid: Mapping[str, Axes]) -> None:
    """Puts the names of all panels' lines beside them, each once."""
    found: dict[str, Any] = {}
    for axes in grid.values():
        pairs = zip(*axes.get_legend_handles_labels(), strict=True)
        found |= {name: handle for handle, name in pairs if name not in found}
    figure.legend(found.values(), found.keys(), loc="outside right upper")


def checked(curves: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Returns points that have the columns.

    Raises:
        ValueError: a column is missing, or there is no point.
    """
    for name in ("panel", "line", *columns):
        if name not in curves.columns:
            there = ", ".join(map(str, curves.columns))
            raise ValueError(f"the curves have no column {name!r}; there are {there}")
    if curves.empty:
        raise ValueError("the curves have no points to show")
    return curves


def parts(curves: pd.DataFrame, panel: str) -> list[tuple[str, pd.DataFrame]]:
    """Returns the lines of a panel: name and points."""
    part = curves[curves["panel"] == panel]
    return [(line, part[part["line"] == line]) for line in part["line"].unique()]


def _share_axes(axes: Axes, low: float = 0.0) -> None:
    start = 0.1 * math.floor(10 * low)
    axes.set_xlim(start - 0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks([x for x in (0, 0.25, 0.5, 0.75, 1) if x >= start])
