"""Questions with answers on offer, put as lm-evaluation-harness puts them.

Its answer key says which is right. Rows that cannot be read, or whose key names none of their
answers, are left out and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kit.spec.register_measures import register_task
from kit.tasks.prepare import Prepared, prepare
from kit.tasks.templates import TEMPLATES, Template

LINE = re.compile(r"(?:^|\n)\s*([A-Z])\. ")
UNKNOWN = (
    *(
        "Can't answer",
        "Cannot answer",
        "Can't be determined",
        "Cannot be determined",
        "Undetermined",
    ),
    *("Not enough info", "Not enough information", "Not known", "Not answerable", "Unknown"),
)
"""How BBQ says that a passage does not tell."""
quiz = partial(register_task, kind="choices", version=1, assets=("benchmarks",))
Row = Mapping[str, Any]


def read_rows(*names: str) -> Iterator[Row]:
    """Yields the lines of files of the benchmarks."""
    from kit.assets import assets

    folder = assets.path("benchmarks")
    for name in names:
        with (folder / name).open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.strip())


def _lettered(row: Row) -> tuple[list[str], list[int]]:
    """Returns the answers of a row with lettered options, and the place of its key."""
    pieces = LINE.split(row["options"].strip("\n"))
    letters, offer = pieces[1::2], [piece.strip() for piece in pieces[2::2]]
    if pieces[0].strip() or letters != [chr(65 + k) for k in range(len(offer))]:
        raise ValueError("options that are no lettered lines")
    key = row["answer"][0] if isinstance(row["answer"], list) else row["answer"]
    said = LINE.sub("", key).strip()
    right = [place for place, each in enumerate(offer) if each == said]
    if len(set(offer)) < len(offer) or len(offer) < 2 or "" in offer or len(right) != 1:
        raise ValueError("answers that are not told apart, or a key that is none of them")
    return offer, right


def _prepared(
    name: str,
    rows: Iterator[Row],
    read: Callable[[Row], tuple[list[str], list[int]]] = _lettered,
    **columns: Callable[[Row], Any],
) -> Prepared:
    """Returns the splits of a quiz: a tenth to take examples from, the rest to test on.

    Args:
        name: of the task.
        rows: as they are.
        read: gives a row's answers and the places of the right ones; raises ValueError.
        **columns: beside the answers: `passage`, `question` where it is not as it stands, groups.
    """
    import pandas as pd

    made, unsound = [], 0
    for row in rows:
        try:
            offer, right = read(row)
        except (ValueError, KeyError, AttributeError, TypeError):
            unsound += 1
            continue
        about = {key: find(row) for key, find in columns.items()}
        passage = about.pop("passage", None)
        asked = about.pop("question", row["question"].strip())
        texts = {"text": asked} if passage is None else {"text": passage, "text_pair": asked}
        made.append({**texts, "choices": offer, "label": right, **about})
    frame = pd.DataFrame(made)
    return prepare({name: frame}, validation=0.0, test=0.9, dropped={name: {"unsound": unsound}})


def _passage(row: Row) -> str:
    return str(row["passage"]).strip()


@quiz(template=TEMPLATES["question"])
def piqa() -> Prepared:
    """Which of two ways does it? Everyday physics (Bisk et al. 2020), its validation part."""
    return _prepared("piqa", read_rows("PIQA/validation.jsonl"))


@quiz(template=TEMPLATES["plain"])
def openbookqa() -> Prepared:
    """Elementary science, four answers (Mihaylov et al. 2018)."""
    return _prepared("openbookqa", read_rows("OpenBookQA/test.jsonl"))


@quiz(template=Template("{passage}\nQuestion: {question}?\nAnswer:"))
def boolq() -> Prepared:
    """Yes or no, by a passage of Wikipedia (Clark et al. 2019); questions on one stay together."""

    def read(row: Row) -> tuple[list[str], list[int]]:
        return ["no", "yes"], [int(row["label"])]

    return _prepared("boolq", read_rows("BoolQ/combined.jsonl"), read, passage=_passage)


@quiz(template=TEMPLATES["letters"])
def commonsense_qa() -> Prepared:
    """Common sense, five answers, asked for by letter (Talmor et al. 2019), its validation part."""
    return _prepared("commonsense_qa", read_rows("CommonsenseQA/validation.jsonl"))


@quiz(template=Template("Q: {passage} {question}\nA:"))
def siqa() -> Prepared:
    """What people do, want and feel, three answers (Sap et al. 2019)."""
    return _prepared("siqa", read_rows("SIQA/test.jsonl"), passage=_passage)


@quiz(template=Template("{question}\n{options}\nAnswer:", "letter"))
def mmlu() -> Prepared:
    """Exams of 57 subjects, four answers, asked for by letter (Hendrycks et al. 2021)."""
    return _prepared("mmlu", read_rows("MMLU/test.jsonl"))


@quiz(template=Template("Passage: {passage}\nQuestion: {question}\nChoices:\n{options}\nAnswer:"))
def logiqa() -> Prepared:
    """Logic in a civil servant's exam, four answers (Liu et al. 2020)."""
    return _prepared("logiqa", read_rows("LogiQA/test.jsonl"), passage=_passage)


@quiz(
    template=Template("{passage}\nQuestion: {question}\n{options}\nAnswer:", "letter"),
    groups=("context",),
)
def bbq() -> Prepared:
    """Who of two did it, or cannot it be told? (BBQ, Parrish et al. 2022.)

    Group `context`: `ambiguous`, where the passage does not say, or `clear`, where it does.
    """

    def context(row: Row) -> str:
        return "ambiguous" if row["answer"][0].strip() in UNKNOWN else "clear"

    def asked(row: Row) -> str:
        return str(row["question"]).partition("\n")[0].strip()

    return _prepared(
        "bbq", read_rows("BBQ/test.jsonl"), passage=_passage, question=asked, context=context
    )


@quiz(template=Template("Abstract: {passage}\nQuestion: {question}\nAnswer:"))
def pubmed_qa() -> Prepared:
    """Yes, no or maybe, by the abstract of a paper (Jin et al. 2019), labelled by experts."""

    def read(row: Row) -> tuple[list[str], list[int]]:
        offer = ["yes", "no", "maybe"]
        return offer, [offer.index(str(row["answer"]).strip().lower())]

    def passage(row: Row) -> str:
        parts = re.split(r"Context \(\d+\): ", row["passage"])
        return "\n".join(part.strip() for part in parts if part.strip())

    return _prepared("pubmed_qa", read_rows("PubMedQA/pqal/test.jsonl"), read, passage=passage)
