"""Your own questions, with answers on offer or to be written, from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from kit.spec.checking import SpecError, check_name, shown, suggest, unboxed
from kit.spec.ref import Ref
from kit.tasks.columns import cells_of, chosen, group_columns, listed, shift_tables, text_columns
from kit.tasks.content import clean, is_list, missing
from kit.tasks.own import registered
from kit.tasks.prepare import prepare
from kit.tasks.sources import read_table
from kit.tasks.splits import check_choices
from kit.tasks.templates import TEMPLATES, Template, checked_template

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kit.tasks.own import Rows


def choices_from_frame(
    name: str,
    frame: Rows,
    *,
    question: str = "question",
    choices: str | Sequence[str] = "choices",
    answer: str = "answer",
    passage: str | None = None,
    template: str | Template = "question",
    groups: Sequence[str] = (),
    cluster: str | None = None,
    shifts: Mapping[str, Rows] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.0,
    test: float = 0.9,
) -> Ref:
    """Registers questions with answers on offer as a task for language models.

    Left out, said, and counted by `kit.tasks.describe(ref)["dropped"]`, are rows that lack two
    answers or have one twice, or of which none is marked as right; copies, and questions whose
    copies have another answer. The training part is what examples are taken from (`shots=5`).

    Args:
        name: of the task, for tables.
        frame: a row a question; as in `task_from_frame`.
        question: its column of questions.
        choices: its column of lists of answers, or several columns, an answer each.
        answer: its column of what is right: an answer's text, its letter (A is the first), its
            place (0 is the first), or a list of these.
        passage: column of a text that the question is about; questions on one passage stay
            together.
        template: how a question is put: one of `kit.tasks.templates.TEMPLATES`, or text such as
            `"{passage}\\nQuestion: {question}\\nAnswer:"`.
        groups, cluster, shifts, far: as in `task_from_frame`.
        validation, test: shares; the rest is for examples.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: a name that no table could hold, a column that is not there, a template without
            a question, or no question to test on.
    """
    read = partial(_with_answers, choices=choices, answer=answer)
    return _registered(
        name, frame, read, "choices", _template(name, template), question, passage,
        groups=groups, cluster=cluster, shifts=shifts, far=far, validation=validation, test=test,
    )  # fmt: skip


def generation_from_frame(
    name: str,
    frame: Rows,
    *,
    prompt: str = "prompt",
    answer: str = "answer",
    passage: str | None = None,
    template: str | Template = "question",
    stops: Sequence[str] = ("\n",),
    longest: int = 32,
    groups: Sequence[str] = (),
    cluster: str | None = None,
    shifts: Mapping[str, Rows] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.0,
    test: float = 0.9,
) -> Ref:
    """Registers prompts with right answers as a task for language models, which write theirs.

    Args:
        name: of the task, for tables.
        frame: a row a prompt; as in `task_from_frame`.
        prompt: its column of prompts or questions.
        answer: its column of right answers: a text, or a list of texts, each of which is right.
        passage: column of a text that the prompt is about; prompts on one passage stay together.
        template: as in `choices_from_frame`; `"{question}"` gives the prompt as it is.
        stops: texts that end an answer and are no part of it.
        longest: tokens that an answer may have.
        groups, cluster, shifts, far, validation, test: as in `choices_from_frame`.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: as `choices_from_frame`, or no answer where there should be one.
    """
    ending = (stops,) if isinstance(stops, str) else tuple(stops)
    own = _template(name, template)._replace(stops=ending, longest=longest)
    return _registered(
        name, frame, partial(_with_texts, answer=answer), "generation", own, prompt, passage,
        groups=groups, cluster=cluster, shifts=shifts, far=far, validation=validation, test=test,
    )  # fmt: skip


def _template(task: str, given: str | Template) -> Template:
    own = TEMPLATES.get(given, given) if isinstance(given, str) else given
    return checked_template(task, own)


def _registered(
    name: str,
    frame: Rows,
    read: Callable[[str, pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, dict[str, int]]],
    kind: str,
    template: Template,
    question: str,
    passage: str | None,
    *,
    groups: Sequence[str],
    cluster: str | None,
    shifts: Mapping[str, Rows] | None,
    far: Sequence[str],
    validation: float,
    test: float,
) -> Ref:
    """Registers the questions of a table, whose answers `read` puts beside the texts."""
    check_name(name, "the name of a task")
    far, groups = listed(name, "far", far), group_columns(name, groups)
    texts = text_columns(name, question if passage is None else (passage, question))
    columns = {**texts, **({} if cluster is None else {"cluster": cluster})}
    known, lost = {}, {}
    for source, rows in {name: frame, **shift_tables(name, shifts, far)}.items():
        where = f"task {name}, frame {source!r}"
        table = read_table(where, rows).frame
        known[source], lost[source] = read(where, table, chosen(where, table, columns, groups))
    prepared = prepare(known, validation=validation, test=test, dropped=lost)
    about: dict[str, Any] = {"kind": kind, "labels": (), "groups": groups}
    return registered(name, prepared, far, **about, template=template)


def _with_texts(
    where: str, table: pd.DataFrame, rows: pd.DataFrame, *, answer: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the rows that have a right answer, with all of theirs, and how many were left out."""
    (cells,) = cells_of(where, table, [answer])
    lists = [list(cell) if is_list(cell) else [cell] for cell in cells]
    said = [[clean(each)[0] for each in cell if not missing(each)] for cell in lists]
    there = [bool(each) and all(each) for each in said]
    kept = [each for each, sound in zip(said, there, strict=True) if sound]
    rows = rows[there].assign(label=_cells(kept))
    return rows, {"without_answer": there.count(False)}


