"""Figures with a row a variant and a panel a split: quality, and changes against the baseline."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from kit.analysis.rows import records
from kit.report import tables
from kit.report.style import COLOURS, GREY, Figure, axis, dot, empty, label_below, shortened, styled
from kit.report.wording import number, words
from kit.store.meaning import PLACES, higher_is_better, split_name

FAR = 5
"""Margins from zero at which the axis of changes ends at the latest."""


@styled
def quality(table: pd.DataFrame, metric: str = "accuracy", *, title: str = "") -> Figure:
    """Draws quality by split: a row a variant, a panel a split, each with its interval."""
    rows = tables.select(table, metric)
    question = title or f"What {words(metric)} is left on data it was not tuned for?"
    return _dots(rows, question, tables.unmeasured(table, [metric]))[0]


@styled
def changes(
    table: pd.DataFrame,
    metric: str = "accuracy_change",
    *,
    margin: float | None = 0.01,
    shift_margin: float | None = 0.02,
    title: str = "",
) -> Figure:
    """Draws paired differences to the baseline, with the losses that would still be accepted.

    Args:
        table: rows.
        metric: a `..._change` metric.
        margin: accepted loss in distribution, in the metric's unit; None draws no line.
        shift_margin: accepted loss on every shift. Beyond five times the larger margin an arrow
            with its value stands for what lies there.
        title: instead of the question.
    """
    rows = tables.select(table, metric)
    null = rows["architecture"].map(tables.is_null_model)
    rows = rows if null.all() else rows[~null]
    bases = ", ".join(dict.fromkeys(rows["baseline"]))
    what = words(split_name(metric)[0])
    question = title or f"How much {what} does each variant lose or gain against {bases}?"
    notes = tables.unmeasured(table, [metric])
    seen = tables.pooled(rows)["mde"].dropna()
    if len(seen):
        sizes = " to ".join(dict.fromkeys(map(number, (seen.min(), seen.max()))))
        notes.insert(0, f"Smallest difference these tests could see: {sizes}.")
    if margin is not None or shift_margin is not None:
        notes.insert(0, "Dashed: the loss that would be accepted. Null models are left out.")
    margins = [one for one in (margin, shift_margin) if one is not None]
    figure, grid = _dots(rows, question, notes, max(margins) * FAR if margins else math.inf)
    towards_loss = 1 if higher_is_better(metric) is False else -1
    for axes, where in zip(grid, tables.panels(rows).values(), strict=True):
        accepted = margin if where == PLACES[0] else shift_margin
        axes.axvline(0, color="black", linewidth=1, zorder=1)
        if accepted is not None:
            axes.axvline(towards_loss * accepted, color="black", linestyle="--", zorder=1)
    return figure


def _dots(
    rows: pd.DataFrame, question: str, notes: list[str], limit: float = math.inf
) -> tuple[Figure, list[Axes]]:
    """Draws a row a variant and a panel a split: a large dot for all seeds, small ones for each.

    What lies beyond the limit on either side is an arrow with its value.
    """
    rows, unit = tables.scaled(rows)
    names = [
        f"{name} ({more})" if more else name
        for name, more in zip(rows["variant"], tables.apart(rows), strict=True)
    ]
    null = rows["architecture"].map(tables.is_null_model)
    rows = rows.assign(_name=names, _panel=tables.panel_names(rows), _null=null)
    order = list(rows.sort_index().sort_values("_null", kind="stable")["_name"].unique())
    panels, main = tables.panels(rows), tables.pooled(rows)
    seeds = rows.drop(main.index)
    ranks = sorted(seeds["seed"].unique(), key=int)
    steps = {seed: rank / max(len(ranks) - 1, 1) for rank, seed in enumerate(ranks)}
    far = main[main["value"].abs() > limit]
    gone = set(zip(far["_name"], far["_panel"], strict=True))
    over = " and ".join(filter(None, rows["interval"].unique()))
    about = f"Bars: intervals over {over}." if over else "No intervals: too few repeats."
    about += " Large: mean of the seeds; small: each seed." if len(seeds) else ""
    about += " Hollow: a null model." if null.any() else ""
    about += " Arrow: beyond the axis, at the value beside it." if gone else ""
    labels = [shortened(name, 80 if len(panels) == 1 else 48) for name in order]
    width = min(13.0, 2.2 + 0.075 * max(map(len, labels)) + 1.9 * len(panels))
    height = 1.6 + (0.46 if len(seeds) else 0.32) * len(order)
    figure, grid = empty(question, width, height, [about, *notes], len(panels))
    for turn, (axes, (panel, where)) in enumerate(zip(grid, panels.items(), strict=True)):
        colour = COLOURS[turn % len(COLOURS)]
        for part, below, small in ((seeds, 0.3, True), (main, 0.0, False)):
            for row in records(part[part["_panel"] == panel]):
                y = order.index(row["_name"]) + below * (0.7 + 0.6 * steps.get(row["seed"], 0))
                if (row["_name"], panel) in gone:
                    if not small:
                        _beyond(axes, row["value"], math.copysign(limit, row["value"]), y, colour)
                    continue
                shade, thick = GREY if row["_null"] else colour, 0.9 if small else 2.0
                axes.hlines(y, row["ci_low"], row["ci_high"], color=shade, linewidth=thick)
                dot(axes, row["value"], y, colour, null=row["_null"], small=small)
        axes.set_title(f"{shortened(panel or 'all data', 24)}\n{where}".rstrip())
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0].set_yticks(range(len(order)), labels)
    grid[0].set_ylim(len(order) - 0.4, -0.6)
    if gone:
        low, high = (f(f(rows[end]), 0) for f, end in ((min, "ci_low"), (max, "ci_high")))
        grid[0].set_xlim(max(low, -limit) - limit / 12, min(high, limit) + limit / 12)
    grid[0].locator_params(axis="x", nbins=4)
    label_below(figure, grid[0], axis(rows["metric"].iloc[0], unit))
    return figure, grid


def _beyond(axes: Axes, value: float, at: float, y: float, colour: str) -> None:
    """Draws an arrow at the end of the axis, with the value that lies beyond it."""
    axes.plot(at, y, "<" if value < 0 else ">", color=colour, markersize=7, zorder=3)
    axes.annotate(
        *(number(value), (at, y), (8 if value < 0 else -8, 0)),
        textcoords="offset points",
        ha="left" if value < 0 else "right",
        va="center",
        fontsize=9,
    )
