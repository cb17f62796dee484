"""Figures of tidy rows, in one style. They show `value`, `ci_low`, `ci_high`; they compute nothing.

Each function takes the rows of `study.run()` or `kit.load(...)` and returns a matplotlib `Figure`.
What could not be measured is said under the figure, with its reason. A table without the metric
asked for raises a ValueError that names the metrics it has. `title` replaces the question above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from kit.analysis.rows import records
from kit.report import tables
from kit.report.condition_plots import ceilings, growth
from kit.report.context_plots import needles
from kit.report.curve_plots import reliability, roc
from kit.report.dots import changes, quality
from kit.report.heat_map import heat
from kit.report.row_plots import by_task, by_wording
from kit.report.shift_plots import groups, on_the_line, shares
from kit.report.style import (
    COLOURS,
    MARKERS,
    Figure,
    axis,
    dot,
    empty,
    name_points,
    shortened,
    styled,
)
from kit.report.wording import words
from kit.store.meaning import PLACES, higher_is_better

__all__ = [
    "bits", "by_task", "by_wording", "ceilings", "changes", "curves", "groups", "growth", "heat",
    "needles", "on_the_line", "quality", "reliability", "roc", "shares", "tradeoff"
]  # fmt: skip
_BARS = "Bars: intervals, each seed's where nothing else is given."


@styled
def tradeoff(
    table: pd.DataFrame,
    x: str = "speedup",
    y: str = "accuracy",
    *,
    split: str = "test",
    at: str = "batch_size=1",
    title: str = "",
) -> Figure:
    """Draws quality against cost, both with intervals, and the front of what nothing beats.

    Args:
        table: rows.
        x: metric of cost.
        y: metric of quality, on `split`.
        split: where quality was measured.
        at: parts of the cost's condition, such as `batch_size=1;length=128`; what it leaves open is
            taken from the first condition that fits, and said on the axis.
        title: instead of the question.
    """
    goods, costs = tables.select(table, y), tables.select(table, x)
    if split not in set(goods["split"]):
        there = ", ".join(dict.fromkeys(goods["split"]))
        raise ValueError(f"{y!r} was not measured on the split {split!r}; it was on {there}")
    every, y_unit = tables.scaled(goods[goods["split"] == split])
    goods, _ = _each(every)
    costs, condition = _at(costs, at)
    base = costs["baseline"].iloc[0]
    costs, x_unit = _each(costs[costs["baseline"] == base])
    both = [name for name in goods.index if name in costs.index]
    if not both:
        raise ValueError(f"no variant has both {y!r} on {split!r} and {x!r} at {condition!r}")
    without = ", ".join(name for name in goods.index if name not in costs.index)
    notes = [f"Line: the front, where no other variant is better in both. {_BARS}"]
    notes += [f"No {words(x)} here: {without}."] if without else []
    question = title or f"Is {words(x)} paid for with {words(y)}?"
    notes += tables.unmeasured(table[table["split"].isin([split, ""])], [x, y])
    figure, (axes,) = empty(question, 7.5, 4.6, notes)
    versus = f" against {shortened(base)}" if base else ""
    axes.set_xlabel(axis(x, x_unit, f"{versus}, {condition}" if condition else versus))
    axes.set_ylabel(axis(y, y_unit, f" on {shortened(split)}"))
    bars, points = [], []
    for name in both:
        good, cost = goods.loc[name], costs.loc[name]
        null = tables.is_null_model(good["architecture"])
        dot(axes, cost["value"], good["value"], COLOURS[0], null=null)
        points += [] if null else [(cost["value"], good["value"])]
        bars += _bars(good, cost, tables.barred(every[every["variant"] == name]))
    for bar in bars:
        axes.plot(*zip(*bar, strict=True), color=COLOURS[5], linewidth=1.3, zorder=2)
    front = _front(points, higher_is_better(x), higher_is_better(y))
    axes.plot([p[0] for p in front], [p[1] for p in front], color=COLOURS[2], zorder=1)
    if x == "speedup":
        axes.axvline(1, color="black", linewidth=0.8, zorder=1)
    axes.margins(0.14, 0.3)
    named = [(costs.loc[name, "value"], goods.loc[name, "value"], name) for name in both]
    lines = [*bars, *([front] if len(front) > 1 else [])]
    lines += [[(1.0, end) for end in axes.get_ylim()]] if x == "speedup" else []
    name_points(figure, axes, named, lines)
    return figure


@styled
def bits(table: pd.DataFrame, metric: str = "accuracy", x: str = "", *, title: str = "") -> Figure:
    """Draws quality against the size of the weights, a line a split.

    Args:
        table: rows.
        metric: of quality.
        x: a metric of size; by default `bits_per_weight`, or `weight_bytes` where that is absent.
        title: instead of the question.
    """
    x = x or ("bits_per_weight" if "bits_per_weight" in set(table["metric"]) else "weight_bytes")
    sizes, unit = _each(tables.select(table, x))
    rows, y_unit = tables.scaled(tables.select(table, metric))
    rows = rows.assign(_x=rows["variant"].map(sizes["value"]), _panel=tables.panel_names(rows))
    rows = rows.dropna(subset=["_x"])
    panels, lines = tables.panels(rows), []
    rows = rows.sort_values("_x", kind="stable")
    if rows.empty:
        raise ValueError(f"no variant has both {metric!r} and {x!r}")
    question = title or f"How small can the weights be before {words(metric)} falls?"
    notes = [f"{_BARS} Lines join the variants of one runtime."]
    figure, (axes,) = empty(question, 7.5, 4.6, notes + tables.unmeasured(table, [metric, x]))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for turn, (panel, where) in enumerate(panels.items()):
        colour, style = COLOURS[turn % len(COLOURS)], "-" if where == PLACES[0] else "--"
        split = rows[rows["_panel"] == panel]
        label = shortened(f"{panel} ({where})" if where else panel)
        for _, line in split.groupby(["architecture", "runtime"], sort=False):
            at = line["_x"] * 1.012 ** (turn - (len(panels) - 1) / 2)
            bars = tables.barred(line)
            ends = at[bars.index], bars["ci_low"], bars["ci_high"]
            axes.vlines(*ends, color=colour, alpha=0.6)
            lines += [[(x, low), (x, high)] for x, low, high in zip(*ends, strict=True)]
            main = tables.pooled(line).sort_values("_x", kind="stable")
            axes.plot(
                at[main.index],
                main["value"],
                style,
                marker=MARKERS[turn % 7],
                color=colour,
                label=label,
            )
            lines.append(list(zip(main["_x"], main["value"], strict=True)))
            label = ""
    axes.set_xlabel(f"{words(x)} ({unit})" if unit else words(x))
    axes.set_ylabel(axis(metric, y_unit))
    axes.margins(0.1, 0.2)
    figure.legend(loc="outside right upper")
    name_points(figure, axes, _tops(rows), lines)
    return figure


@styled
def curves(
    frame: pd.DataFrame, x: str = "seconds", y: str = "validation_loss", *, title: str = ""
) -> Figure:
    """Draws training curves, a line a seed, a colour a variant.

    Args:
        frame: columns variant, seed, x and y; rows without y are left out.
        x: `seconds` or `tokens`.
        y: `validation_loss` or `train_loss`, in nats.
        title: instead of the question.
    """
    missing = [name for name in ("variant", "seed", x, y) if name not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise ValueError(f"the training curves have no column {missing[0]!r}; there are {there}")
    drawn = frame.dropna(subset=[x, y]).sort_values(x, kind="stable")
    if drawn.empty:
        raise ValueError(f"the training curves have no value of {y!r} to show")
    question = title or f"Which variant learns most in the same {'time' if x == 'seconds' else x}?"
    figure, (axes,) = empty(question, 7.5, 4.4, ["Each line is a seed."])
    for turn, variant in enumerate(frame["variant"].unique()):
        colour, dashes = COLOURS[turn % 7], ("-", "--", ":", "-.")[turn // 7 % 4]
        label = shortened(variant)
        for _, line in drawn[drawn["variant"] == variant].groupby("seed", sort=False):
            mark = "." if len(line) < 9 else ""
            axes.plot(line[x], line[y], dashes, color=colour, label=label, marker=mark)
            label = ""
    axes.set_xlabel("training time (s)" if x == "seconds" else f"training {x}")
    axes.set_ylabel(f"{y.replace('_', ' ')} (nats; lower is better)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    figure.legend(loc="outside right upper")
    return figure


def _each(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Returns one row a variant, pooled and in a readable unit, and the unit."""
    rows, unit = tables.scaled(tables.pooled(rows))
    return rows.drop_duplicates("variant").set_index("variant"), unit