def _cells(lists: Iterable[Iterable[Any]]) -> np.ndarray:
    """Returns lists as the cells of a column."""
    import pandas as pd

    return pd.Series([list(each) for each in lists], dtype=object).to_numpy()


def _with_answers(
    where: str, table: pd.DataFrame, rows: pd.DataFrame, *, choices: Any, answer: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the rows whose answers can be read, with them, and how many were left out."""
    several = not isinstance(choices, str)
    columns = cells_of(where, table, [choices] if not several else choices)
    offers = list(zip(*columns, strict=True)) if several else columns[0]
    (answers,) = cells_of(where, table, [answer])
    made: list[tuple[tuple[str, ...], tuple[int, ...]] | None] = []
    first: SpecError | None = None
    for row, (offer, right) in enumerate(zip(offers, answers, strict=True)):
        try:
            made.append(_read(f"{where}, row {row}", offer, right))
        except SpecError as error:
            first = first or error
            made.append(None)
    if first is not None:
        if not any(made):  # all of them: the columns are others than were meant
            raise first
        print(f"{made.count(None)} of {len(made)} questions are left out; the first: {first}")
    there = [each is not None for each in made]
    kept = [each for each in made if each is not None]
    offered, right_ones = (_cells(each[k] for each in kept) for k in (0, 1))
    rows = rows[there].assign(choices=offered, label=right_ones)
    return rows, {"unsound": there.count(False)}


def _read(where: str, offer: Any, right: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the answers of a row, and the places of those that are right."""
    if not is_list(offer):
        raise SpecError(
            f"{where}: {shown(offer)} for choices; expected a list of answers, or a column for "
            "each of them, choices=['a', 'b', 'c']"
        )
    texts = tuple(clean(each)[0] for each in offer if not missing(each))
    marked = [unboxed(each) for each in right] if is_list(right) else [unboxed(right)]
    places = tuple(sorted({_place(where, texts, each) for each in marked}))
    check_choices(where, texts, places)
    return texts, places


def _place(where: str, texts: Sequence[str], right: Any) -> int:
    """Returns which answer is meant by its text, letter or place.

    Where the answers themselves are numbers, a number is one of them and no place.
    """
    if isinstance(right, float) and right.is_integer():  # what a column with gaps makes of it
        right = int(right)
    said = right.strip() if isinstance(right, str) else str(right)
    if said in texts:
        return texts.index(said)
    number = isinstance(right, int) and not isinstance(right, bool)
    if number and not any(text.lstrip("+-").isdecimal() for text in texts):
        return int(right)
    letters = ascii_uppercase[: len(texts)]
    if len(said) == 1 and said.upper() in letters:
        return letters.index(said.upper())
    raise SpecError(f"{where}: {suggest(said, [*texts, *letters], 'answer')}")
