"""The figure of what is found in a long text, and what a smaller cache loses of it.

Part of `kit.plot`; the rules of `kit.report.plot` hold here too.
"""

from __future__ import annotations

import math
import textwrap

import pandas as pd
from matplotlib.axes import Axes

from kit.report import tables
from kit.report.condition_plots import along
from kit.report.style import Figure, empty, label_below, shortened, styled

DEPTH = "depth="
_BRIGHT = 0.55
"""Share of the colour scale from which a cell's number is written in black."""


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
    rows = along(table[chosen & (table["status"] == "ok")], "context", at)
    rows = rows.assign(depth=rows["group"].str.removeprefix(DEPTH))
    depths = sorted(rows["depth"].unique(), key=lambda text: float(text.rstrip("%")))
    contexts, variants = sorted(rows["_x"].unique()), list(rows["variant"].unique())
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
        cells = part.pivot_table(index="depth", columns="_x", values="value")
        cells = cells.reindex(index=depths, columns=contexts)
        _map(axes, cells, 0.0 if math.isnan(low) else low)
        lines = textwrap.wrap(variant, most := int(11 * wide), break_long_words=False)
        axes.set_title("\n".join(shortened(line, most) for line in lines), fontsize=9.5)
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
