"""What an item is: a text, a pair of texts or an image, cleaned, and known by its content."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Any, TypeAlias

from kit.spec.checking import SpecError, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Example: TypeAlias = "str | tuple[str, str]"
"""A text, or a pair of texts."""
BETWEEN = "\x1e"
"""Stands between the texts of a pair; it is white space, which no normalised text keeps."""
_EDGES = " \"'`.,;!?*-\u2018\u2019\u201c\u201d\u2026"


def normalize(text: str) -> str:
    """Returns the form in which two texts count as the same.

    NFKC, case folded, white space collapsed, and without quotes and full stops at the two ends;
    emoticons stay, since `ok :)` and `ok :(` are two texts.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(_EDGES) or folded


def content_id(example: Example | NDArray[np.uint8]) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of the normalised text, or of the pixels.

    Of a pair, both texts in their order.
    """
    if isinstance(example, tuple):
        data = BETWEEN.join(map(normalize, example)).encode()
    else:
        data = normalize(example).encode() if isinstance(example, str) else example.tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def examples_in(rows: pd.DataFrame) -> list[Any]:
    """Returns what tells rows apart: texts, pairs of texts, or the numbers of images."""
    if "pixels" in rows:
        return rows["pixels"].tolist()
    texts = rows["text"].tolist()
    pairs = rows["text_pair"].tolist() if "text_pair" in rows else None
    if "choices" in rows:  # what is asked of a passage, or a question alone, and what is on offer
        offers = map(BETWEEN.join, rows["choices"])
        if pairs is None:
            return list(zip(texts, offers, strict=True))
        pairs = [f"{asked}{BETWEEN}{offer}" for asked, offer in zip(pairs, offers, strict=True)]
    return texts if pairs is None else list(zip(texts, pairs, strict=True))


def lone_clusters(rows: pd.DataFrame) -> list[str]:
    """Returns the clusters of items of which nobody says what they have in common.

    Each is a cluster of its own, but pairs of one first text (a premise and its hypotheses, a
    passage and the questions on it) share one. `rows` has `id` and the content.
    """
    if "text_pair" in rows:
        return [content_id(text) for text in rows["text"]]
    return rows["id"].tolist()


def missing(value: Any) -> bool:
    """Says whether a cell holds nothing: None, NaN, NaT or pandas' NA."""
    import pandas as pd

    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def is_list(value: Any) -> bool:
    """Says whether a cell holds several values."""
    several = isinstance(value, list | tuple | set | frozenset)
    return several or (type(value).__module__ == "numpy" and getattr(value, "ndim", 0) > 0)


def clean(value: Any, *, strip: bool = True) -> tuple[str, int]:
    """Returns a text without white space at its ends, and how many characters were replaced.

    Bytes are read as UTF-8; what is not UTF-8, and lone surrogates, become U+FFFD. None, NaN and
    NA become the empty text; numbers and dates become what Python writes for them.

    Args:
        value: of a cell.
        strip: whether white space at the ends goes.

    Raises:
        SpecError: it is a list, a mapping or another thing that is no text.
    """
    import pandas as pd

    if missing(value):
        return "", 0
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", errors="replace")
        replaced = text.count("\ufffd")
    elif isinstance(value, str) or (
        # Python writes whole numbers of thousands of digits on request alone
        pd.api.types.is_scalar(value) and not (isinstance(value, int) and value.bit_length() > 1000)
    ):
        text, replaced = re.subn("[\ud800-\udfff]", "\ufffd", str(value))
    else:
        raise SpecError(f"a cell holds {shown(value)}, a {type(value).__name__}; expected text")
    return text.strip() if strip else text, replaced
