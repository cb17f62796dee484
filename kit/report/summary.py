"""The summary of a table: a row a variant, a column a metric, split and condition."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence

import pandas as pd

from kit.analysis.rows import records
from kit.report import display
from kit.report.tables import apart, scaled, whole_splits
from kit.report.wording import number, words
from kit.spec import registry
from kit.store.meaning import split_name

HEADLINES = (
    *("accuracy", "accuracy_change", "acc", "acc_norm", "acc_change", "acc_norm_change", "chance"),
    *("exact_match", "exact_match_change", "bits_per_byte", "bits_per_byte_change"),
    *("kl", "top1_agreement"),
    *("speedup", "latency", "cold_start_seconds"),
    *("peak_bytes", "disk_bytes", "weight_bytes", "bits_per_weight"),
    *("non_embedding_parameters", "state_bytes", "training_seconds"),
)
"""Metrics of a summary, in its order; a user's own metrics follow."""
WIDE = 12
"""Columns from which a table of few variants is turned: a row a number, a column a variant."""


_PLACE = ["task", "split"]


class Summary(pd.DataFrame):
    """A data frame of texts that fits where it is shown."""

    def turned(self) -> pd.DataFrame:
        """Returns the table as it reads best: turned where its columns are many."""
        if len(self.columns) > max(WIDE, 2 * len(self)):
            return self.T.rename_axis("measured")
        return self

    def __repr__(self) -> str:
        return "\n\n".join(display.as_text(display.table(*block)) for block in _blocks(self))

    __str__ = __repr__

    def _repr_html_(self) -> str:
        frame = self.turned()
        heads = [str(name).rpartition(": ") for name in frame.columns]
        split = any(metric for metric, _, _ in heads)
        metrics = [metric or name for metric, _, name in heads]
        spans = [(name, len(list(of))) for name, of in itertools.groupby(metrics)]
        above = "".join(f'<th colspan="{n}">{display.escaped(name)}</th>' for name, n in spans)
        below = "".join(f"<th>{display.escaped(name if m else '')}</th>" for m, _, name in heads)
        head = f"<tr><th></th>{above}</tr>" + (f"<tr><th></th>{below}</tr>" if split else "")
        lines = [
            f"<tr><th>{display.escaped(name)}</th>{''.join(map(_html_cell, cells))}</tr>"
            for name, cells in zip(frame.index, frame.to_numpy().tolist(), strict=True)
        ]
        return f"<table>{head}{''.join(lines)}</table>"


def _html_cell(text: object) -> str:
    """Returns a value and, smaller beside it, its interval or seeds."""
    value, space, rest = str(text).partition(" ")
    more = f" <small>{display.escaped(rest)}</small>" if space else ""
    return f'<td style="white-space:nowrap">{display.escaped(value)}{more}</td>'


def _blocks(frame: Summary) -> list[tuple[list[str], list[list[str]]]]:
    """Returns the table in parts that fit the width, each with the variants in front."""
    name_width = max([len("variant"), *(len(str(name)) for name in frame.index)]) + 2
    blocks: list[list[str]] = []
    room = 0
    for column in map(str, frame.columns):
        needed = _width(frame, column) + 2
        if not blocks or needed > room:
            blocks.append([])
            room = display.width() - name_width
        blocks[-1].append(column)
        room -= needed
    return [
        (
            ["variant", *(textwrap.fill(name, _width(frame, name)) for name in names)],
            [[str(v), *map(str, frame.loc[v, names])] for v in frame.index],
        )
        for names in blocks
    ]


def _width(frame: Summary, column: str) -> int:
    return max(map(len, [*frame[column].astype(str), *column.split()]))


def summary(table: pd.DataFrame, metrics: Sequence[str] | None = None) -> Summary:
    """Returns a compact table to read: a row a variant, a column a metric, split and condition.

    Cells are text: `value [low, high]`, or `mean (seed / seed)` where the seeds are too few for an
    interval; `undefined` or `error` where there is a reason instead of a number.

    Args:
        table: rows of `study.run()` or `kit.load`.
        metrics: shown in this order; by default the headline metrics and those of the user.
    """
    rows = whole_splits(table)
    present = list(dict.fromkeys(rows["metric"]))
    if metrics is None:
        known, counted = registry.metrics.names(), registry.counted(own=True)
        own = [
            name
            for name in present
            if name in counted or (name in known and not registry.metrics.get(name).in_kit)
        ]
        metrics = [name for name in (*HEADLINES, *own) if name in present] or present
    made = Summary(index=pd.Index(table["variant"].unique(), name="variant"))
    for metric in metrics:
        chosen = rows[rows["metric"] == metric]
        if len(chosen):
            chosen, unit = scaled(_spread(chosen))
            for label, column in chosen.groupby(_headings(chosen, unit), sort=False):
                cells = {name: _cell(cell) for name, cell in column.groupby("variant")}
                made[label] = [cells.get(name, "") for name in made.index]
    return made


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows of one metric with what failed as a whole in each condition that others have."""
    whole = (rows["status"] != "ok") & (rows["condition"] == "")
    cells = rows.loc[~whole & (rows["condition"] != ""), [*_PLACE, "condition", "baseline"]]
    failed = rows[whole].reset_index(names="failed").rename(columns={"baseline": "against"})
    made = failed.drop(columns="condition").merge(cells.drop_duplicates(), on=_PLACE)
    made = made[made["against"].isin([""]) | (made["against"] == made["baseline"])]
    kept = rows.drop(index=list(set(made["failed"])))
    both = pd.concat([kept, made[rows.columns]], ignore_index=True)
    return both.drop_duplicates(["variant", "seed", *_PLACE, "condition", "baseline"])


def _headings(rows: pd.DataFrame, unit: str) -> pd.Series:
    """Returns the column that each row of one metric belongs in."""
    tasks = rows["task"].nunique() > 1
    made = []
    for row, more in zip(records(rows), apart(rows), strict=True):
        name = words(row["metric"]) + (f" ({unit})" if unit not in ("", "share") else "")
        split = f"{row['task']} {row['split']}" if tasks and row["split"] else row["split"]
        split += f" ({row['place']})" if split and row["place"] else ""
        made.append(f"{name} {more}".strip() + (f": {split}" if split else ""))
    return pd.Series(made, index=rows.index, dtype=object)


def _cell(rows: pd.DataFrame) -> str:
    together = rows[rows["seed"] == "all"]
    if len(together) and len(rows) > len(together):
        each = " / ".join(number(value) for value in rows["value"][rows["seed"] != "all"])
        lone = together["ci_low"].isna().all() and (together["status"] == "ok").all()
        return _cell(together) + (f" ({each})" if lone else "")
    texts = []
    for row in records(rows):
        text = row["status"]
        if text == "ok":
            change = split_name(row["metric"])[1] == "change"
            sign = "+" if change and row["value"] > 0 else ""
            text = sign + number(row["value"])
            if not math.isnan(row["ci_low"]):
                text += f" [{number(row['ci_low'])}, {number(row['ci_high'])}]"
        texts.append(text)
    return " / ".join(dict.fromkeys(texts))
