"""Plain values: what a spec may hold, what a name may be, and how a wrong one is shown.

Names and arguments come from notebooks, files and other people's data. They end in hashes, tables,
pages and figures, so that each is checked once, where it enters, and refused in one sentence.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import reprlib
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

MOST_TEXT = 100_000
"""Characters of one text in a spec; what is longer is data, and belongs in a task or a file."""
MOST_MEMBERS = 10_000
"""Members of one sequence or mapping in a spec."""
MOST_LEVELS = 32
"""How deep sequences and mappings in a spec may lie in each other."""
MOST_WHOLE = 2**63 - 1
"""The largest whole number that torch, numpy and tables all hold."""
MOST_NAME = 200
"""Characters of a name in a table."""

# control characters, half surrogates, marks that turn the writing direction or are not seen
_DIRECTIONS = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff"
_UNSEEN = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_DIRECTIONS}]")
_UNSEEN_BUT_SPACE = re.compile(f"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff{_DIRECTIONS}]")

_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\",;()]+/)+([^\s/:'\",;()]+)")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120
_repr.maxlevel = 3
_repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = _repr.maxdict = 12


class SpecError(ValueError):
    """A mistake in what was asked for: a name, a value or a combination."""


class Spec:
    """Marks the kit's own specs: they may be arguments of each other."""

    __slots__ = ()


class Located(str, Spec):
    """Says where something lies. What lies there enters hashes and names; the place never does."""

    __slots__ = ()

    @property
    def short_name(self) -> str:
        """Text for names in tables."""
        return str(self)

    def content(self) -> str:
        """Returns what stands for the content: equal where that is equal, '' where nothing is."""
        raise NotImplementedError


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
    said = " ".join(_UNSEEN_BUT_SPACE.sub("\ufffd", str(error)).split())
    return textwrap.shorten(said, 300, placeholder=" ...").rstrip(".") or type(error).__name__


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


def tidy(text: str) -> str:
    """Returns text on one line, single-spaced, with U+FFFD for what is not seen or not UTF-8."""
    return " ".join(_UNSEEN_BUT_SPACE.sub("\ufffd", text).split())


def unseen(text: str) -> str:
    """Returns the first character that is not seen or breaks the line, as `U+202E`; '' if none."""
    found = _UNSEEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def check_text(text: object, what: str, most: int = MOST_TEXT) -> str:
    """Returns a text on one line that can be seen.

    Args:
        text: to check.
        what: names it in the message.
        most: characters it may have.

    Raises:
        SpecError: it is no text, empty, too long, or holds control characters, half surrogates or
            marks that turn the writing direction.
    """
    if not isinstance(text, str) or not text:
        raise SpecError(f"{what} is {shown(text)}; expected text")
    if len(text) > most:
        raise SpecError(f"{what} has {len(text):,} characters, {shown(text)}; at most {most:,}")
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
        SpecError: as `check_text`, or another name than a table would keep: with spaces at its ends
            or two in a row, or letters and accents that are not composed (Unicode's NFC).
    """
    text = check_text(name, what, MOST_NAME)
    kept = tidy(unicodedata.normalize("NFC", text))
    if kept != text:
        hint = f"; expected {shown(kept)}" if kept else "; expected more than spaces"
        raise SpecError(f"{what} is {shown(name)}{hint}")
    return text


def whole(value: object, given: str, least: int) -> int:
    """Returns a whole number from `least` to `MOST_WHOLE`; True and 2.0 are none.

    Args:
        value: to check.
        given: how the message begins, such as `seed=-1`.
        least: the smallest that is right.

    Raises:
        SpecError: it is something else.
    """
    number = unboxed(value)
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise SpecError(f"{given}: expected a whole number >= {least}")
    if number > MOST_WHOLE:
        raise SpecError(f"{given}: expected a whole number of at most 2**63 - 1")
    return int(number)


def real(value: object, given: str, expected: str) -> float:
    """Returns a finite number; True and text are none.

    Args:
        value: to check.
        given: how the message begins, such as `Training(warmup='x')`.
        expected: how it goes on.

    Raises:
        SpecError: it is something else.
    """
    number = unboxed(value)
    usable = isinstance(number, int | float) and not isinstance(number, bool)
    if not usable or not -MOST_WHOLE <= number <= MOST_WHOLE:  # NaN and inf are not between
        raise SpecError(f"{given}: expected {expected}")
    return float(number)


def unboxed(value: Any) -> Any:
    """Returns numpy's single numbers as Python's, anything else as it is."""
    single = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if single else value


class FrozenDict(Mapping[str, Any]):
    """A hashable, read-only mapping. Two are equal where types are too: 1 is not True, nor 1.0."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenDict):
            return self._items.keys() == other._items.keys() and all(
                _same(value, other._items[key]) for key, value in self._items.items()
            )
        return self._items == other

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _same(one: Any, other: Any) -> bool:
    """Says whether two frozen values have the same content hash."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def freeze(value: Any, where: str = "a value", level: int = 0) -> Any:
    """Returns `value` with lists as tuples and mappings as `FrozenDict`.

    Args:
        value: numbers, text, booleans, None, specs, and sequences, sets and mappings of these.
        where: named in the message.
        level: how deep in another value it lies.

    Raises:
        SpecError: something in it is no plain value, or it is larger than a spec should be.
    """
    value = unboxed(value)
    if value is None or isinstance(value, bool | Spec | FrozenDict):
        return value
    if isinstance(value, int):
        if abs(value) > MOST_WHOLE:
            raise SpecError(
                f"{where} is a whole number beyond 2**63 - 1; a spec holds none so large"
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(f"{where} is {value}; a spec holds finite numbers only")
        return float(value) + 0.0  # -0.0 equals 0.0, so that it must not hash apart
    if isinstance(value, str | PurePath):
        text = str.__str__(value) if isinstance(value, str) else str(value)
        if len(text) > MOST_TEXT:
            raise SpecError(
                f"{where} is a text of {len(text):,} characters; a spec holds at most {MOST_TEXT:,}"
            )
        return text
    if isinstance(value, Mapping | Sequence | set | frozenset) and not isinstance(
        value, bytes | bytearray | memoryview
    ):
        return _frozen_members(value, where, level + 1)
    raise SpecError(
        f"{where} is a {type(value).__name__}; a spec holds numbers, strings, booleans, None, "
        "sequences and mappings of these, and other specs"
    )


def _frozen_members(value: Any, where: str, level: int) -> Any:
    if level > MOST_LEVELS:
        raise SpecError(f"{where} is nested more than {MOST_LEVELS} levels deep, or holds itself")
    if len(value) > MOST_MEMBERS:
        raise SpecError(
            f"{where} has {len(value):,} members; a spec holds at most {MOST_MEMBERS:,}"
        )
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise SpecError(f"{where} has the key {shown(wrong[0])}; keys in a spec are text")
        return FrozenDict({str(key): freeze(value[key], where, level) for key in sorted(value)})
    members = [freeze(member, where, level) for member in value]
    if isinstance(value, set | frozenset):
        try:
            members.sort()
        except TypeError:
            raise SpecError(f"{where} is a set of values without an order; give a list") from None
    return tuple(members)


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