def _at(rows: pd.DataFrame, at: str) -> tuple[pd.DataFrame, str]:
    """Returns the rows of the first condition that has the parts of `at`, and that condition."""
    wanted = set(filter(None, at.split(";")))
    texts = list(rows["condition"].unique())
    fits = [text for text in texts if wanted <= set(text.split(";"))] if any(texts) else texts
    if not fits:
        raise ValueError(f"no row has the condition {at!r}; there are {', '.join(texts)}")
    return rows[rows["condition"] == fits[0]], fits[0].replace(";", ", ")


def _bars(good: pd.Series, cost: pd.Series, seeds: pd.DataFrame) -> list[list[Any]]:
    """Returns the intervals of a variant's cost, and of its quality, each seed's apart."""
    across = [(cost["ci_low"], good["value"]), (cost["ci_high"], good["value"])]
    up = ([(cost["value"], seed[end]) for end in ("ci_low", "ci_high")] for seed in records(seeds))
    return [across, *up]


def _front(
    points: Sequence[tuple[float, float]], x_up: bool | None, y_up: bool | None
) -> list[tuple[float, float]]:
    """Returns the points that no other beats in both; none where a metric has no direction."""
    if x_up is None or y_up is None:
        return []
    sx, sy = (1 if x_up else -1), (1 if y_up else -1)
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (-sx * p[0], -sy * p[1])):
        if not best or sy * y > sy * best[-1][1]:
            best.append((x, y))
    return best


def _tops(rows: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Returns each size's highest point and its schemes."""
    sizes = [at for _, at in rows.groupby("_x")]
    tops = [float(at[["ci_high", "value"]].max().max()) for at in sizes]
    names = ["\n".join(at["schemes"].unique()) for at in sizes]
    return list(zip([at["_x"].iloc[0] for at in sizes], tops, names, strict=True))
