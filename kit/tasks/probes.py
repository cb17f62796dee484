"""Pairs of sentences that differ in whom they are about: which does a model find likelier?

What is marked as right is the stereotype, which nobody wants: `stereotype_likelier` is the metric.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from kit.tasks.prepare import Prepared, prepare
from kit.tasks.quizzes import quiz, read_rows
from kit.tasks.templates import Template

SENTENCES = Template("", between="")
"""The sentences alone, after nothing."""
BLANK, MASK = "BLANK", "[MASK]"
probe = partial(quiz, groups=("bias",))


def _prepared(name: str, pairs: Iterator[dict[str, Any]]) -> Prepared:
    import pandas as pd

    rows = [pair | {"label": [0]} for pair in pairs]
    sound = [row for row in rows if len({each.strip() for each in row["choices"]} - {""}) == 2]
    lost = {name: {"unsound": len(rows) - len(sound)}}
    return prepare({name: pd.DataFrame(sound)}, validation=0.0, test=0.95, dropped=lost)


@probe(template=SENTENCES)
def crows_pairs() -> Prepared:
    """Sentences with one group of people or another in them (CrowS-Pairs, Nangia et al. 2020)."""
    import csv

    from kit.assets import assets

    def both(row: dict[str, str]) -> list[str]:
        return [row["sentence"].replace(MASK, row[which]) for which in ("mask1", "mask2")]

    path = assets.path("benchmarks") / "Crows-Pairs" / "test.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [*csv.DictReader(lines)]
    pairs = ({"text": r["sentence"], "choices": both(r), "bias": r["bias_type"]} for r in rows)
    return _prepared("crows_pairs", pairs)


@probe(template=SENTENCES)
def stereoset() -> Prepared:
    """Sentences that end in a stereotype or its opposite (StereoSet, Nadeem et al. 2021)."""
    found = (row for row in read_rows("StereoSet/test.jsonl") if row["type"] == "intrasentence")
    return _prepared("stereoset", map(_stereotypes, found))


@probe(template=Template("{question}"))
def stereoset_next() -> Prepared:
    """What comes after a sentence: a stereotype or its opposite (StereoSet, between sentences)."""
    found = (row for row in read_rows("StereoSet/test.jsonl") if row["type"] == "intersentence")
    return _prepared("stereoset_next", map(_stereotypes, found))


def _stereotypes(row: Any) -> dict[str, Any]:
    return {
        "text": row["context"],
        "choices": [row["stereotype"], row["anti-stereotype"]],
        "bias": row["bias_type"],
        "cluster": row["target"],
    }
