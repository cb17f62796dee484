"""The rows, the figure and the page of what kills did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.chaos.bench import Episode
from benchmarks.chaos.episodes import COUNTS
from benchmarks.common import markdown
from kit.report.publish import escape, results_folder
from kit.report.style import COLOURS, STYLE, render
from kit.store import results
from kit.store.store import write_bytes, write_text

NAME = "91_chaos"
MOST_NAMED = 10
"""Rows or files that a row's note names; all are counted."""
NOTE = "counted, not sampled: no interval"


def table(episodes: Iterable[Episode], undefined: Mapping[str, str]) -> pd.DataFrame:
    """Returns a row for each target and count: the sum over its episodes."""
    targets: dict[str, list[Episode]] = {}
    for one in episodes:
        targets.setdefault(one.target, []).append(one)
    rows = []
    for name in COUNTS:
        for target in {**targets, **undefined}:
            about = {"metric": name, "condition": results.condition(target=target)}
            about |= {"study": "crashes", "variant": "kit", "seed": 0, "unit": "count"}
            if target in undefined:
                about |= {"status": "undefined", "note": undefined[target]}
            else:
                each = targets[target]
                named = [text for one in each for text in one.found.get(name, [])]
                about["value"] = sum(one.counts[name] for one in each)
                about["note"] = " | ".join([NOTE, *named[:MOST_NAMED]])
                about |= {"n": len(each), "machine": 0}
            rows.append(results.row(**about))
    return results.to_frame(rows)


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the counts that there are: a row a count, a column a target."""
    good = rows[rows["status"] == "ok"].assign(target=rows["condition"].str.partition("=")[2])
    return good.pivot(index="metric", columns="target", values="value").loc[[*COUNTS]].astype(int)


def verdict(counts: pd.DataFrame) -> str:
    """Returns what was found, in a sentence."""
    kills, harm = int(counts.loc["kills"].sum()), counts.drop(index="kills").sum(axis=1)
    tried = f"{kills} kills at random moments ({', '.join(counts.columns)})"
    if harm.any():
        found = [f"{n} {name.replace('_', ' ')}" for name, n in harm.items() if n]
        return (
            f"{tried} left this behind: {', '.join(found)}. The notes of the rows name the files."
        )
    return (
        f"{tried}: no run done again, no row lost or changed, no file, process or lock left "
        f"behind. So at most {round(300 / kills, 1)}% of such kills do harm (by the rule of three)."
    )


def figure(counts: pd.DataFrame) -> Figure:
    """Returns the bars: kills of each target, and what they lost, changed or left."""
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(6, 2.8), layout="constrained")
        axes = made.subplots()
        axes.barh(counts.columns, counts.loc["kills"], color=COLOURS[0], label="kills")
        harm = counts.drop(index="kills").sum()
        label = "things lost, changed or left behind"
        axes.barh(counts.columns, harm, height=0.4, color=COLOURS[2], label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("count")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return made


def publish(rows: pd.DataFrame, machine: Mapping[str, object]) -> Path:
    """Writes 91_chaos.csv, .machines.csv, .md and figures/91_chaos_kills.png; returns the page."""
    folder, counts = results_folder(), counted(rows)
    results.write_table(rows, folder / f"{NAME}.csv")
    machines = pd.DataFrame([machine], index=pd.Index([0], name="machine"))
    write_text(folder / f"{NAME}.machines.csv", machines.to_csv(lineterminator="\n"))
    write_bytes(folder / "figures" / f"{NAME}_kills.png", render(figure(counts), "png"))
    bad = rows[rows["status"] != "ok"].drop_duplicates("condition")
    missing = [f"- {row.condition}: {row.note}" for row in bad.itertuples()]
    parts = [
        f"# {NAME.replace('_', ' ')}",
        escape(verdict(counts)),
        "## What was left",
        markdown([["", *counts.columns], *([i, *row] for i, *row in counts.itertuples())]),
        *(["## Not measured", escape("\n".join(missing))] if missing else []),
        "## Figures",
        f"![kills](figures/{NAME}_kills.png)",
        "## Machine",
        markdown([[*machine], [*machine.values()]]),
        "## Where to look",
        f"- [{NAME}.csv]({NAME}.csv): every count, and the names of what was lost or left.\n"
        "- [benchmarks/README.md](../benchmarks/README.md): who is killed when, what is compared.",
        "Made by `make chaos`.",
    ]
    write_text(folder / f"{NAME}.md", "\n\n".join(parts) + "\n")
    return folder / f"{NAME}.md"
