"""Words that may stand for each other, from WordNet: few, and safe ones."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from pathlib import Path

from kit.corruptions.words import opinions
from kit.tasks.sentiment import NEGATION

MAIN, OFTEN = 0.9, 0.5
"""Share of a word's uses that a meaning must have, and of its synonym's, in the texts whose words
WordNet's authors tagged with their meaning."""
SHORTEST = 3
_DATA = ("data.noun1", "data.noun2", "data.verb", "data.adj", "data.adv")
_KINDS = {"noun": "1", "verb": "2", "adj": "35", "adv": "4"}
"""Digits that stand for a part of speech in a sense's key."""
_ENDINGS = (
    ("men", "man"), ("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", "e"), ("ed", ""),
    ("ing", "e"), ("ing", ""), ("er", ""), ("er", "e"), ("est", ""), ("est", "e"),
)  # fmt: skip
_NO_BASE = frozenset({"said"})
"""An adjective in WordNet, in texts nearly always the verb."""


@functools.cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Returns what each word may be replaced by, in lower case.

    Both words have one main meaning, the same; they are no names, no function words, no inflected
    forms (a synonym would have to be inflected alike) and no negations; VADER's lexicon rates both
    with one sign, or neither; and both start with a vowel, or neither, so that `a` stays `a`.

    Source: Princeton WordNet 3.0 (Miller 1995), asset `wordnet`.
    """
    from kit.assets import assets

    folder = assets.path("wordnet")
    uses, members = _uses(folder), _members(folder)
    names = {word.casefold() for words in members.values() for word in words if not word.islower()}
    signs = opinions()

    def fits(word: str) -> bool:
        return bool(
            word.isascii()
            and word.isalpha()
            and len(word) >= SHORTEST
            and word not in names
            and word not in _function_words()
            and not NEGATION.fullmatch(word)
            and not _inflected(word, uses)
        )

    found: dict[str, tuple[str, ...]] = {}
    for sense, words in members.items():
        plain = [word for word in words if fits(word)]
        shares = {word: uses[word][sense] / (uses[word].total() or 1) for word in plain}
        for word in plain:
            others = [
                other
                for other in sorted(plain)
                if other != word
                and shares[other] >= OFTEN
                and signs.get(word) == signs.get(other)
                and (word[0] in "aeiou") == (other[0] in "aeiou")
            ]
            if shares[word] >= MAIN and others:
                found[word] = tuple(others)
    return found


Sense = tuple[str, str]
"""Part of speech, and where its record stands in the file."""


def _uses(folder: Path) -> dict[str, Counter[Sense]]:
    """Returns how often each word was tagged with each of its meanings."""
    kinds = {digit: kind for kind, digits in _KINDS.items() for digit in digits}
    found: dict[str, Counter[Sense]] = defaultdict(Counter)
    for line in (folder / "index.sense").read_text(encoding="latin-1").splitlines():
        key, place, _, count = line.split()
        word, _, rest = key.partition("%")
        found[word][kinds[rest[0]], place] = int(count)
    return found


def _members(folder: Path) -> dict[Sense, list[str]]:
    """Returns the words of each meaning, spelt as WordNet spells them."""
    found = {}
    for name in _DATA:
        kind = re.sub(r"data\.|\d", "", name)
        for line in (folder / name).read_text(encoding="latin-1").splitlines():
            if line.startswith(" "):  # the licence
                continue
            place, _, _, count, *rest = line.split(" ")
            words = rest[: 2 * int(count, 16) : 2]
            found[kind, place] = [word.partition("(")[0] for word in words]
    return found


def _inflected(word: str, known: dict[str, Counter[Sense]]) -> bool:
    """Says whether a word looks like a form of another that WordNet has."""
    if word in _NO_BASE:
        return True
    for ending, base in _ENDINGS:
        if word.endswith(ending):
            stem = word.removesuffix(ending) + base
            doubled = len(stem) > 2 and not base and stem[-1] == stem[-2]
            if stem in known or (doubled and stem[:-1] in known):
                return True
    return False


@functools.cache
def _function_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
