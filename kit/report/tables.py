"""Which rows a reader sees first, and in what order. No statistics here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

import pandas as pd

from kit.report.wording import words
from kit.spec import registry
from kit.spec.roles import axes
from kit.store.meaning import PLACES, higher_is_better, is_shifted, place
from kit.store.results import COLUMNS, parse_condition

_SCALES = {
    "bytes": ((1e6, "MB"), (1e3, "kB"), (1, "bytes")),
    "s": ((1, "s"), (1e-3, "ms")),
    "count": ((1e6, "million"), (1, "")),
    "FLOP": ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1, "FLOP")),
    "ratio": ((1, "times"),),
    "1": ((1, ""),),
}
_SAME = ["variant", "task", "split", "condition", "baseline", "metric"]
_NUMBERS = ["value", "ci_low", "ci_high"]


def is_null_model(architecture: str) -> bool:
    """Says whether an architecture is fitted without gradients: a rule, a majority, counts."""
    try:
        traits = registry.architectures.get(architecture).traits
    except ValueError:
        return False
    return traits.get("kind") == "predictor" or bool(traits.get("fitted"))


def chance(task: str) -> float:
    """Returns the share that guessing gets right; NaN where the task is not registered here."""
    try:
        labels = registry.tasks.get(task).traits["labels"]
    except ValueError:
        return math.nan
    return 1 / len(labels) if labels else math.nan


def whole_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of whole test splits in order of `place`, once where two studies share them.

    Rows of shifted copies, as of corrupted items, are left out: `shifted` shows them.

    Raises:
        ValueError: the table is not made of rows.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(
            f"column {missing[0]!r} is missing; expected the rows of study.run() or kit.load(...)"
        )
    return _placed(table[(table["group"] == "") & ~_of_copies(table)])


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of test splits with their `place`, in its order, each once."""
    tuning = rows["split"].isin(["train", "validation"]) | rows["split"].str.endswith("/validation")
    rows = rows[~tuning].drop_duplicates([*_SAME, "group", "seed"])
    places = [place(*names) for names in zip(rows["task"], rows["split"], strict=True)]
    rows = rows.reset_index(drop=True).assign(place=pd.Series(places, dtype=object))
    return rows.sort_values("place", key=lambda c: c.map(PLACES.index), kind="stable")


def _of_copies(table: pd.DataFrame) -> pd.Series:
    """Says of each row whether it is of a shifted copy of its items."""
    known = {text: is_shifted(text) for text in table["condition"].unique()}
    return table["condition"].map(known).astype(bool)


