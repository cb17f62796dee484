"""The row: one measured value, in long format, and the tables made of rows.

The columns stand here once. A table is validated whenever it is written or read, so that a number
by hand, a lost column or a doubled row is found where it happens, with its column, row and rule.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kit.spec.checking import MOST_WHOLE, shown, suggest, tidy, unboxed, unseen
from kit.store.store import write_text

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import TypeAdapter

KEY = (
    *("study", "variant", "architecture", "schemes", "runtime", "seed"),
    *("task", "split", "group", "condition", "metric", "baseline"),
)
NUMBERS = ("value", "ci_low", "ci_high", "p_value", "p_adjusted", "mde")
COUNTS = ("n", "machine")
COLUMNS = (
    *KEY,
    *("value", "unit", "ci_low", "ci_high", "interval", "n", "p_value", "p_adjusted", "mde"),
    *("status", "note", "run_id", "machine"),
)
STATUSES = ("ok", "undefined", "error")
INTERVALS = ("", "items", "clusters", "seeds", "wordings", "launches")
# what spreadsheets take for a formula, its full-width forms included (OWASP, CSV injection)
_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_ESCAPED = re.compile(f"'{_FORMULA.pattern}")


def row(**fields: Any) -> dict[str, Any]:
    """Returns a row with every column, in plain Python types; what is not given is empty.

    Raises:
        ValueError: a field that is no column.
    """
    unknown = [name for name in fields if name not in COLUMNS]
    if unknown:
        raise ValueError(suggest(unknown[0], COLUMNS, "column"))
    made: dict[str, Any] = {}
    for name in COLUMNS:
        value = fields.get(name)
        if name in NUMBERS:
            made[name] = math.nan if value is None else float(value)
        elif name in COUNTS:
            made[name] = None if value is None else int(value)
        else:
            made[name] = tidy(str("" if value is None else value))
    made["status"] = made["status"] or "ok"
    return made


def condition(**parts: Any) -> str:
    """Returns the canonical text of a condition: `batch_size=32;length=128`, sorted by key.

    Raises:
        ValueError: a key or value that the text could not hold.
    """
    for key, value in parts.items():
        text = str(value)
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or re.search("[;=]", text) or tidy(text) != text:
            given = shown(f"{key}={text}")
            raise ValueError(f"condition {given}: keys are words, values hold no ; or = or break")
    return ";".join(f"{key}={parts[key]}" for key in sorted(parts) if parts[key] is not None)


def parse_condition(text: str) -> dict[str, Any]:
    """Returns the parts of a condition; whole and decimal numbers as numbers."""
    parts: dict[str, Any] = {}
    for part in text.split(";") if text else ():
        key, mark, value = part.partition("=")
        if not mark:
            raise ValueError(f"condition {shown(text)}: expected key=value parts joined by ;")
        parts[key] = value
        for number in (float, int):
            with contextlib.suppress(ValueError):
                parts[key] = number(value)
    return parts


def _is_canonical(text: str) -> bool:
    try:
        return condition(**dict(part.split("=") for part in text.split(";") if text)) == text
    except (ValueError, TypeError):
        return False


Rule = tuple[str, str, "Callable[[pd.DataFrame], pd.Series]"]
_RULES: list[Rule] = [
    ("status", f"is one of {', '.join(STATUSES)}", lambda f: f.status.isin(STATUSES)),
    ("interval", "is empty or " + ", ".join(INTERVALS[1:]), lambda f: f.interval.isin(INTERVALS)),
    ("variant", "is not empty", lambda f: f.variant != ""),
    ("metric", "is not empty", lambda f: f.metric != ""),
    ("seed", "is a whole number or 'all'", lambda f: f.seed.str.fullmatch("[0-9]{1,19}|all")),
    ("condition", "is key=value;... sorted by key", lambda f: f.condition.map(_is_canonical)),
    (
        "value",
        "is a finite number where status is ok, empty elsewhere",
        lambda f: (f.status == "ok") == (f.value.abs() < math.inf),
    ),
    (
        "note",
        "gives the reason where status is not ok",
        lambda f: (f.status == "ok") | (f.note != ""),
    ),
    ("ci_low", "is not above ci_high", lambda f: ~(f.ci_low > f.ci_high)),
    ("ci_high", "is there where ci_low is", lambda f: f.ci_low.isna() == f.ci_high.isna()),
    (
        "interval",
        "names what the interval is over",
        lambda f: f.ci_low.isna() == (f.interval == ""),
    ),
    ("n", "is a count", lambda f: f.n.isna() | (f.n >= 0)),
    ("p_value", "is in 0..1", lambda f: f.p_value.isna() | f.p_value.between(0, 1)),
    ("p_adjusted", "is in 0..1", lambda f: f.p_adjusted.isna() | f.p_adjusted.between(0, 1)),
    ("/".join(KEY), "is unique", lambda f: ~f.duplicated(list(KEY))),
]


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with its columns in order and typed.

    Raises:
        ValueError: names the column, the row (1 is the first) and the rule that does not hold.
    """
    given = list(frame.columns)
    for name in [*COLUMNS, *given]:
        if name not in COLUMNS or given.count(name) != 1:
            problem = "is no column of a table" if name not in COLUMNS else "is there several times"
            problem = "is missing" if name not in given else problem
            raise ValueError(
                f"column {shown(name)} {problem}; the columns are {', '.join(COLUMNS)}"
            )
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    for name in COLUMNS:
        frame[name] = _typed(frame[name])
    for column, rule, holds in _RULES:
        broken = ~holds(frame).astype(bool).to_numpy()
        if broken.any():
            at = int(broken.argmax())
            found = " ".join(str(frame[name].iloc[at]) for name in column.split("/")).strip()
            raise _broken(column, at, rule, found)
    return frame


