"""The row: one measured value, in long format, and the tables made of rows.

The columns stand here once. A table is validated whenever it is written or read, so that a number
by hand, a lost column or a doubled row is found where it happens, with its column, row and rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.spec import suggest
from kit.store import project_root, write_text

if TYPE_CHECKING:
    import pandas as pd

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
_FORMULA = re.compile(r"^'*[=+\-@\t\r]")


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
            made[name] = " ".join(str("" if value is None else value).split())
    made["status"] = made["status"] or "ok"
    return made


def condition(**parts: Any) -> str:
    """Returns the canonical text of a condition: `batch_size=32;length=128`, sorted by key.

    Raises:
        ValueError: a key or value that the text could not hold.
    """
    for key, value in parts.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or re.search(r"[;=\n]", str(value)):
            raise ValueError(f"condition {key}={value!r}: keys are words, values hold no ; or =")
    return ";".join(f"{key}={parts[key]}" for key in sorted(parts) if parts[key] is not None)


def parse_condition(text: str) -> dict[str, Any]:
    """Returns the parts of a condition; whole and decimal numbers as numbers."""
    parts: dict[str, Any] = {}
    for part in text.split(";") if text else ():
        key, mark, value = part.partition("=")
        if not mark:
            raise ValueError(f"condition {text!r}: expected key=value parts joined by ;")
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
    ("seed", "is a whole number or 'all'", lambda f: f.seed.str.fullmatch(r"\d+|all")),
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

    for name in [*(set(COLUMNS) - set(frame.columns)), *(set(frame.columns) - set(COLUMNS))]:
        problem = "is missing" if name in COLUMNS else "is no column of a table"
        raise ValueError(f"column {name!r} {problem}; the columns are {', '.join(COLUMNS)}")
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    typed = {name: "float64" for name in NUMBERS} | {name: "Int64" for name in COUNTS}
    for name in COLUMNS:
        frame[name] = (
            _numbers(frame[name], typed[name]) if name in typed else frame[name].astype(str)
        )
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
        raise ValueError(
            f"column {column!r}, row {at + 1}: the rule is that it {text}; found {found!r}"
        ) from None
    return frame


def _numbers(column: pd.Series, dtype: str) -> pd.Series:
    import pandas as pd

    blank = column.isna() | (column.astype(str) == "")
    numbers = pd.to_numeric(column.where(~blank), errors="coerce").astype("float64")
    wrong = numbers.isna() & ~blank
    if dtype == "Int64":
        wrong |= numbers.notna() & (numbers % 1 != 0)
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        kind = "a whole number" if dtype == "Int64" else "a number"
        raise ValueError(
            f"column {column.name!r}, row {at + 1}: the rule is that it is {kind}; "
            f"found {column.iloc[at]!r}"
        )
    return numbers.astype("Int64") if dtype == "Int64" else numbers


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
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        for name in set(frame.columns) - {*NUMBERS, *COUNTS}:
            frame[name] = frame[name].map(lambda text: text[1:] if _FORMULA.match(text) else text)
            frame[name] = frame[name].astype(str)
        return validate(frame)
    except ValueError as error:  # pandas' parser and decoder errors are ValueErrors too
        raise ValueError(f"{path}: {error}") from None


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
    import pandas as pd

    folder = project_root() / "results" if results is None else Path(results)
    known = [p.stem for p in sorted(folder.glob("*.csv")) if not p.stem.endswith(".machines")]
    fits = [name] if name in known else [stem for stem in known if name and stem.startswith(name)]
    if len(fits) != 1:
        raise FileNotFoundError(f"{folder}: {suggest(name, known, 'table')}")
    frame = read_table(folder / f"{fits[0]}.csv")
    parts = pd.DataFrame([parse_condition(text) for text in frame.condition], index=frame.index)
    parts = parts.rename(columns=lambda key: f"condition_{key}" if key in COLUMNS else key)
    frame = pd.concat([frame, parts], axis=1)
    frame["higher_is_better"] = [_direction(metric) for metric in frame.metric]
    frame["shift"] = [_shift(*names) for names in zip(frame.task, frame.split, strict=True)]
    frame["simulated"] = [_simulated(schemes) for schemes in frame.schemes]
    return frame


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


def _simulated(schemes: str) -> bool | None:
    from kit import registry

    aliases = registry.schemes.aliases()
    names = [part.partition("(")[0] for part in schemes.split("+") if part != "fp32"]
    refs = [aliases[name].name if name in aliases else name for name in names]
    found = [_trait("schemes", name, "simulated") for name in refs]
    return None if None in found else any(found)
