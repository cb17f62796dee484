"""What to deploy and why, as a paragraph, in a frame, or as a small table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kit.analysis.rows import records
from kit.report import display
from kit.report.verdict.inferiority import Judgement, amount, rounded
from kit.store.results import parse_condition

if TYPE_CHECKING:
    import pandas as pd


OBJECTIVES = {
    "latency": ("speedup", "times as fast as"),
    "memory": ("peak_bytes", "times smaller in memory than"),
    "disk": ("disk_bytes", "times smaller on disk than"),
}


class Gain(NamedTuple):
    """How many times cheaper, its interval, and whether that is shown."""

    factor: float = math.nan
    low: float = math.nan
    high: float = math.nan
    shown: bool = False


class Flips(NamedTuple):
    """Items that a variant has right, or wrong, in the judged batches and not in these."""

    variant: str
    batch_size: Any
    task: str
    split: str
    items: float
    n: int


@dataclass(frozen=True)
class Words:
    """Turns numbers into the sentences of the paragraph."""

    objective: str
    at: str
    metric: str
    baseline: str
    flips: list[Flips]
    unknown: dict[str, str]
    sizes: Mapping[str, int]
    """Items of `task split`, where they are known."""
    worded: Mapping[str, str]
    """What other wordings do to the order of a variant and the baseline, where they were asked."""

    def gain(self, gain: Gain) -> str:
        place = f" at {self.at}" if self.objective == "latency" else ""
        text = f"{gain.factor:.2g} {OBJECTIVES[self.objective][1]} {self.baseline}{place}"
        return text if math.isnan(gain.low) else f"{text} (95%: {gain.low:.3g} to {gain.high:.3g})"

    def limit(self, row: Judgement) -> str:
        lost = "nothing" if row.worst >= 0 else f"at most {amount(-row.worst, row.unit)}"
        return f"{lost} on {part_of(row)} ({row.n:,} items)"

    def deciding(self, doubts: Sequence[Judgement]) -> str:
        """Says what would decide: so many items, a measurement, or nothing that helps."""
        lost = [part_of(row) for row in doubts if not row.n]
        near = [part_of(row) for row in doubts if row.n and row.needed <= row.n]
        if lost:
            return f"Undecided until it is measured on {', '.join(lost)}"
        if near:
            return (
                f"Undecided, and more items would hardly help: on {', '.join(near)} it lies too "
                "near the margin"
            )
        needs = []
        for row in doubts:
            size = self.sizes.get(f"{row.task} {row.split}") if not row.group else None
            of = f" of its {size:,}" if size else ""
            needs.append(
                f"about {rounded(row.needed):,} items on {part_of(row)} ({row.n:,}{of} are judged)"
            )
        return f"Undecided: {' and '.join(needs)} would decide it, if nothing is lost"

    def besides(self, name: str) -> str:
        """Says what else is to be known: the wording of questions, and what shares a batch."""
        worded = self.worded.get(name)
        told = f" Asked in other words, {worded}." if worded else ""
        return told + self._batch(name)

    def _batch(self, name: str) -> str:
        """Says how a variant's answers depend on the batch; at the size recommended, if any is."""
        size = parse_condition(self.at).get("batch_size") if self.objective == "latency" else None
        mine = [f for f in self.flips if f.variant == name and size in (None, f.batch_size)]
        if not mine:
            return ""
        worst = max(mine, key=lambda flips: flips.items / flips.n)
        return (
            f" Its answers depend on the batch: at batch_size={worst.batch_size}, "
            f"{worst.items:.0f} of {worst.n:,} items on {worst.split} are right or wrong otherwise "
            "than in the batches that were judged."
        )


def part_of(row: Judgement) -> str:
    """Returns what a judgement is about: a split, or a group of it."""
    return f"{row.split}, {row.group}" if row.group else row.split


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
