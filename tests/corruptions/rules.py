"""What each corruption of texts promises to keep, looked at from outside: (before, after) -> kept?

They share no code with the corruptions but the words, marks and pictures that these may use.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from kit.corruptions import text as corruptions
from kit.corruptions.synonyms import synonyms
from kit.corruptions.words import NEGATION, WORD, opinions


def one_letter(before: str, after: str) -> bool:
    """The same words, but for one letter inside some of the long."""
    old, new = WORD.findall(before), WORD.findall(after)
    return len(old) == len(new) and all(
        a == b or (len(a) >= corruptions.LONG and _one_off(a, b) and b.casefold() not in opinions())
        for a, b in zip(old, new, strict=True)
    )


def _one_off(word: str, other: str) -> bool:
    """Says whether one inner letter of a word is another, or is gone."""
    if len(other) == len(word):
        changed = [at for at, (a, b) in enumerate(zip(word, other, strict=True)) if a != b]
        return len(changed) == 1 and 0 < changed[0] < len(word) - 1
    return other in {word[:at] + word[at + 1 :] for at in range(1, len(word) - 1)}


def same_meaning(before: str, after: str) -> bool:
    """The same words, but for synonyms."""
    old, new = ([word.casefold() for word in WORD.findall(text)] for text in (before, after))
    known = synonyms()
    return WORD.sub("", before) == WORD.sub("", after) and all(
        a == b or b in known.get(a, ()) for a, b in zip(old, new, strict=True)
    )


def same_letters(before: str, after: str) -> bool:
    return before.casefold() == after.casefold()


def same_but_marks(before: str, after: str) -> bool:
    """Only sentence marks differ, and the emoticons are the same."""
    old, new = ([t for t in s.split() if not re.search(r"\w", t)] for s in (before, after))
    bare = [re.sub(f"[{corruptions._MARKS}]", "", text) for text in (before, after)]
    return bare[0] == bare[1] and old == new


def same_without_things(before: str, after: str) -> bool:
    old, new = (re.sub(f" [{corruptions.THINGS}]", "", text) for text in (before, after))
    return old == new


def same_without_accents(before: str, after: str) -> bool:
    accents = f"[{corruptions._ACCENTS}]"
    old, new = (re.sub(accents, "", unicodedata.normalize("NFD", t)) for t in (before, after))
    return old == new


def same_without_gaps(before: str, after: str) -> bool:
    old, new = (Counter(NEGATION.findall(text)) for text in (before, after))
    return "".join(before.split()) == "".join(after.split()) and old <= new


def whole_at_an_end(before: str, after: str) -> bool:
    return after.startswith(before) or after.endswith(before)


def cut_after_opinions(before: str, after: str) -> bool:
    left, whole = after.split(), before.split()
    enough = len(left) >= max(corruptions._needed(whole), corruptions.LEFT[-1] * len(whole))
    return enough and before.startswith(after)


RULES: dict[str, Callable[[str, str], bool]] = {
    "typos": one_letter,
    "dropped_letters": one_letter,
    "synonyms": same_meaning,
    "capitals": same_letters,
    "alternating_case": same_letters,
    "missing_punctuation": same_but_marks,
    "emoji": same_without_things,
    "accents": same_without_accents,
    "white_space": same_without_gaps,
    "added_text": whole_at_an_end,
    "truncation": cut_after_opinions,
}
