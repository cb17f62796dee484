"""Tables from elsewhere: a frame, a data set of `datasets`, or `hf:` and its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.spec.checking import SpecError, reason, shown
from kit.tasks.content import is_list

if TYPE_CHECKING:
    import datasets
    import pandas as pd

PREFIX = "hf:"
READABLE = (".csv", ".tsv", ".json", ".jsonl")
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""How a file begins, and its encoding."""


class Table(NamedTuple):
    """A table as a frame, and the names of each class column in the order of their numbers."""

    frame: pd.DataFrame
    classes: dict[str, list[str]]


def read_table(where: str, given: Any) -> Table:
    """Returns a table of any of the kinds that are taken.

    Columns of classes, or of lists of them, hold their names then, and nothing where a data set
    says -1 for no label.

    Args:
        where: names it in messages.
        given: a DataFrame; a `datasets.Dataset`; a `DatasetDict`, whose parts are pooled; `hf:`
            and an id of the hub, or a folder of CSV, JSON or Parquet files or that `save_to_disk`
            wrote.

    Raises:
        SpecError: it is something else, cannot be read, or its parts have different columns.
    """
    import datasets
    import pandas as pd

    if isinstance(given, str) and given.startswith(PREFIX):
        given = _read(where, given.removeprefix(PREFIX))
    if isinstance(given, pd.DataFrame):
        return Table(given, {})
    if isinstance(given, datasets.DatasetDict):
        try:
            given = datasets.concatenate_datasets([*given.values()])
        except Exception as error:  # the library raises what it meets
            raise SpecError(f"{where}: its parts do not go together: {reason(error)}") from error
    if not isinstance(given, datasets.Dataset):
        file = isinstance(given, str) and given.casefold().endswith(READABLE)
        hint = ". Read the file with pandas, or give its folder as 'hf:./folder'" if file else ""
        raise SpecError(
            f"{where} is a {type(given).__name__}; expected a pandas DataFrame, a data set of "
            f"`datasets`, or 'hf:' and its name{hint}"
        )
    frame, classes = given.to_pandas(), {}
    for column, feature in given.features.items():
        inner = getattr(feature, "feature", feature)  # of lists, what they hold
        if isinstance(inner, datasets.ClassLabel) and inner.names:
            classes[column] = list(inner.names)
            known = dict(enumerate(inner.names))
            frame[column] = [_named(cell, known) for cell in frame[column]]
    return Table(frame, classes)


def _named(cell: Any, known: Mapping[int, str]) -> Any:
    """Returns the name of a class number, or those of a list; None where it is none."""
    return [known.get(number) for number in cell] if is_list(cell) else known.get(cell)


def _read(where: str, source: str) -> datasets.Dataset | datasets.DatasetDict:
    """Returns a data set from a folder, or from the hub."""
    import datasets

    try:
        if not source:  # as a path it would be this very folder, with all that is in it
            raise ValueError("there is no name")
        folder = Path(source).expanduser()
        if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder) if folder.is_dir() else source)
    except Exception as error:  # no such folder, no network, no such id, a broken file
        if source and folder.is_dir() and (fault := _not_utf8(folder)):
            raise SpecError(f"{where}: {shown(source)}: {fault}") from error
        raise SpecError(
            f"{where}: {shown(source)} could not be read: {reason(error)}. Where the hub is not "
            "reached, save the data elsewhere with save_to_disk and give that: hf:./folder"
        ) from error


def _not_utf8(folder: Path) -> str:
    """Returns what is wrong with the first file of a folder that is not UTF-8; empty if none is."""
    for path in sorted(path for path in folder.rglob("*") if path.name.endswith(READABLE)):
        content = path.read_bytes()
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            encoding = MARKS.get(content[:2], "latin-1")
            row = content.count(b"\n", 0, error.start) + 1
            return (
                f"{path.name} is not UTF-8: byte 0x{content[error.start]:02x} at offset "
                f"{error.start}, row {row}. Read it in its encoding and give that table, for "
                f"instance pandas.read_csv({path.name!r}, encoding={encoding!r})"
            )
    return ""
