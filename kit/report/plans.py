"""A plan to look at: a line a variant, a column a measurement; the rows stay a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kit.analysis.rows import records
from kit.report import display
from kit.spec import registry

_REASONS = 6  # told below the table; the rows have them all
_NAMES = 4  # of variants that one reason is told of


class Plan(pd.DataFrame):
    """The rows of a plan: shown grouped, used as the data frame they are.

    Columns: variant, seed, what, split, status (`to do`, `done`, `cannot`, `left out`), minutes
    and reason. `rows` shows each of them.
    """

    @property
    def rows(self) -> pd.DataFrame:
        """The rows as a data frame that shows itself as such."""
        return pd.DataFrame(self)

    def __repr__(self) -> str:
        reasons = [f"{about}: {', '.join(names)}: {why}" for about, names, why in _reasons(self)]
        hint = f"All {len(self)} rows: .rows"
        return display.as_text(display.table(*_grouped(self), total=True), *reasons, hint)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        reasons = "".join(
            f"<li><b>{about}</b> {display.escaped(', '.join(names))}: {display.escaped(why)}</li>"
            for about, names, why in _reasons(self)
        )
        every = display.html_table(list(self.columns), self.rows.to_numpy().tolist())
        return (
            display.html_table(*_grouped(self), total=True)
            + (f"<ul>{reasons}</ul>" if reasons else "")
            + f"<details><summary>all {len(self)} rows</summary>{every}</details>"
        )


def _grouped(plan: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Returns head and lines: what is to build, done of all runs by measurement, and minutes."""
    asked = plan[plan["status"] != "left out"]
    is_run = asked["what"].isin(registry.measurements.names())
    builds, runs = asked[~is_run], asked[is_run]
    names, kinds = list(asked["variant"].unique()), list(runs["what"].unique())

    def line(name: str, of_runs: pd.DataFrame, to_build: str, minutes: float) -> list[str]:
        cells = [_counted(of_runs[of_runs["what"] == kind]) for kind in kinds]
        return [name, *([to_build] if len(builds) else []), *cells, f"{minutes:.1f}"]

    lines = []
    for name in names:
        own = asked[asked["variant"] == name]
        seeds = own["seed"].nunique()
        missing = builds[builds["variant"] == name]["what"]
        parts = dict.fromkeys(part for what in missing for part in what.split("+"))
        label = f"{name} ({seeds} seeds)" if seeds > 1 else name
        of_runs = runs[runs["variant"] == name]
        lines.append(line(label, of_runs, ", ".join(parts), own["minutes"].sum()))
    lines.append(line("all", runs, "", asked["minutes"].sum()))
    head = ["variant", *(["to build"] if len(builds) else []), *kinds, "minutes"]
    return head, lines


def _counted(runs: pd.DataFrame) -> str:
    """Returns how many of some runs are done: `3/11`."""
    if runs.empty:
        return ""
    status = runs["status"].value_counts()
    lost = f" ({status['cannot']} cannot)" if "cannot" in status else ""
    whole = f"{status.get('done', 0)}/{len(runs)}{lost}"
    return "cannot" if (runs["status"] == "cannot").all() else whole


def _reasons(plan: pd.DataFrame) -> list[tuple[str, list[str], str]]:
    """Returns what has a reason: about what it is, of which variants, and the reason."""
    about: Mapping[str, str] = {"cannot": "Cannot work", "left out": "Left out"}
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for row in records(plan[plan["reason"] != ""]):
        key = about.get(str(row["status"]), "Note"), str(row["reason"])
        told.setdefault(key, {})[str(row["variant"])] = None
    found = [(what, _few(list(names)), why) for (what, why), names in told.items()]
    more = len(found) - _REASONS
    return [*found[:_REASONS], ("Note", ["others"], f"{more} more reasons")] if more > 0 else found


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= _NAMES else [*names[:_NAMES], f"{len(names) - _NAMES} more"]
