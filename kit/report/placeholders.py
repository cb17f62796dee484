"""Numbers in prose that come from rows: a placeholder says which row, `publish` fills it in.

One grammar: `TABLE METRIC key=value ... | FORMAT`, as in
`02_sentiment accuracy variant=minilm split=test | %`. Keys are key columns of a row or parts of its
condition; values with blanks are quoted. Where `group` is not given it is the whole split, where no
shift such as `corruption` is given the items as they are, where `seed` is not given it is the row
pooled over seeds, if there is one; a row that two studies share counts once. Exactly one row must
fit. Formats: `%` (86%), `%1` (86.2%), `number` (three digits), `ci` (2.3 [2.1, 2.5]) and `points`
(a share as percentage points, 1.4).

In Markdown: `<!--= 02_sentiment accuracy variant=minilm split=test | % -->86%<!--/-->`, and
`<!--= verdict 02_sentiment -->` for a page's whole verdict. In a verdict given to `publish`:
`{{accuracy variant=minilm split=test | %}}`, of the table that is published.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from kit.report.wording import number
from kit.spec.checking import SpecError, suggest
from kit.spec.roles import axes
from kit.store.results import KEY, parse_condition

_MARKDOWN = re.compile(r"<!--=\s*(.*?)\s*-->(.*?)<!--/-->", re.DOTALL)
_BRACES = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_SHOWN = 4  # values of a column that a message lists


def _with_interval(row: Mapping[str, Any]) -> str:
    text = number(row["value"])
    if math.isnan(row["ci_low"]):
        return text
    return f"{text} [{number(row['ci_low'])}, {number(row['ci_high'])}]"


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "%": lambda row: f"{row['value']:.0%}",
    "%1": lambda row: f"{row['value']:.1%}",
    "number": lambda row: number(row["value"]),
    "ci": _with_interval,
    "points": lambda row: f"{100 * row['value']:.1f}",
}


def placeholder(metric: str, form: str = "%", **keys: Any) -> str:
    """Returns the placeholder of a row, for a verdict.

    Args:
        metric: of the row.
        form: one of `FORMATS`.
        **keys: key columns, or parts of the condition.
    """
    words = [shlex.quote(f"{key}={value}") for key, value in keys.items()]
    return "{{" + " ".join([metric, *words, "|", form]) + "}}"


def fill_verdict(text: str, table: pd.DataFrame) -> str:
    """Returns a verdict with each `{{...}}` replaced by its number.

    Raises:
        SpecError: a placeholder that is not understood, or that not exactly one row fits.
    """

    def filled(match: re.Match[str]) -> str:
        words, form = _parsed(match[1])
        return _number(match[1], table, words, form)

    return _BRACES.sub(filled, text)


def fill_markdown(text: str, name: str, table: pd.DataFrame, verdict: str) -> str:
    """Returns Markdown with the placeholders of one table filled; those of others stay.

    Args:
        text: Markdown.
        name: of the table, such as `02_sentiment`.
        table: its rows.
        verdict: of its page, as Markdown.

    Raises:
        SpecError: a placeholder that is not understood, or that not exactly one row fits.
    """

    def filled(match: re.Match[str]) -> str:
        if match[1].split() == ["verdict", name]:
            quoted = "\n".join(f"> {line}".rstrip() for line in verdict.splitlines())
            new = f"\n{quoted}\n"
        elif match[1].split()[:1] == [name]:
            words, form = _parsed(match[1])
            new = _number(match[1], table, words[1:], form)
        else:
            return match[0]
        start, end = match.start(2) - match.start(), match.end(2) - match.start()
        return match[0][:start] + new + match[0][end:]

    return _MARKDOWN.sub(filled, text)


def names_in(text: str) -> set[str]:
    """Returns the tables that a Markdown text takes numbers or a verdict from."""
    found = [match[1].split() for match in _MARKDOWN.finditer(text)]
    return {words[1] if words[0] == "verdict" else words[0] for words in found if len(words) > 1}


def without(text: str) -> str:
    """Returns a text without its placeholders and what they were filled with."""
    return _BRACES.sub("", _MARKDOWN.sub("", text))


def _parsed(text: str) -> tuple[list[str], str]:
    """Returns the words before the mark, and the format."""
    left, mark, form = text.rpartition("|")
    form = form.strip()
    if not mark:
        raise SpecError(f"placeholder {text!r}: expected `METRIC key=value ... | FORMAT`")
    if form not in FORMATS:
        raise SpecError(f"placeholder {text!r}: {suggest(form, FORMATS, 'format')}")
    try:
        return shlex.split(left), form
    except ValueError as error:
        raise SpecError(f"placeholder {text!r}: {error}; quote values as in a shell") from None


def _number(text: str, table: pd.DataFrame, words: list[str], form: str) -> str:
    row = _row(f"placeholder {text!r}", table, words)
    return FORMATS[form](row) if row["status"] == "ok" else str(row["status"])


def _row(where: str, table: pd.DataFrame, words: list[str]) -> Mapping[str, Any]:
    """Returns the one row that a metric and `key=value` words mean."""
    bare = [word for word in words if "=" not in word]
    if len(bare) != 1:
        raise SpecError(f"{where}: expected one metric, got {' '.join(bare) or 'none'}")
    rows = table[table["metric"] == bare[0]]
    if rows.empty:
        raise SpecError(f"{where}: {suggest(bare[0], set(table['metric']), 'metric')}")
    given = dict(word.split("=", 1) for word in words if "=" in word)
    parts = pd.DataFrame([parse_condition(c) for c in rows["condition"]], index=rows.index)
    columns = pd.concat([rows[list(KEY)], parts[[c for c in parts if c not in KEY]]], axis=1)
    if "group" not in given:
        columns = columns[columns["group"] == ""]
    for axis in axes() & set(columns):
        if not {axis, "condition"} & set(given):
            columns = columns[columns[axis].isna()]
    for key, value in given.items():
        if key not in columns:
            raise SpecError(f"{where}: {suggest(key, map(str, columns), 'key')}")
        texts = columns[key].map(_text)
        if value not in set(texts):
            so_far = "" if len(columns) == len(rows) else " among the rows that fit the rest"
            raise SpecError(f"{where}: {suggest(value, set(texts), key)}{so_far}")
        columns = columns[texts == value]
    if "seed" not in given and (columns["seed"] == "all").any():
        columns = columns[columns["seed"] == "all"]
    fits = rows.loc[columns.index]
    same = [name for name in (*KEY[1:], "value", "ci_low", "ci_high") if name in fits]
    fits = fits.drop_duplicates(same)
    if len(fits) != 1:
        left = columns.loc[fits.index]
        differ = [
            f"{key} ({_few(left[key])})" for key in left if left[key].map(_text).nunique() > 1
        ]
        raise SpecError(f"{where}: {len(fits)} rows fit; they differ in {', '.join(differ)}")
    found: dict[str, Any] = {str(key): value for key, value in fits.iloc[0].items()}
    # as it is written, so that a page and the README round alike
    return found | {name: float(f"{found[name]:.6g}") for name in ("value", "ci_low", "ci_high")}


def _text(value: Any) -> str:
    """Returns a key's value as one writes it; a part that a row does not have is empty."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)


def _few(values: pd.Series) -> str:
    texts = list(dict.fromkeys(map(_text, values)))
    return ", ".join(texts[:_SHOWN]) + (", ..." if len(texts) > _SHOWN else "")
