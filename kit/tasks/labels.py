"""Labels of a table: what kind of task they make, their names, and which rows have none."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from kit.spec.checking import MOST_WHOLE, SpecError, shown, tidy, unboxed
from kit.tasks.content import is_list, missing

Plain: TypeAlias = bool | int | str
MARKER = -1
"""What benchmarks write where a label is withheld."""
READ_AS_MISSING = (
    "pandas and datasets read empty cells and words such as NA, N/A, None, null and nan as "
    "missing: where they are labels, read the file with pandas.read_csv(path, "
    "keep_default_na=False) and give that table"
)


class Labelled(NamedTuple):
    """Labels that were read.

    Attributes:
        names: of the classes, in the order of their numbers; empty for a regression.
        values: source -> a value a row: a class's number, 0 or 1 for each name, or a number; None
            where the row has no label.
    """

    names: tuple[str, ...]
    values: dict[str, list[Any]]


class Columns(NamedTuple):
    """The cells that hold labels.

    Attributes:
        task: its name, for messages, and that of the source whose labels give the order.
        names: the columns.
        cells: source -> a list of cells a column.
        where: source -> how messages about it begin.
        classes: names of the classes in the order of their numbers, where a data set says them.
    """

    task: str
    names: tuple[Any, ...]
    cells: Mapping[str, list[list[Any]]]
    where: Mapping[str, str]
    classes: list[str] | None

    def single(self) -> dict[str, list[Any]]:
        """Returns the cells of the only column."""
        return {source: columns[0] for source, columns in self.cells.items()}


def read_classes(
    given: Columns, labels: Sequence[Any] | None, no_label: Sequence[Any] | None
) -> Labelled:
    """Reads one column of classes: booleans, whole numbers or strings.

    Their order is that of `labels`, else as the data set says, else sorted.

    Raises:
        SpecError: a cell that is no class, a label that is none of `labels`, or fewer than two.
    """
    cells = given.single()
    plain = {source: [*_plain_cells(column)] for source, column in cells.items()}
    wanted = given.classes if labels is None else labels
    out = unlabelled(given.task, plain[given.task], wanted, no_label)
    kept = {
        source: [None if value in out else value for value in column]
        for source, column in plain.items()
    }
    order = order_of(given.task, kept[given.task], wanted)
    values = {
        source: [None if value is None else place_of(given.where[source], value, order)
                 for value in column]
        for source, column in kept.items()
    }  # fmt: skip
    return Labelled(label_names(given.task, order), values)


def unlabelled(
    task: str,
    values: Iterable[Plain | None],
    labels: Sequence[Any] | None,
    no_label: Sequence[Any] | None,
) -> set[Plain]:
    """Returns the labels that stand for no label, told by the labels of the task itself.

    They are those that are stated. Where none is, -1 is one, but for three cases in which it is a
    class: `labels` names it, another label is negative too, or the labels are just -1 and 1. Where
    they are -1, 0 and 1 it might be either, so that taking it for no label warns.

    Raises:
        SpecError: a label is stated to be one and none.
    """
    named = {value for value in map(plain, labels or ()) if value is not None}
    if no_label is not None:
        stated = {value for value in map(plain, no_label) if value is not None}
        if both := sorted(stated & named, key=_sorting):
            raise SpecError(f"task {task}: {shown(both[0])} is in labels and in no_label")
        return stated
    found = {value for value in values if isinstance(value, int) and not isinstance(value, bool)}
    rest = found - {MARKER}
    if MARKER in named or min(rest, default=0) < 0 or found == {MARKER, 1}:
        return set()
    if found == {MARKER, 0, 1} and labels is None:
        warnings.warn(
            f"task {task}: the labels are -1, 0 and 1, and -1 is taken for no label; where it is "
            "a class give labels=[-1, 0, 1], where it is not no_label=[-1]",
            stacklevel=4,
        )
    return {MARKER}


def plain(value: Any) -> Plain | None:
    """Returns a label as a boolean, a whole number or a string; None where it is missing.

    Letters and accents are composed (Unicode's NFC): names that look the same are the same.

    Raises:
        SpecError: it is something else.
    """
    value = unboxed(value)
    if missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) <= MOST_WHOLE):
        return value
    hint = "; numbers with kind='regression'" if isinstance(value, float) else ""
    raise SpecError(
        f"label {shown(value)} is a {type(value).__name__}; expected booleans, whole numbers or "
        f"strings{hint}"
    )


def _plain_cells(cells: Iterable[Any]) -> Iterator[Plain | None]:
    for cell in cells:
        if is_list(cell):
            raise SpecError(
                f"label {shown(cell)} is a list and other rows have a single label; "
                "expected a list in each (several labels), or in none"
            )
        yield plain(cell)


def _sorting(value: Plain) -> tuple[bool, Plain]:
    """Sorts numbers before texts."""
    return isinstance(value, str), value


def order_of(
    task: str, given: Sequence[Plain | None], wanted: Sequence[Any] | None
) -> dict[Plain, int]:
    """Returns the place of each label among the model's outputs.

    They are `wanted`, in their order, or else those that the rows are `given`, sorted.

    Raises:
        SpecError: labels that repeat, or fewer than two.
    """
    values = given if wanted is None else [*map(plain, wanted)]
    found = list(dict.fromkeys(value for value in values if value is not None))
    if wanted is None:
        found.sort(key=_sorting)
    elif len(found) != len(wanted):
        raise SpecError(f"task {task}: labels={shown(list(wanted))} repeats one or leaves one out")
    if len(found) < 2:
        without = sum(value is None for value in given)
        lost = f". {without} of {len(given)} rows have no label: {READ_AS_MISSING}"
        raise SpecError(
            f"task {task} has the labels {shown(found)}; a classification needs two or more, "
            f"of which `labels=` may name some that no row has{lost if without else ''}"
        )
    return {value: place for place, value in enumerate(found)}


def place_of(where: str, value: Plain, order: Mapping[Plain, int]) -> int:
    """Returns a label's place.

    Raises:
        SpecError: it is not among those of the task.
    """
    if value not in order:
        known = {str(each): place for each, place in order.items()}
        raise SpecError(
            f"{where}: label {shown(value)} is none of {shown(known)}; "
            "give `labels=` with all of them, or `no_label=` where it stands for none"
        )
    return order[value]


def label_names(task: str, order: Iterable[Plain]) -> tuple[str, ...]:
    """Returns how labels read in a table.

    Raises:
        SpecError: one is the empty text, or two read the same.
    """
    names = tuple(tidy(str(value)) for value in order)
    if not all(names):
        raise SpecError(f"task {task}: a label is the empty text; name it, or take its rows out")
    if len(set(names)) < len(names):
        raise SpecError(f"task {task}: its labels read the same in a table: {shown(names)}")
    return names