def shifted(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the measured rows of a metric on shifted copies, with `copy` and `severity` of each.

    `copy` is what the items were shifted by, such as a corruption's name; `severity` is empty where
    it has none.

    Raises:
        ValueError: there are none; the metrics that are there are named.
    """
    rows = table[_of_copies(table) & (table["group"] == "") & (table["status"] == "ok")]
    rows = rows.drop_duplicates([*_SAME, "seed"]).reset_index(drop=True)
    chosen = rows[rows["metric"] == metric]
    if chosen.empty:
        present = ", ".join(sorted(set(rows["metric"]))) or "nothing"
        raise ValueError(f"no rows of {metric!r} on shifted items; there the table has {present}")
    parts, known = [parse_condition(text) for text in chosen["condition"]], axes()
    return chosen.assign(
        copy=[" ".join(str(part[key]) for key in part if key in known) for part in parts],
        severity=[part.get("severity", "") for part in parts],
    )


def worst_groups(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the row of each variant's worst group on each test split, of its lowest seed.

    Raises:
        ValueError: the metric has no rows of groups.
    """
    of_groups = (table["group"] != "") & (table["metric"] == metric) & (table["status"] == "ok")
    rows = _placed(table[of_groups & ~_of_copies(table)])
    if rows.empty:
        raise ValueError(f"no rows of {metric!r} by group")
    ordered = rows.sort_values("value", ascending=higher_is_better(metric) is not False)
    worst = _pooled_first(ordered).drop_duplicates(_SAME)
    return worst.sort_values("place", key=lambda c: c.map(PLACES.index), kind="stable")


class Unmeasured(ValueError):
    """What a figure shows was asked for and could not be measured; `reasons` are sentences."""

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = reasons


def select(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the measured rows of a metric on whole test splits.

    Raises:
        Unmeasured: none of its rows could be measured.
        ValueError: it has no rows; the metrics that are there are named.
    """
    rows = whole_splits(table)
    good = rows[rows["status"] == "ok"]
    if metric in set(rows["metric"]) - set(good["metric"]):
        raise Unmeasured(f"No {words(metric)} was measured.", unmeasured(table, [metric]))
    if metric not in set(good["metric"]):
        present = ", ".join(sorted(set(good["metric"]))) or "nothing"
        raise ValueError(f"no measured rows of the metric {metric!r}; the table has {present}")
    return good[good["metric"] == metric]


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a cell: pooled over seeds where that is there, else of the lowest seed."""
    first = _pooled_first(rows).drop_duplicates(_SAME)
    return rows.loc[first.index.sort_values()] if len(rows) else rows


def _pooled_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows by seed, those over all seeds first, else in their order."""

    def numbers(seeds: pd.Series) -> pd.Series:
        return seeds.map(lambda seed: -1 if seed == "all" else int(seed))

    return rows.sort_values("seed", key=numbers, kind="stable")


def barred(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose intervals are drawn: the pooled one of a cell, else each seed's."""
    own = rows[rows["ci_low"].notna()]
    together = own["seed"] == "all"
    cells = own.set_index(_SAME).index
    return own[together | ~cells.isin(cells[together])]


def scaled(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Returns rows of one metric in a unit that reads well, and the unit's name."""
    unit = str(rows["unit"].iloc[0])
    largest = float(rows["value"].abs().max())
    scales = _SCALES.get(unit, ((1, unit),))
    factor, name = next((s for s in scales if largest >= s[0]), scales[-1])
    return rows.assign(**{column: rows[column] / factor for column in _NUMBERS}), name


def differing(conditions: Iterable[str]) -> dict[str, str]:
    """Returns for each condition the parts in which the conditions differ, as text."""
    parts = {text: parse_condition(text) for text in dict.fromkeys(conditions)}
    keys = sorted({key for one in parts.values() for key in one})
    vary = [key for key in keys if len({str(one.get(key)) for one in parts.values()}) > 1]
    return {
        text: " ".join(f"{key}={one[key]}" for key in vary if key in one)
        for text, one in parts.items()
    }


def panel_names(rows: pd.DataFrame) -> pd.Series:
    """Returns each row's split, with its task where there are several."""
    several = rows["task"].nunique() > 1
    return rows["task"] + ": " + rows["split"] if several else rows["split"]


def panels(rows: pd.DataFrame) -> dict[str, str]:
    """Returns the splits, with their task where there are several, and their places."""
    return dict(zip(panel_names(rows), rows["place"], strict=True))


def apart(rows: pd.DataFrame) -> list[str]:
    """Returns for each row of one metric what tells it from others beside variant and split."""
    conditions = differing(rows["condition"])
    several = rows["baseline"].nunique() > 1
    return [
        f"{conditions[text]} {f'vs {base}' if several and base else ''}".strip()
        for text, base in zip(rows["condition"], rows["baseline"], strict=True)
    ]


def unmeasured(table: pd.DataFrame, metrics: Sequence[str] = ()) -> list[str]:
    """Returns a sentence for each reason why numbers are not there: which, and why.

    Args:
        table: rows.
        metrics: those of interest; empty for all.
    """
    rows = whole_splits(table)
    rows = rows[rows["status"] != "ok"]
    if metrics:
        rows = rows[rows["metric"].isin(metrics)]
    sentences = []
    for note, found in rows.groupby("note", sort=False):
        variants, splits, names = (_few(found[name]) for name in ("variant", "split", "metric"))
        what = ("" if len(metrics) == 1 else f"{names} of ") + variants
        what += f" on {splits}" if splits else ""
        reason = textwrap.shorten(str(note), 200, placeholder=" ...").rstrip(".")
        sentences.append(f"Not measured: {what}, because {reason}.")
    return sentences


def _few(values: pd.Series, most: int = 4) -> str:
    names = [str(value) for value in dict.fromkeys(values) if value]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
