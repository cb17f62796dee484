"""Your own questions with answers on offer, from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    Left out, and counted by `kit.tasks.describe(ref)["dropped"]`, are rows whose answers are no two
    different texts or of which none is marked as right, copies, and questions whose copies have
    another answer. The training part is what examples are taken from (`shots=5`).

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
    check_name(name, "the name of a task")
    far, groups = listed(name, "far", far), group_columns(name, groups)
    own = TEMPLATES.get(template, template) if isinstance(template, str) else template
    texts = text_columns(name, question if passage is None else (passage, question))
    columns = {**texts, **({} if cluster is None else {"cluster": cluster})}
    sources = {name: frame, **shift_tables(name, shifts, far)}
    known, lost = {}, {}
    for source, rows in sources.items():
        where = f"task {name}, frame {source!r}"
        table = read_table(where, rows).frame
        kept = chosen(where, table, columns, groups)
        known[source], lost[source] = _with_answers(where, table, kept, choices, answer)
    prepared = prepare(known, validation=validation, test=test, dropped=lost)
    about = {"kind": "choices", "labels": (), "groups": groups}
    return registered(name, prepared, far, **about, template=checked_template(name, own))


def _with_answers(
    where: str, table: pd.DataFrame, rows: pd.DataFrame, choices: Any, answer: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the rows whose answers can be read, with them, and how many were left out."""
    several = not isinstance(choices, str)
    columns = cells_of(where, table, [choices] if not several else choices)
    offers = list(zip(*columns, strict=True)) if several else columns[0]
    (answers,) = cells_of(where, table, [answer])
    made = []
    for offer, right in zip(offers, answers, strict=True):
        try:
            made.append(_read(where, offer, right))
        except SpecError:
            made.append(None)
    if made and not any(made):  # all of them: the columns are others than were meant
        _read(where, offers[0], answers[0])
    there = [each is not None for each in made]
    kept = [each for each in made if each is not None]
    rows = rows[there].assign(
        choices=[list(offer) for offer, _ in kept], label=[list(right) for _, right in kept]
    )
    return rows, {"unsound": there.count(False)}


def _read(where: str, offer: Any, right: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the answers of a row, and the places of those that are right."""
    if not is_list(offer):
        raise SpecError(f"{where}: {shown(offer)} for choices; expected a list of answers")
    texts = tuple(clean(each)[0] for each in offer if not missing(each))
    marked = [unboxed(each) for each in right] if is_list(right) else [unboxed(right)]
    places = tuple(sorted({_place(where, texts, each) for each in marked}))
    check_choices(where, texts, places)
    return texts, places


def _place(where: str, texts: Sequence[str], right: Any) -> int:
    """Returns which answer is meant by its text, letter or place."""
    if isinstance(right, int) and not isinstance(right, bool):
        return right
    said = right.strip() if isinstance(right, str) else str(right)
    if said in texts:
        return texts.index(said)
    letters = ascii_uppercase[: len(texts)]
    if len(said) == 1 and said.upper() in letters:
        return letters.index(said.upper())
    raise SpecError(f"{where}: {suggest(said, [*texts, *letters], 'answer')}")
