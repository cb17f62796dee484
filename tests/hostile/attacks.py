"""What hostile input is made of, and what may come of it: a result, or one sentence."""

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import kit

LONG = os.environ.get("KIT_HOSTILE") == "long"
"""Twenty to forty times the cases, over 10,000; `KIT_HOSTILE=long pytest tests/hostile`."""
PACKAGE = Path(kit.__file__).parent
counted = {"cases": 0}

SCRIPT = "<script>alert(1)</script>"
NAMES = [
    *("", " ", "../../x", "..\\..\\x", "/etc/x", "~/x", "~nobody/x", ".", "..", "CON", "NUL"),
    *("a/b",),
    *("x" * 10_000, "y" * 256, "a\0b", "a\nb", "a\r\nb", "\t", " x", "x ", "a  b", "x\x1b[31m"),
    *("．．／x", "ﬁne", "е", "e\u0301", "\u202ecod.exe", "a\u200bb", "\ufeffx", "\ud800", "\uffff"),
    *("=1+1", "@SUM(A1)", "+1", "-1", "'=1", "\uff1d1", "$\\frac{", "${HOME}", "`id`", "$(id)"),
    *(SCRIPT, "](javascript:alert(1))", "![x](x)", "a|b", "[a](b)", "&lt;", "**b**", "train"),
    *("test",),
    *("hf:x", "hf:../../x", "name", "self", "None", "nan", "0", "{x}", "%s", "\u0661\u0662_x"),
]
"""Names that paths, tables, pages, figures or formats could take for something else."""

names = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=3).map("".join),
)


def cases(short: int, long: int) -> Callable[[Any], Any]:
    """Sets how many cases a property is tried on."""
    return settings(
        max_examples=long if LONG else short,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # to shrink a case that draws a page takes minutes
        suppress_health_check=list(HealthCheck),
    )


def attempt(call: Callable[[], Any], *also: type[Exception]) -> Any:
    """Runs hostile input; returns the result, or None where it was refused in one sentence.

    Args:
        call: what to try.
        *also: classes that may be raised beside `ValueError` and what inherits from it.

    Raises:
        AssertionError: it ended in another way: an error from inside a library, without text, or
            with pages of it.
    """
    counted["cases"] += 1
    try:
        return call()
    except (ValueError, *also) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error)
        known = (PACKAGE, Path(__file__).parent)  # stand-ins of tests raise too
        assert any(map(Path(where.filename).is_relative_to, known)), f"{error!r} comes from {where}"
        assert len(text) > 12 and " " in text, f"{error!r} is no sentence"
        assert len(text) < 3_000, f"{len(text)} characters: {text[:200]}"
        assert text.isprintable() or "\n" not in text.strip(), text[:300]
        return None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise AssertionError(
            f"{type(error).__name__} instead of a sentence: {error} ({where})"
        ) from error


def contents(root: Path, *but: Path) -> dict[str, str]:
    """Returns every path below `root` and its content's hash, without what lies below `but`."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not any(path.is_relative_to(each) for each in but):
            name = str(path.relative_to(root))
            found[name] = (
                os.readlink(path)  # noqa: PTH115 (the text of the link, not a path)
                if path.is_symlink()
                else hashlib.sha256(path.read_bytes()).hexdigest()
                if path.is_file()
                else "folder"
            )
    return found


@contextmanager
def walls(root: Path, *inside: Path) -> Iterator[None]:
    """Holds that nothing below `root` changes other than below the folders `inside`."""
    before = contents(root, *inside)
    yield
    after = contents(root, *inside)
    assert after == before, f"written outside: {set(after.items()) ^ set(before.items())}"
