"""What the label columns of a table ask for: a class, any number of labels, or a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit.spec.checking import SpecError, shown, suggest, unboxed
from kit.tasks.content import is_list, missing
from kit.tasks.labels import (
    MARKER,
    READ_AS_MISSING,
    Columns,
    Labelled,
    Plain,
    label_names,
    order_of,
    place_of,
    plain,
    read_classes,
    unlabelled,
)

KINDS = ("classification", "multi_label", "regression")


def read_labels(
    given: Columns,
    kind: str | None,
    labels: Sequence[Any] | None,
    no_label: Sequence[Any] | None,
) -> tuple[str, Labelled]:
    """Returns the kind of task that label columns make, and the labels.

    Args:
        given: the columns.
        kind: asked for; several columns or lists in one make `multi_label` where it is not given,
            anything else `classification`.
        labels: the classes in their order.
        no_label: what stands for no label.

    Raises:
        SpecError: no such kind, or labels that do not make it.
    """
    if kind is not None and not (isinstance(kind, str) and kind in KINDS):
        raise SpecError(suggest(kind, KINDS, f"kind of labelled task for {given.task}"))
    _refuse_unsupported(given)
    several = len(given.names) > 1
    lists = any(is_list(cell) for columns in given.cells.values() for cell in columns[0])
    made = kind or ("multi_label" if several or lists else "classification")
    if made == "multi_label" and not several and not lists:
        raise SpecError(
            f"task {given.task}: column {given.names[0]!r} holds a label a row; a multi_label task "
            "takes lists of labels, or several columns of 0 and 1"
        )
    if made != "multi_label" and (several or lists):
        what = f"{len(given.names)} columns" if several else "lists"
        raise SpecError(f"task {given.task}: the labels are {what}; a {made} takes one a row")
    if made == "regression":
        return made, read_numbers(given, labels, no_label)
    if made == "classification":
        return made, read_classes(given, labels, no_label)
    read = read_indicators if several else read_lists
    return made, read(given, labels, no_label)


def _refuse_unsupported(given: Columns) -> None:
    """Refuses what other kinds of task have as labels, in a sentence that says so.

    Raises:
        SpecError: spans of a text, or a tag for each of its tokens.
    """
    for source, columns in given.cells.items():
        for cell in (cell for column in columns for cell in column if cell is not None):
            if isinstance(cell, Mapping):
                spans = "answer_start" in cell
                raise SpecError(
                    f"{given.where[source]}: label {shown(cell)} is a mapping; "
                    + (
                        "question answering with spans of the text is not supported"
                        if spans
                        else "expected a label, a list of labels or a number"
                    )
                )


def read_indicators(
    given: Columns, labels: Sequence[Any] | None, no_label: Sequence[Any] | None
) -> Labelled:
    """Reads several columns of 0 and 1, a label each; their names are the labels.

    A row without a value in one of them has no label.

    Raises:
        SpecError: another value, or `labels` that are not the columns.
    """
    if labels is not None and list(labels) != list(given.names):
        raise SpecError(
            f"task {given.task}: labels={shown(list(labels))}; several label columns name the "
            f"labels in the order in which `label` gives them: {shown(list(given.names))}"
        )
    out = {MARKER} if no_label is None else unlabelled(given.task, (), None, no_label)
    names = label_names(given.task, (str(plain(name)) for name in given.names))
    values: dict[str, list[Any]] = {}
    for source, columns in given.cells.items():
        marks = [
            [_mark(f"{given.where[source]}: column {name!r}", cell, out) for cell in column]
            for name, column in zip(given.names, columns, strict=True)
        ]
        rows = [list(row) for row in zip(*marks, strict=True)]
        values[source] = [None if None in row else row for row in rows]
    return Labelled(names, values)


def _mark(where: str, cell: Any, out: Iterable[Plain]) -> int | None:
    """Returns 0 or 1, or None for no label."""
    value = None if is_list(cell) else plain(cell)
    if is_list(cell) or (value not in (0, 1, None) and value not in out):
        raise SpecError(f"{where} holds {shown(cell)}; expected 0 or 1, where it is one of several")
    return None if value is None or value in out else int(value)


def read_lists(
    given: Columns, labels: Sequence[Any] | None, no_label: Sequence[Any] | None
) -> Labelled:
    """Reads one column of lists: of the labels that an item has, or of 0 and 1 for each label.

    An empty list is an item that has none of the labels. Lists of one length that hold nothing but
    0 and 1 are taken for the second; the labels are `labels` then, or their places.

    Raises:
        SpecError: a cell that is no list, a list that repeats a label, as a tag for each token
            does, or a label that is none of `labels`.
    """
    rows = {
        source: [_members(given.where[source], cell) for cell in column]
        for source, column in given.single().items()
    }
    full = [row for column in rows.values() for row in column if row is not None]
    wanted = given.classes if labels is None else labels
    if given.classes is None and _are_marks(full):
        names = range(len(full[0])) if labels is None else labels
        order = order_of(given.task, (), [*map(str, names)] if labels is None else names)
        if len(order) != len(full[0]):
            raise SpecError(
                f"task {given.task}: labels={shown(list(names))} names {len(order)} labels; "
                f"the lists have {len(full[0])} marks"
            )
        marks = {source: [row and [*map(int, row)] for row in column]
                 for source, column in rows.items()}  # fmt: skip
        return Labelled(label_names(given.task, order), marks)
    out = set() if no_label is None else unlabelled(given.task, (), wanted, no_label)
    flat = [value for row in rows[given.task] if row is not None for value in row]
    order = order_of(given.task, [value for value in flat if value not in out], wanted)
    values = {
        source: [_marked(given.where[source], row, order, out) for row in column]
        for source, column in rows.items()
    }
    return Labelled(label_names(given.task, order), values)


def _members(where: str, cell: Any) -> list[Any] | None:
    """Returns the labels in a cell; None where it, or one in it, is missing."""
    if missing(cell):
        return None
    if not is_list(cell):
        raise SpecError(f"{where}: label {shown(cell)}; expected a list, as in other rows")
    if any(is_list(member) for member in cell):
        raise SpecError(f"{where}: label {shown(cell)} holds lists; expected a list of labels")
    found = [plain(member) for member in cell]
    return None if None in found else found


def _are_marks(rows: Sequence[Sequence[Any]]) -> bool:
    """Says whether lists hold 0 or 1 for each label: one length of two or more, nothing else."""
    sizes = set(map(len, rows))
    return len(sizes) == 1 and min(sizes) > 1 and all(set(row) <= {0, 1} for row in rows)


def _marked(
    where: str, row: Sequence[Any] | None, order: Mapping[Plain, int], out: set[Plain]
) -> Any:
    """Returns 0 or 1 for each label, or None where the row has none at all."""
    if row is None or any(value in out for value in row):
        return None
    if len(set(row)) < len(row):
        raise SpecError(
            f"{where}: label {shown(list(row))} repeats a label; expected each once. A tag for "
            "each token (token classification) is not supported"
        )
    places = {place_of(where, value, order) for value in row}
    return [int(place in places) for place in range(len(order))]


def read_numbers(
    given: Columns, labels: Sequence[Any] | None, no_label: Sequence[Any] | None
) -> Labelled:
    """Reads one column of numbers.

    Raises:
        SpecError: a cell that is no finite number, no number at all, or `labels`.
    """
    if labels is not None:
        raise SpecError(f"task {given.task}: a regression has numbers; leave labels out")
    stated = [unboxed(value) for value in no_label or ()]
    values = {
        source: [_number(given.where[source], cell, stated) for cell in column]
        for source, column in given.single().items()
    }
    if all(value is None for value in values[given.task]):
        raise SpecError(f"task {given.task}: no row has a number. {READ_AS_MISSING}")
    return Labelled((), values)


def _number(where: str, cell: Any, no_label: Sequence[Any]) -> float | None:
    value = unboxed(cell)
    if missing(value) or any(value == stated for stated in no_label):
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or abs(value) > 1e300 or not math.isfinite(value):
        raise SpecError(
            f"{where}: label {shown(cell)} is a {type(value).__name__}; "
            "expected finite numbers for a regression"
        )
    return float(value)
