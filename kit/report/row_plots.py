"""Figures with a colour a variant: a row a task, or a row a wording of its questions.

Part of `kit.plot`; the rules of `kit.report.plot` hold here too.
"""

from __future__ import annotations

import pandas as pd

from kit.analysis.rows import records
from kit.report import tables
from kit.report.style import COLOURS, GREY, MARKERS, Figure, axis, empty, label_below, styled
from kit.report.wording import words
from kit.store.meaning import split_name

HIGH = 0.34
"""Inches of a row, a variant."""


@styled
def by_task(table: pd.DataFrame, metric: str = "acc", *, title: str = "") -> Figure:
    """Draws a metric of test splits, a row a task and a colour a variant, beside chance.

    Args:
        table: rows; those of `chance`, where there are, become a mark.
        metric: any that the tasks have.
        title: instead of the question.
    """
    rows = tables.pooled(tables.select(table, metric))
    rows = rows.assign(_row=tables.panel_names(rows).str.removesuffix(": test"))
    guess = tables.whole_splits(table)
    guess = guess[guess["metric"] == "chance"]
    guess = guess.assign(_row=tables.panel_names(guess).str.removesuffix(": test"))
    changed = split_name(metric)[1] == "change"
    what = words(split_name(metric)[0])
    question = title or (
        f"What does each version lose or gain, task by task? ({what})"
        if changed
        else f"How good is each version, task by task, and how far from guessing? ({what})"
    )
    chances = {} if changed else dict(zip(guess["_row"], guess["value"], strict=True))
    return _drawn(rows, chances, question, tables.unmeasured(table, [metric]))


@styled
def by_wording(table: pd.DataFrame, metric: str = "acc", *, title: str = "") -> Figure:
    """Draws a metric, a row a wording of the questions and a colour a variant.

    Args:
        table: rows of a study that asked in other words (`evaluate_shift(templates=...)`), of one
            task and split.
        metric: any that shifted copies have, or a change: then the last row is over all wordings.
        title: instead of the question.

    Raises:
        ValueError: no such rows, or those of several tasks or splits.
    """
    worded = tables.pooled(tables.shifted(table, metric))
    worded = worded[worded["severity"] == ""]
    plain = tables.pooled(tables.select(table, metric))
    cells = worded[["task", "split"]].drop_duplicates()
    if len(cells) != 1:
        found = ", ".join(": ".join(cell) for cell in cells.itertuples(index=False, name=None))
        raise ValueError(f"by_wording draws one task and split; the rows are of {found or 'none'}")
    ours = (plain["task"] == cells["task"].iloc[0]) & (plain["split"] == cells["split"].iloc[0])
    rows = pd.concat(
        [plain[ours].assign(_row="own"), worded.assign(_row=worded["copy"])], ignore_index=True
    )
    rows = rows.sort_values("_row", key=lambda names: names == "all", kind="stable")
    rows["_row"] = rows["_row"].replace({"all": "over all"})
    guess = table[(table["metric"] == "chance") & (table["task"] == cells["task"].iloc[0])]
    chances = dict.fromkeys(rows["_row"], float(guess["value"].mean())) if len(guess) else {}
    question = title or "Does the order of the versions survive another wording of the questions?"
    return _drawn(rows, {} if split_name(metric)[1] else chances, question, [])


def _drawn(
    rows: pd.DataFrame, chances: dict[str, float], question: str, notes: list[str]
) -> Figure:
    """Draws values with their intervals, by `_row` and variant."""
    metric = rows["metric"].iloc[0]
    rows, unit = tables.scaled(rows)
    names, variants = list(rows["_row"].unique()), list(rows["variant"].unique())
    over = " or ".join(filter(None, rows["interval"].unique()))
    about = [f"Bars: 95% intervals over {over}."] if over else []
    about += ["Grey line: guessing."] if chances else []
    height = 1.5 + len(names) * max(0.3, 0.8 * HIGH * len(variants) / 2)
    figure, (axes,) = empty(question, 8.0, height, [*about, *notes])
    for turn, variant in enumerate(variants):
        step = (turn - (len(variants) - 1) / 2) * 0.7 / len(variants)
        colour, mark = COLOURS[turn % len(COLOURS)], MARKERS[turn % len(MARKERS)]
        mine = rows[rows["variant"] == variant]
        for row in records(mine):
            y = names.index(row["_row"]) + step
            axes.hlines(y, row["ci_low"], row["ci_high"], color=colour, linewidth=1.6)
        places = [names.index(name) + step for name in mine["_row"]]
        axes.plot(
            *(mine["value"], places, mark), color=colour, markersize=5.5, label=variant, zorder=3
        )
    for name in names:
        if name in chances:
            y = names.index(name)
            axes.vlines(chances[name], y - 0.45, y + 0.45, color=GREY, linewidth=1.4, zorder=1)
    if split_name(metric)[1] == "change":
        axes.axvline(0, color="black", linewidth=1, zorder=1)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    if len(variants) > 1:
        figure.legend(loc="outside right center")
    label_below(figure, axes, axis(metric, unit))
    return figure