def _typed(column: pd.Series) -> pd.Series:
    """Returns a column as text, as numbers or as whole numbers."""
    import pandas as pd
    from pydantic import ValidationError

    kind = "float64" if column.name in NUMBERS else "Int64" if column.name in COUNTS else "str"
    if kind != "str":
        try:
            cells: list[Any] = _reader(kind).validate_python(column.tolist())
        except ValidationError as error:
            first, what = error.errors()[0], "number" if kind == "float64" else "whole number"
            at = int(first["loc"][0])
            raise _broken(column.name, at, f"is a {what}", column.iloc[at]) from None
    else:
        cells = [str(cell) for cell in column]
        for text in dict.fromkeys(cells):
            if mark := unseen(text):
                rule = f"is one line of text without {mark}"
                raise _broken(column.name, cells.index(text), rule, text)
    return pd.Series(cells, index=column.index, dtype=kind, name=column.name)


@functools.cache
def _reader(kind: str) -> TypeAdapter[Any]:
    """Returns what reads a column of numbers: an empty cell is None."""
    from pydantic import BeforeValidator, Field, TypeAdapter

    whole = Annotated[int, Field(ge=-MOST_WHOLE, le=MOST_WHOLE)]
    number: Any = float if kind == "float64" else whole
    return TypeAdapter(list[Annotated[number | None, BeforeValidator(_filled)]])


def _filled(cell: Any) -> Any:
    import pandas as pd

    return None if pd.api.types.is_scalar(cell) and (pd.isna(cell) or cell == "") else unboxed(cell)


def _broken(column: object, at: int, rule: str, found: object) -> ValueError:
    return ValueError(
        f"column {column!r}, row {at + 1}: the rule is that it {rule}; found {shown(found)}"
    )


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns a validated table of rows."""
    import pandas as pd

    return validate(pd.DataFrame(list(rows), columns=list(COLUMNS)))


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV: validated, sorted by key, six significant digits, whole or not at all.

    A cell that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    frame = validate(frame).sort_values(list(KEY), kind="stable")
    for name in COLUMNS:
        if name in NUMBERS:
            frame[name] = frame[name].map(lambda x: "" if math.isnan(x) else f"{x:.6g}")
        elif name not in COUNTS:
            frame[name] = frame[name].map(lambda text: f"'{text}" if _FORMULA.match(text) else text)
    write_text(Path(path), frame.to_csv(index=False, lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """Reads and validates a table.

    Raises:
        ValueError: the file breaks a rule; the file, column, row and rule are named.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # without index_col, rows with more cells than the head would shift all columns
            frame = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8", index_col=False
            )
        for name in set(frame.columns) - {*NUMBERS, *COUNTS}:
            frame[name] = frame[name].map(lambda text: text[1:] if _ESCAPED.match(text) else text)
            frame[name] = frame[name].astype(str)
        return validate(frame)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start + 1} is not UTF-8; save the table as UTF-8"
        ) from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path}: its rows have more cells than its head has names") from None
    except ValueError as error:  # pandas' parser errors are ValueErrors too
        raise ValueError(f"{path}: {error}") from None
