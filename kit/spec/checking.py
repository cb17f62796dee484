"""Wrong values and names: each is checked once, where it enters, and refused in one sentence.

Names and arguments come from notebooks, files and other people's data. They end in hashes, tables,
pages and figures.
"""

from __future__ import annotations

import difflib
import json
import re
import reprlib
import textwrap
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_WHOLE = 2**63 - 1
"""The largest whole number that torch, numpy and tables all hold."""
MOST_NAME = 200
"""Characters of a name in a table."""

# control and format characters (marks that turn the writing direction among them), half surrogates,
# line and paragraph ends; not `str.isprintable`: a table must not depend on a Python's Unicode
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # of letters and of emoji

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's names of one mistake
_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\",;()]+/)+([^\s/:'\",;()]+)")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120
_repr.maxlevel = 3
_repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = _repr.maxdict = 12


class SpecError(ValueError):
    """A mistake in what was asked for: a name, a value or a combination."""


class StoreError(OSError):
    """What was to be kept cannot be written: the disk is full or read-only, or not ours.

    No run's failure: it stops the study, and what was finished before stays.
    """


class Undefined(Exception):
    """A number that cannot be had here; it becomes an `undefined` row with this reason."""


def shown(value: object) -> str:
    """Returns a value as Python writes it, shortened: messages show values of any size and depth.

    What cannot be written (its own `repr` fails) is shown as its type.
    """
    try:
        text = _repr.repr(value)
        return text if isinstance(value, str) else " ".join(text.split())
    except Exception:  # a repr of somebody else may raise anything
        return f"a value of type {type(value).__name__}"


def reason(error: BaseException) -> str:
    """Returns what a library says of a failure on one line, shortened; its class where nothing."""
    said = textwrap.shorten(tidy(str(error)), 300, placeholder=" ...")
    return said.rstrip(".") or type(error).__name__


def refusal(error: ValidationError, what: str, known: Iterable[str] = ()) -> SpecError:
    """Returns the first thing that pydantic found as a sentence with the value in it.

    Args:
        error: what pydantic raised.
        what: was checked, such as `scheme round`.
        known: names of its arguments.
    """
    errors = error.errors(include_url=False)
    first = next((each for each in errors if each["type"] in _UNKNOWN), errors[0])
    where = ".".join(map(str, first["loc"]))
    if first["type"] in _UNKNOWN:
        return SpecError(f"{what}: {suggest(where, known, 'argument')}")
    if isinstance(own := first.get("ctx", {}).get("error"), SpecError):
        return own
    given = "nothing" if first["type"].startswith("missing") else shown(first["input"])
    expected = first["msg"].removeprefix("Value error, ")
    return SpecError(f"{what}: {where} is {given}; {expected}")


def checked(kind: Any, value: object, otherwise: str) -> Any:
    """Returns a value of the type that an annotation says, as pydantic makes it.

    Args:
        kind: the annotation, such as `Annotated[int, Field(strict=True, ge=1)]`.
        value: to check.
        otherwise: the message, such as `limit=-1: expected a whole number of at least 1`.

    Raises:
        SpecError: it is something else.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        raise SpecError(otherwise) from None


def pathless(text: str) -> str:
    """Returns a text with the last part alone of each absolute path: tables and pages show none."""
    return _PATH.sub(r"\1", text)


def suggest(name: object, choices: Iterable[str], what: str) -> str:
    """Returns one sentence that names an unknown value, the nearest valid one and the list."""
    known = sorted(choices)
    comparable = isinstance(name, str) and len(name) <= MOST_NAME
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5) if comparable else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = f"There are: {', '.join(known)}" if known else "There is none"
    return f"unknown {what} {shown(name)}.{hint} {listed}"


def _seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN or character in _JOINERS


def tidy(text: str) -> str:
    """Returns text on one line, single-spaced, with U+FFFD for what is not seen or not UTF-8."""
    if not text.isprintable():
        text = "".join(c if _seen(c) or c.isspace() else "\ufffd" for c in text)
    return " ".join(text.split())


def unseen(text: str) -> str:
    """Returns the first character that is not seen or breaks the line, as `U+202E`; '' if none."""
    if text.isprintable():
        return ""
    return next((f"U+{ord(character):04X}" for character in text if not _seen(character)), "")


def check_text(text: object, what: str) -> str:
    """Returns a text on one line that can be seen.

    Args:
        text: to check.
        what: names it in the message.

    Raises:
        SpecError: it is no text, empty, or holds control characters, half surrogates or marks that
            turn the writing direction.
    """
    if not isinstance(text, str) or not text:
        raise SpecError(f"{what} is {shown(text)}; expected text")
    if found := unseen(text):
        raise SpecError(
            f"{what} is {shown(text)}; expected one line of text without the character {found}, "
            "which is not seen"
        )
    return text


def check_name(name: object, what: str) -> str:
    """Returns a name that can stand in a table, on a page and in a figure as it is.

    Args:
        name: to check.
        what: names it in the message.

    Raises:
        SpecError: as `check_text`, or it is too long, or another name than a table would keep: with
            spaces at its ends or two in a row, or letters and accents that are not composed
            (Unicode's NFC).
    """
    text = check_text(name, what)
    if len(text) > MOST_NAME:
        raise SpecError(
            f"{what} has {len(text):,} characters, {shown(text)}; at most {MOST_NAME:,}"
        )
    kept = tidy(unicodedata.normalize("NFC", text))
    if kept != text:
        hint = f"; expected {shown(kept)}" if kept else "; expected more than spaces"
        raise SpecError(f"{what} is {shown(name)}{hint}")
    return text


def unboxed(value: Any) -> Any:
    """Returns numpy's single numbers as Python's, anything else as it is."""
    single = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if single else value


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object that somebody else wrote.

    Raises:
        SpecError: it is no JSON, or another thing than an object.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of another encoding, or nested without end
        raise SpecError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise SpecError(f"{path} is no JSON object")
    return content
