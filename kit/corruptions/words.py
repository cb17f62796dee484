"""What texts are made of, and how a share of that is changed."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kit.tasks.sentiment import NEGATION

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of what a corruption may touch, by severity."""
WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
GAP = re.compile(r"\s+")

Change = Callable[[str, float, float], str]
"""Of a piece of text, with two draws from 0..1 to choose by."""


class Kept(NamedTuple):
    """Shares of a text's words, and of its negations, that are there as they were.

    Case does not count; NaN where there were none.
    """

    words: float
    negations: float


def kept(before: str, after: str) -> Kept:
    """Returns how much of a text a corruption left as it was."""
    shares = []
    for found in (WORD, NEGATION):
        old, new = (
            Counter(match[0].casefold() for match in found.finditer(text))
            for text in (before, after)
        )
        shares.append((old & new).total() / old.total() if old else math.nan)
    return Kept(*shares)


def touched(
    text: str,
    rng: np.random.Generator,
    severity: int,
    pattern: re.Pattern[str],
    change: Change,
    most: float = 1.0,
) -> str:
    """Returns a text with a share of what a pattern matches changed, but no negation.

    Args:
        text: to change.
        rng: of the item.
        severity: gives the share, `SHARES`.
        pattern: of the pieces that may be changed; those that touch a negation are not.
        change: gives what a piece becomes.
        most: share at severity 5.
    """
    share = most * SHARES[severity - 1]
    guarded = [found.span() for found in NEGATION.finditer(text)]

    def one(found: re.Match[str]) -> str:
        chance, *draws = rng.random(3)
        near = any(start <= found.end() and found.start() <= end for start, end in guarded)
        return found[0] if near or chance >= share else change(found[0], *draws)

    return pattern.sub(one, text)


@functools.cache
def opinions() -> dict[str, bool]:
    """Returns the words and emoticons that VADER's lexicon rates, and whether above zero.

    Source: Hutto and Gilbert 2014.
    """
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return {word: rating > 0 for word, rating in SentimentIntensityAnalyzer().lexicon.items()}
