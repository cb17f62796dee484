"""Questions whose answers a language model writes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from kit.spec.register_measures import register_task
from kit.tasks.prepare import Prepared, prepare
from kit.tasks.quizzes import read_rows
from kit.tasks.templates import Template

written = partial(register_task, kind="generation", version=1, assets=("benchmarks",))
LINE = (40, 120)
"""Characters that a line to copy has."""


def _prepared(name: str, rows: Iterable[dict[str, Any]]) -> Prepared:
    import pandas as pd

    made = [*rows]
    sound = [row for row in made if row["label"] and all(each.strip() for each in row["label"])]
    lost = {name: {"unsound": len(made) - len(sound)}}
    return prepare({name: pd.DataFrame(sound)}, validation=0.0, test=0.9, dropped=lost)


@written(template=Template("Q: {question}?\nA:", longest=16))
def nq_open() -> Prepared:
    """What people ask a search engine, without a text to find it in (Lee et al. 2019)."""
    rows = read_rows("NQ-open/combined.jsonl")
    return _prepared("nq_open", ({"text": r["question"], "label": r["answer"]} for r in rows))


@written(template=Template("{passage}\nQuestion: {question}?\nAnswer:", longest=4))
def boolq_written() -> Prepared:
    """BoolQ's questions, whose yes or no is written; questions on one passage stay together."""

    def asked() -> Iterable[dict[str, Any]]:
        for row in read_rows("BoolQ/combined.jsonl"):
            if "label" in row:
                said = ["yes" if row["label"] else "no"]
                yield {"text": row["passage"], "text_pair": row["question"], "label": said}

    return _prepared("boolq_written", asked())


@written(template=Template("Copy the line.\n\nLine: {question}\nCopy:", longest=48))
def copying() -> Prepared:
    """The first line of a piece of news (XSum), to be copied: what is right is beyond doubt."""

    def lines() -> Iterable[dict[str, Any]]:
        for row in read_rows("XSum/test.jsonl"):
            line = row["document"].strip().partition("\n")[0].strip()
            if LINE[0] <= len(line) <= LINE[1]:
                yield {"text": line, "label": [line]}

    return _prepared("copying", lines())
