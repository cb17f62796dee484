"""The row: one measured value, in long format, and the tables made of rows.

The columns stand here once. A table is validated whenever it is written or read, so that a number
by hand, a lost column or a doubled row is found where it happens, with its column, row and rule.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.spec import suggest
from kit.store import project_root, write_text
from kit.values import MOST_WHOLE, shown, tidy, unseen

if TYPE_CHECKING:
    import pandas as pd

    from kit.spec import Ref

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
INTERVALS = ("", "items", "clusters", "seeds", "launches")
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


def corruption_parts(corruption: Ref | None) -> dict[str, Any]:
    """Returns what a corruption adds to the condition of a run's rows: its name and arguments."""
    return {} if corruption is None else {"corruption": corruption.name, **corruption.args}


def parse_condition(text: str) -> dict[str, Any]:
    """Returns the parts of a condition; whole and decimal numbers as numbers."""
    parts: dict[str, Any] = {}
    for part in text.split(";") if text else ():
        key, mark, value = part.partition("=")
        if not mark:
            raise ValueError(f"condition {shown(text)}: expected key=value parts joined by ;")
        parts[key] = value
        for number in (float, int):
            try:
                parts[key] = number(value)
            except ValueError:
                continue
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
    import pandera.pandas as pa

    given = list(frame.columns)
    for name in [*COLUMNS, *given]:
        if name not in COLUMNS or given.count(name) != 1:
            problem = "is no column of a table" if name not in COLUMNS else "is there several times"
            problem = "is missing" if name not in given else problem
            raise ValueError(
                f"column {shown(name)} {problem}; the columns are {', '.join(COLUMNS)}"
            )
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    typed = {name: "float64" for name in NUMBERS} | {name: "Int64" for name in COUNTS}
    for name in COLUMNS:
        make = _numbers if name in typed else _texts
        frame[name] = make(frame[name], typed.get(name, "str"))
    schema = pa.DataFrameSchema(
        {name: pa.Column(typed.get(name, "str"), nullable=name in typed) for name in COLUMNS},
        checks=[
            pa.Check(rule, error=f"{column}\n{text}", ignore_na=False)
            for column, text, rule in _RULES
        ],
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        column, _, text = str(case["check"]).partition("\n")
        at = int(case["index"])
        found = " ".join(str(frame[name].iloc[at]) for name in column.split("/")).strip()
        raise _broken(column, at, text, found) from None
    return frame


def _texts(column: pd.Series, dtype: str) -> pd.Series:
    import pandas as pd

    texts = [str(cell) for cell in column]
    for text in dict.fromkeys(texts):
        if unseen(text):
            rule = f"is one line of text without {unseen(text)}"
            raise _broken(column.name, texts.index(text), rule, text)
    return pd.Series(texts, index=column.index, dtype=dtype, name=column.name)


def _numbers(column: pd.Series, dtype: str) -> pd.Series:
    import pandas as pd

    cells = [
        None if _is_blank(cell) else cell if _is_number(cell) else "no number" for cell in column
    ]
    numbers = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").astype("float64")
    wrong = numbers.isna() & pd.Series(cell is not None for cell in cells)
    if dtype == "Int64":
        wrong |= numbers.notna() & ((numbers % 1 != 0) | (numbers.abs() >= 2**63))
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        rule = "is a whole number" if dtype == "Int64" else "is a number"
        raise _broken(column.name, at, rule, column.iloc[at])
    return numbers.astype("Int64") if dtype == "Int64" else numbers


def _is_blank(cell: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(cell) and (pd.isna(cell) or cell == ""))


def _is_number(cell: object) -> bool:
    """Says whether a cell may be read as a number: True and whole numbers of any size may not."""
    large = isinstance(cell, int) and abs(cell) > MOST_WHOLE
    return isinstance(cell, str | Real) and not isinstance(cell, bool) and not large


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


def table_path(name: str, folder: Path) -> Path:
    """Returns the CSV of a table; a beginning of its name that fits one table is enough.

    Raises:
        FileNotFoundError: no such table, or several.
    """
    known = [p.stem for p in sorted(folder.glob("*.csv")) if not p.stem.endswith(".machines")]
    fits = [name] if name in known else [stem for stem in known if name and stem.startswith(name)]
    if len(fits) != 1:
        raise FileNotFoundError(f"{folder}: {suggest(name, known, 'table')}")
    return folder / f"{fits[0]}.csv"


def read_machines(table: Path) -> pd.DataFrame:
    """Returns the machines of a table, as text; the index is the rows' `machine`."""
    import pandas as pd

    path = table.with_suffix(".machines.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "machine" not in frame:
        raise ValueError(f"{path}: column 'machine' is missing")
    return frame.set_index(frame.pop("machine").astype(int))


def expand(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns rows with a column for each part of their conditions, and the columns of `load`."""
    import pandas as pd

    parts = pd.DataFrame([parse_condition(text) for text in frame.condition], index=frame.index)
    taken = (*COLUMNS, "higher_is_better", "shift", "simulated")
    parts = parts.rename(columns=lambda key: f"condition_{key}" if key in taken else key)
    frame = pd.concat([frame, parts], axis=1)
    frame["higher_is_better"] = [_direction(metric) for metric in frame.metric]
    frame["shift"] = [_shift(*names) for names in zip(frame.task, frame.split, strict=True)]
    frame["simulated"] = [is_simulated(schemes) for schemes in frame.schemes]
    return frame


def load(name: str, results: Path | None = None) -> pd.DataFrame:
    """Returns a published table with a column for each part of its conditions and what is known.

    Joined columns: `higher_is_better` of the metric, `shift` of the split (`near`, `far`, empty in
    distribution), `simulated` schemes; missing where a name is not registered in this session.

    Args:
        name: of the table, such as `02_sentiment`; a beginning that fits one table is enough.
        results: folder of the tables; by default `results/` of the project.

    Raises:
        FileNotFoundError: no such table.
    """

    folder = project_root() / "results" if results is None else Path(results)
    return expand(read_table(table_path(name, folder)))


def _trait(kind: str, name: str, trait: str) -> Any:
    from kit import registry

    try:
        return registry.REGISTRIES[kind].get(name).traits.get(trait)
    except ValueError:  # not registered in this session
        return None


def _direction(metric: str) -> bool | None:
    if metric.startswith("flips_"):
        return metric == "flips_gained"
    better: bool | None = _trait("metrics", metric.removesuffix("_change"), "higher_is_better")
    return better


def _shift(task: str, split: str) -> str | None:
    shifts = _trait("tasks", task, "shifts")
    return None if shifts is None else shifts.get(split.removesuffix("/validation"), "")


def is_simulated(schemes: str) -> bool | None:
    """Says whether one of a row's schemes is simulated; None where one is not registered here."""
    from kit import registry

    aliases = registry.schemes.aliases()
    names = [part.partition("(")[0] for part in schemes.split("+") if part != "fp32"]
    refs = [aliases[name].name if name in aliases else name for name in names]
    found = [_trait("schemes", name, "simulated") for name in refs]
    return None if None in found else any(found)
