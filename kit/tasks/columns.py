"""The columns of a table that a task is made of, and the arguments that name them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kit.spec.checking import SpecError, check_name, shown, suggest, tidy
from kit.tasks.content import clean, is_list

if TYPE_CHECKING:
    import pandas as pd

RESERVED = ("id", "text", "text_pair", "cluster", "label", "valence", "source")


def listed(name: str, argument: str, given: Any) -> tuple[Any, ...]:
    """Returns the members of a list; a single text is a list of one, but for `labels`.

    Raises:
        SpecError: it is no list, or has no order.
    """
    if isinstance(given, str) and argument != "labels":
        return (given,)
    ordered = isinstance(given, Iterable) and not isinstance(
        given, str | bytes | bytearray | Mapping | set | frozenset
    )
    if not ordered or getattr(given, "ndim", 1) != 1:
        raise SpecError(f"task {name}: {argument} is {shown(given)}; expected a list")
    return tuple(given)


def text_columns(name: str, text: Any) -> dict[str, Any]:
    """Returns the column of each text: one, or two where items are pairs.

    Raises:
        SpecError: more than two, or one twice.
    """
    given = listed(name, "text", text) if isinstance(text, list | tuple) else (text,)
    if len(given) not in (1, 2) or (len(given) == 2 and given[0] == given[1]):
        raise SpecError(
            f"task {name}: text={shown(text)} names {len(given)} columns; expected one, "
            "or two others for pairs of texts"
        )
    return dict(zip(("text", "text_pair"), given, strict=False))


def label_columns(name: str, label: Any) -> tuple[Any, ...]:
    """Returns the columns of labels: one, or several of 0 and 1.

    Raises:
        SpecError: a list of one, or one twice.
    """
    if not isinstance(label, list | tuple):
        return (label,)
    given = listed(name, "label", label)
    if len(given) < 2 or any(given.count(column) > 1 for column in given):
        raise SpecError(
            f"task {name}: label={shown(label)}; expected a column of labels, or a list of two or "
            "more columns of 0 and 1"
        )
    return given


def shift_tables(name: str, given: Any, far: Sequence[Any]) -> dict[str, Any]:
    """Returns the shifts; their names may not be confused with the splits of the task itself.

    Raises:
        SpecError: a name that is taken or unusable, or a far one that is not among them.
    """
    if given is not None and not isinstance(given, Mapping):
        raise SpecError(f"task {name}: shifts is {shown(given)}; expected name -> data")
    shifts = dict(given or {})
    taken = {name, "train", "validation", "test"}
    for shift in shifts:
        check_name(shift, f"task {name}: the name of a shift")
        if shift in taken or "/" in shift:
            raise SpecError(
                f"task {name}: a shift may not be called {shift!r}; "
                f"expected a name without '/', other than {sorted(taken)}"
            )
    for shift in far:
        if not isinstance(shift, str) or shift not in shifts:
            raise SpecError(f"far: {suggest(shift, shifts, f'shift of task {name}')}")
    return shifts


def group_columns(name: str, given: Any) -> tuple[str, ...]:
    """Returns the group columns.

    Raises:
        SpecError: a name that no table could hold, is there twice or is the kit's own.
    """
    groups = listed(name, "groups", given)
    for group in groups:
        check_name(group, f"task {name}: a group column")
        if group in RESERVED or groups.count(group) > 1:
            why = "is there twice" if groups.count(group) > 1 else "is a name of the kit's own"
            raise SpecError(
                f"task {name}: a group column may not be called {group!r}, which {why}; rename it"
            )
    return groups


def cells_of(where: str, frame: pd.DataFrame, columns: Iterable[Any]) -> list[list[Any]]:
    """Returns the cells of each column.

    Raises:
        SpecError: a column is not there, or there twice.
    """
    found = []
    for column in columns:
        if not isinstance(column, Hashable) or column not in frame:
            known = [str(known) for known in frame.columns]
            raise SpecError(f"{where}: {suggest(column, known, 'column')}")
        if frame[column].ndim != 1:
            raise SpecError(f"{where} has several columns called {column!r}; rename all but one")
        found.append(frame[column].astype(object).tolist())
    return found


def chosen(
    where: str, frame: pd.DataFrame, columns: Mapping[str, str], groups: Sequence[str]
) -> pd.DataFrame:
    """Returns the columns a task needs under the names it gives them: new name -> column.

    Groups keep their names; a value that is missing has a slice of its own, called nan.

    Raises:
        SpecError: as `cells_of`, no rows, or a cell that is no text.
    """
    import pandas as pd

    if not len(frame):
        raise SpecError(f"{where} has no rows")
    cells = dict(zip(columns, cells_of(where, frame, columns.values()), strict=True))
    slices = dict(zip(groups, cells_of(where, frame, groups), strict=True))
    try:
        for name, column in cells.items():
            for value in column:
                if name != "cluster" and is_list(value):
                    raise SpecError(
                        f"a cell of {columns[name]!r} holds {shown(value)}, a list; expected text. "
                        "Tokens with a tag each (token classification) are not supported"
                    )
                clean(value)
        slices = {
            group: [tidy(clean(value)[0]) or "nan" for value in column]
            for group, column in slices.items()
        }
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    objects = {name: pd.Series(column, dtype=object) for name, column in cells.items()}
    return pd.DataFrame({**objects, **slices})
