"""Figures of what a shift does: groups, other shares, accuracy on the line.

Part of `kit.plot`; the rules of `kit.report.plot` hold here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from kit.analysis.rows import records
from kit.report import tables
from kit.report.curve_plots import checked, name_lines, parts
from kit.report.style import (
    COLOURS,
    GREY,
    MARKERS,
    Figure,
    axis,
    empty,
    label_below,
    shortened,
    styled,
)
from kit.report.wording import words

MODELS = 3
"""Architectures from which a line through them tells of models, not of versions of one."""


@styled
def groups(table: pd.DataFrame, metric: str = "accuracy", *, title: str = "") -> Figure:
    """Draws each variant's worst group beside its average, a panel a split.

    Args:
        table: rows with groups.
        metric: reported by group.
        title: instead of the question.
    """
    chosen = tables.select(table, metric)
    whole, _ = tables.scaled(tables.pooled(chosen))
    worst, unit = tables.scaled(tables.worst_groups(table, metric))
    whole = whole.assign(_panel=tables.panel_names(whole))
    worst = worst.assign(_panel=tables.panel_names(worst))
    panels = [name for name in tables.panels(chosen) if name in set(worst["_panel"])]
    names = [name for name in whole["variant"].unique() if name in set(worst["variant"])]
    labels = [shortened(name, 36) for name in names]
    question = title or f"Whom does the average {words(metric)} hide?"
    notes = ["Circle: all items. Triangle: the worst group, named. Bars: 95% intervals."]
    wide = 1.2 + 0.075 * max(map(len, labels)) + 2.6 * len(panels)
    figure, grid = empty(question, max(wide, 6), 1.6 + 0.5 * len(names), notes, len(panels))
    sides = ((whole, "o", COLOURS[0], 0.14), (worst, "v", COLOURS[2], -0.14))
    for axes, panel in zip(grid, panels, strict=True):
        for rows, mark, colour, up in sides:
            here = rows[(rows["_panel"] == panel) & rows["variant"].isin(names)]
            for row in records(here):
                _mark(axes, row, names.index(row["variant"]) - up, mark, colour)
        axes.set_title(shortened(panel, 30))
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
    grid[0].set_yticks(range(len(names)), labels)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    grid[0].margins(x=0.15)  # for the names of groups
    label_below(figure, grid[0], axis(metric, unit))
    return figure


@styled
def shares(points: pd.DataFrame, what: str = "the class", *, title: str = "") -> Figure:
    """Draws a metric over the share that a label or group has of the items, a line a variant.

    Args:
        points: of `kit.at_shares`, those of one label or group and one seed; a panel a split.
        what: that label or group, in words.
        title: instead of the question.
    """
    curves = checked(points.assign(panel=points["split"], line=points["variant"]), "share")
    panels = list(curves["panel"].unique())
    question = title or f"What if {what} came more or less often?"
    notes = ["Items are weighted, no model runs again. Bands: 95% intervals. Dotted: as it is."]
    width = max(7.0, 3.0 + 2.5 * len(panels))
    figure, axes_list = empty(question, width, 3.4, notes, len(panels))
    grid = dict(zip(panels, axes_list, strict=True))
    for panel, axes in grid.items():
        for turn, (line, part) in enumerate(parts(curves, panel)):
            if part["share"].duplicated().any():
                raise ValueError(f"{line} on {panel} has a share twice; choose one label or group")
            colour, at = COLOURS[turn % len(COLOURS)], part.sort_values("share")
            axes.fill_between(
                at["share"], at["ci_low"], at["ci_high"], color=colour, alpha=0.18, linewidth=0
            )
            mark = MARKERS[turn % len(MARKERS)]
            axes.plot(at["share"], at["value"], mark + "-", color=colour, label=line)
        observed = curves.loc[curves["panel"] == panel, "observed"].iloc[0]
        axes.axvline(observed, color=GREY, linestyle=":", linewidth=1)
        axes.set_title(shortened(panel, 30))
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set_xlabel(f"share of {what}")
    axes_list[0].set_ylabel("value at that share")
    name_lines(figure, grid)
    return figure


@styled
def on_the_line(
    points: pd.DataFrame, lines: pd.DataFrame | None = None, *, title: str = ""
) -> Figure:
    """Draws accuracy on a shift against accuracy in distribution, probit-scaled: a point a variant.

    Variants on one line lose what their accuracy in distribution says they lose; one below it is
    less robust than it looks (Miller et al., Accuracy on the line, 2021).

    Args:
        points: `panel` (the shift), `line` (what shares a mark, such as the architecture),
            `inside` and `outside` (accuracies).
        lines: of the fit, a row a panel: `panel`, `slope`, `intercept` (of probits) and `r2`.
        title: instead of the question.
    """
    from scipy.special import ndtr, ndtri

    panels = list(checked(points, "inside", "outside")["panel"].unique())
    question = title or "Does accuracy in distribution tell accuracy on the shift?"
    notes = ["Dashed: no loss. A mark is a version or seed of its model."]
    differ = points.groupby("panel", sort=False)["line"].nunique() >= MODELS
    fitted = [panel for panel in panels if differ[panel]] if lines is not None else []
    if fitted:
        notes += ["Line: the fit of probits over all models. Below it: less robust."]
    if lines is not None and len(fitted) < len(panels):
        notes += [
            f"No line where fewer than {MODELS} models are compared: versions of one tell how far "
            "that one fell, and no more."
        ]
    figure, grid = empty(question, max(6.0, 0.8 + 2.9 * len(panels)), 3.6, notes, len(panels))
    marks = {line: turn for turn, line in enumerate(points["line"].unique())}
    ends = ndtri([points["inside"].min() - 0.01, min(points["inside"].max() + 0.005, 0.9995)])
    for axes, panel in zip(grid, panels, strict=True):
        axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
        for line, part in parts(points, panel):
            turn = marks[line]
            axes.scatter(
                *(ndtri(part["inside"]), ndtri(part["outside"])),
                color=COLOURS[turn % len(COLOURS)],
                marker=MARKERS[turn % len(MARKERS)],
                label=line,
                zorder=3,
            )
        text = shortened(panel, 30)
        fits = lines[lines["panel"] == panel] if lines is not None and panel in fitted else None
        for fit in [] if fits is None else records(fits):
            axes.plot(ends, fit["intercept"] + fit["slope"] * ends, color=COLOURS[6], linewidth=1.2)
            text += f"\nslope {fit['slope']:.2f}, R\u00b2 {fit['r2']:.2f}"
        axes.set_title(text)
        axes.set_xlabel("in distribution (accuracy)")
    shares = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995]
    low, high = (f(*grid[0].get_xlim(), *grid[0].get_ylim()) for f in (min, max))
    ticks = [tick for tick in ndtri(shares).tolist() if low <= tick <= high]
    while len(ticks) > 6:
        ticks = ticks[::2]
    for side in (grid[0].xaxis, grid[0].yaxis):
        side.set_major_locator(FixedLocator(ticks))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{ndtr(value):.3g}"))
    grid[0].set_ylabel("on the shift (accuracy)")
    name_lines(figure, dict(zip(panels, grid, strict=True)))
    return figure


def _mark(axes: Axes, row: Mapping[str, Any], y: float, mark: str, colour: str) -> None:
    """Draws a value with its interval, and under it the group that it is of."""
    axes.hlines(y, row["ci_low"], row["ci_high"], colour, linewidth=1.6)
    axes.plot(row["value"], y, mark, color=colour, zorder=3)
    if row["group"]:
        axes.annotate(
            *(shortened(row["group"], 22), (row["value"], y), (0, -11)),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7.5,
            color=GREY,
        )
