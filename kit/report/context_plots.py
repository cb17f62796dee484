"""Figures of what a longer context gives, and what a smaller cache loses of it.

Part of `kit.plot`; the rules of `kit.report.plot` hold here too.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from kit.report import tables
from kit.report.style import (
    COLOURS,
    MARKERS,
    Figure,
    axis,
    empty,
    label_below,
    shortened,
    styled,
)
from kit.report.wording import words
from kit.store.meaning import split_name
from kit.store.results import condition, parse_condition

DEPTH = "depth="
_BRIGHT = 0.55
"""Share of the colour scale from which a cell's number is written in black."""


@styled
def by_context(
    table: pd.DataFrame, metric: str = "bits_per_byte", *, at: str = "", title: str = ""
) -> Figure:
    """Draws a metric against the tokens of context, a line a variant.

    Args:
        table: rows of a study that asked at several contexts (`kit.ScoreLast`), of one task.
        metric: any of their rows, or a change (`bits_per_byte_change`).
        at: parts of the condition that rows have to have, where they differ beside the context.
        title: instead of the question.

    Raises:
        ValueError: no such rows, or those of several tasks or conditions.
    """
    rows = _at_contexts(tables.pooled(tables.select(table, metric)), metric, at)
    rows, unit = tables.scaled(rows)
    over = " or ".join(filter(None, rows["interval"].unique()))
    changed = split_name(metric)[1] == "change"
    question = title or (
        f"What does a smaller cache cost, the longer the context? ({words(metric)})"
        if changed
        else f"What does a longer context give, and who loses it? ({words(metric)})"
    )
    notes = [f"Bars: 95% intervals over {over}."] if over else []
    figure, (axes,) = empty(question, 7.5, 4.2, notes + tables.unmeasured(table, [metric]))
    axes.set_xscale("log", base=2)
    variants = list(rows["variant"].unique())
    for turn, variant in enumerate(variants):
        line = rows[rows["variant"] == variant].sort_values("context")
        beside = line["context"] * 1.015 ** (turn - (len(variants) - 1) / 2)
        colour = COLOURS[turn % len(COLOURS)]
        axes.vlines(beside, line["ci_low"], line["ci_high"], color=colour, alpha=0.6)
        style = {"color": colour, "marker": MARKERS[turn % len(MARKERS)]}
        axes.plot(beside, line["value"], label=shortened(variant), **style)
    if changed:
        axes.axhline(0, color="black", linewidth=1, zorder=1)
    axes.xaxis.set_major_locator(FixedLocator(sorted(rows["context"].unique())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("context (tokens)")
    axes.set_ylabel(axis(metric, unit))
    figure.legend(loc="outside right center")
    return figure


@styled
def needles(table: pd.DataFrame, metric: str = "acc", *, at: str = "", title: str = "") -> Figure:
    """Draws which facts of a long text are found: a map a variant, depth by context.

    Args:
        table: rows of a study that asked for facts at several contexts (`kit.FindNeedles`), of one
            task.
        metric: any of their rows by group `depth`.
        at: parts of the condition that rows have to have, where they differ beside the context.
        title: instead of the question.

    Raises:
        ValueError: no such rows, or those of several tasks or conditions.
    """
    chosen = (table["metric"] == metric) & table["group"].str.startswith(DEPTH)
    rows = _at_contexts(table[chosen & (table["status"] == "ok")], metric, at)
    rows = rows.assign(depth=rows["group"].str.removeprefix(DEPTH))
    depths = sorted(rows["depth"].unique(), key=lambda text: float(text.rstrip("%")))
    contexts, variants = sorted(rows["context"].unique()), list(rows["variant"].unique())
    guess = table[(table["metric"] == "chance") & table["condition"].isin(rows["condition"])]
    low = float(guess["value"].mean()) if len(guess) else math.nan
    n = rows["n"].dropna()
    notes = [
        "Each number: how many of the facts at this depth are found, of "
        f"{n.min():.0f}{f' to {n.max():.0f}' if n.max() > n.min() else ''}. Depth: the share of "
        "the text before the fact; at its end it is asked for."
    ]
    notes += [] if math.isnan(low) else [f"Darkest: no more than guessing, {low:.0%}."]
    notes += tables.unmeasured(table, [metric])
    wide = max(0.62 * len(contexts), 1.6)
    question = title or "Which facts of a long text are found, with which cache?"
    height = 1.6 + 0.36 * len(depths)
    figure, grid = empty(
        question, max(1.2 + wide * len(variants), 5.5), height, notes, len(variants)
    )
    for axes, variant in zip(grid, variants, strict=True):
        part = rows[(rows["variant"] == variant) & (rows["seed"] != "all")]
        cells = part.pivot_table(index="depth", columns="context", values="value")
        cells = cells.reindex(index=depths, columns=contexts)
        _map(axes, cells, 0.0 if math.isnan(low) else low)
        axes.set_title(shortened(variant, int(11 * wide)), fontsize=9.5)
        axes.set_xticks(range(len(contexts)), [f"{context:,}" for context in contexts])
    grid[0].set_yticks(range(len(depths)), depths)
    grid[0].set_ylabel("depth")
    label_below(figure, grid[0], "context (tokens)")
    return figure


def _map(axes: Axes, cells: pd.DataFrame, low: float) -> None:
    """Draws shares from guessing to all, each with its number."""
    axes.imshow(cells, cmap="cividis", vmin=low, vmax=1, aspect="auto")
    for y, line in enumerate(cells.to_numpy()):
        for x, value in enumerate(line):
            if math.isnan(value):
                continue
            colour = "black" if value - low > _BRIGHT * (1 - low) else "white"
            axes.text(x, y, f"{value:.0%}", ha="center", va="center", fontsize=8, color=colour)
    axes.tick_params(length=0)
    axes.grid(visible=False)


def _at_contexts(rows: pd.DataFrame, metric: str, at: str) -> pd.DataFrame:
    """Returns the rows that have a context and the parts of `at`, with their `context`.

    Raises:
        ValueError: none has, or they differ in more than the context.
    """
    wanted = parse_condition(at).items()
    parts = [parse_condition(text) for text in rows["condition"]]
    fits = ["context" in part and wanted <= part.items() for part in parts]
    chosen = rows[fits]
    if chosen.empty:
        raise ValueError(
            f"no rows of {metric!r} have a context{f' and {at}' if at else ''} in their condition"
        )
    known = [part for part, fit in zip(parts, fits, strict=True) if fit]
    rest = [condition(**{k: v for k, v in part.items() if k != "context"}) for part in known]
    tasks = dict.fromkeys(chosen["task"])
    if len(tasks) > 1 or len(set(rest)) > 1:
        there = "; ".join(dict.fromkeys([*tasks, *rest]) if len(tasks) > 1 else dict.fromkeys(rest))
        raise ValueError(f"rows of {metric!r} differ beside their context: {there}; choose by at=")
    return chosen.assign(context=[int(part["context"]) for part in known])
