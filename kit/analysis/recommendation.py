"""What to deploy and why, as a paragraph, in a frame, or as a small table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kit import display
from kit.analysis.inferiority import Judgement, amount
from kit.analysis.rows import records

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recommendation:
    """What to deploy, and why; `str()` is the paragraph.

    Attributes:
        verdict: `pick`, `keep` (the baseline) or `undecided`.
        choice: the variant to deploy now; the baseline unless the verdict is `pick`.
        text: the paragraph.
        details: the table of `non_inferior`, with each variant's `gain` (times cheaper).
    """

    verdict: Literal["pick", "keep", "undecided"]
    choice: str
    text: str
    details: pd.DataFrame

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return display.as_text(display.panel(self._title(), self.text))

    def _repr_html_(self) -> str:
        colour = {"pick": "#0173B2", "keep": "#6B6B6B", "undecided": "#DE8F05"}[self.verdict]
        return (
            f'<div style="border-left:5px solid {colour};padding-left:1em;max-width:60em">'
            f"<b>{display.escaped(self._title())}</b><p>{display.escaped(self.text)}</p>"
            f"{display.html_table(*_at_a_glance(self.details))}</div>"
        )

    def _title(self) -> str:
        return (
            f"Undecided: keep {self.choice} for now"
            if self.verdict == "undecided"
            else (f"{self.verdict.capitalize()} {self.choice}")
        )


def _at_a_glance(details: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Returns head and lines of a table: what each variant gains, and may lose on each split."""
    rows = [Judgement(**row) for row in records(details.drop(columns="gain")) if not row["group"]]
    gains = dict(zip(details["variant"], details["gain"], strict=True))
    splits = list(dict.fromkeys(row.split for row in rows))
    lines = []
    for name, gain in gains.items():
        cells = {row.split: _cell(row) for row in rows if row.variant == name}
        factor = "" if math.isnan(gain) else f"{gain:.2g}"
        lines.append([name, factor, *(cells.get(split, "") for split in splits)])
    return ["loses", "times cheaper", *splits], lines


def _cell(row: Judgement) -> str:
    if not row.n:
        return "not measured"
    if row.verdict == "fail":
        return f"too much: {amount(-row.change, row.unit)}"
    bound = "nothing" if row.worst >= 0 else f"at most {amount(-row.worst, row.unit)}"
    return bound if row.verdict == "pass" else f"unknown, {bound}"
