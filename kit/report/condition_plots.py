"""Figures of what grows with a condition, as time does with context and with the batch.

Part of `kit.plot`; the rules of `kit.report.plot` hold here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from kit.analysis.rows import records
from kit.report import tables
from kit.report.style import COLOURS, GREY, MARKERS, Figure, axis, dot, empty, shortened, styled
from kit.report.wording import words
from kit.store.meaning import split_name
from kit.store.results import parse_condition

RATES = ("s", "tokens/s", "bytes", "ratio")
"""Units whose axis is logarithmic: twice as much is as far everywhere."""
PLAIN = {"context": "context (tokens)", "batch_size": "texts written at once"}


@styled
def growth(
    table: pd.DataFrame,
    metric: str = "time_per_output_token",
    x: str = "context",
    *,
    at: str = "",
    title: str = "",
) -> Figure:
    """Draws a metric against a part of its condition, a line a variant.

    The axis of `x` is logarithmic, and so is that of times, rates and bytes.

    Args:
        table: rows.
        metric: any whose conditions have the part.
        x: the part, a number: `context`, `batch_size`.
        at: other parts that the condition has, such as `batch_size=1`; what it leaves open must be
            the same in all.
        title: instead of the question.

    Raises:
        ValueError: no condition fits, or conditions differ in more than `x`.
    """
    rows, unit = tables.scaled(along(tables.pooled(tables.select(table, metric)), x, at))
    over = " or ".join(filter(None, rows["interval"].unique()))
    notes = [f"Bars: 95% intervals over {over}."] if over else []
    question = title or f"How does {words(metric)} change with the {x.replace('_', ' ')}?"
    figure, (axes,) = empty(question, 7.5, 4.4, notes + tables.unmeasured(table, [metric]))
    variants = list(rows["variant"].unique())
    for turn, variant in enumerate(variants):
        mine = rows[rows["variant"] == variant]
        colour, mark = COLOURS[turn % len(COLOURS)], MARKERS[turn % len(MARKERS)]
        dashes = ("-", "--", ":", "-.")[turn // len(COLOURS) % 4]
        beside = mine["_x"] * 1.012 ** (turn - (len(variants) - 1) / 2)
        axes.vlines(beside, mine["ci_low"], mine["ci_high"], color=colour, linewidth=1.3)
        label = shortened(variant)
        axes.plot(beside, mine["value"], dashes, marker=mark, color=colour, label=label)
    plainly = FuncFormatter(lambda value, _: f"{value:,g}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(rows["_x"].unique()))
    if split_name(metric)[1] == "change":
        axes.axhline(0, color="black", linewidth=1, zorder=1)
    elif rows["unit"].iloc[0] in RATES:
        axes.set_yscale("log", base=2)
    for scale in (axes.xaxis, axes.yaxis):
        scale.set_major_formatter(plainly)
        scale.set_minor_locator(NullLocator())
    axes.set_xlabel(PLAIN.get(x, x.replace("_", " ")))
    axes.set_ylabel(axis(metric, unit))
    figure.legend(loc="outside right center")
    return figure


@styled
def ceilings(table: pd.DataFrame, *, at: str = "batch_size=1", title: str = "") -> Figure:
    """Draws tokens a second, a row a variant, beside what the memory's bandwidth would allow each.

    Args:
        table: rows of `Decode`.
        at: parts of the condition; of several that fit, the first.
        title: instead of the question.
    """
    rates = fitting(tables.select(table, "tokens_per_second"), "", at)
    condition = rates["condition"].iloc[0]
    rates = tables.pooled(rates[rates["condition"] == condition]).sort_values("value")
    reached = tables.select(table, "bandwidth_utilisation")
    reached = tables.pooled(reached[reached["condition"] == condition])
    shares = dict(zip(reached["variant"], reached["value"], strict=True))
    names = list(rates["variant"])
    told = condition.replace(";", ", ")
    notes = [
        "Grey: the most that the bandwidth of memory allows at each variant's bytes, and the share "
        f"of it that is reached. Bars: 95% intervals over launches. {told}."
    ]
    question = title or "How fast does each version write, and how far is that from the limit?"
    height = 1.3 + 0.36 * len(names)
    figure, (axes,) = empty(question, 8.0, height, notes + tables.unmeasured(table, ["speedup"]))
    for y, row in enumerate(records(rates)):
        _against_limit(axes, y, row, shares.get(row["variant"]))
        axes.hlines(y, row["ci_low"], row["ci_high"], color=COLOURS[0], linewidth=2)
        dot(axes, row["value"], y, COLOURS[0], null=False)
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    axes.set_xlabel(axis("tokens_per_second", "tokens/s"))
    return figure


def _against_limit(axes: Axes, y: int, row: Mapping[str, Any], share: float | None) -> None:
    """Marks the limit of a row, and says which share of it is reached."""
    if not share:
        return
    limit = row["value"] / share
    right = max(limit, row["value"], np.nan_to_num(row["ci_high"]))
    axes.hlines(y, 0, limit, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    axes.plot(limit, y, "|", color=GREY, markersize=14, markeredgewidth=1.6, zorder=2)
    axes.annotate(
        *(f"{share:.0%}", (right, y), (7, 0)),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=GREY,
    )


def along(rows: pd.DataFrame, x: str, at: str) -> pd.DataFrame:
    """Returns rows of one task in the order of a part of their condition, which becomes `_x`.

    Args:
        rows: of one metric.
        x: the part, a number.
        at: other parts that the condition has.

    Raises:
        ValueError: no condition fits, or they differ in more than `x`.
    """
    rows = fitting(rows, x, at)
    parts = [parse_condition(text) for text in rows["condition"]]
    left = sorted({key for one in parts for key in one if key != x})
    open_ = [key for key in left if len({str(one.get(key)) for one in parts}) > 1]
    open_ += ["task"] if rows["task"].nunique() > 1 else []
    if open_:
        raise ValueError(
            f"rows differ in {', '.join(open_)} beside {x}; choose by at='{open_[0]}=...', or take "
            "rows of one task"
        )
    rows = rows.assign(_x=[part[x] for part in parts])
    return rows.sort_values("_x", kind="stable")


def fitting(rows: pd.DataFrame, x: str, at: str) -> pd.DataFrame:
    """Returns the rows whose condition has the part `x` and those of `at`.

    Raises:
        ValueError: there are none; the conditions that are there are named.
    """
    wanted = parse_condition(at).items()
    parts = {text: parse_condition(text) for text in rows["condition"].unique()}
    good = [text for text, one in parts.items() if wanted <= one.items() and (not x or x in one)]
    if not good:
        there = "; ".join(tables.differing(rows["condition"]).values())
        raise ValueError(f"no row has the condition {x} {at}: there are {there}")
    return rows[rows["condition"].isin(good)]
