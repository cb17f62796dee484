"""Corruptions of English texts. No negation is touched; each says why the label survives.

What a corruption does at a place is drawn before its severity is looked at: a text at severity 3
has every fault that it has at severity 2.
"""

from __future__ import annotations

import math
import re
import unicodedata

import numpy as np

from kit.corruptions.corruption import Severity
from kit.corruptions.synonyms import synonyms as known_synonyms
from kit.corruptions.words import GAP, WORD, opinions, touched
from kit.spec.register_measures import register_corruption
from kit.tasks.sentiment import NEGATION

LONG = 5
"""Letters from which a word can be read with one letter wrong inside."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWEL = re.compile("[aeiouAEIOU]")
_ACCENTS = "\u0300\u0301\u0302\u0308"
_MARKS = '.,;:!"\u201d\u2026'
# after a word of two letters or more and before a gap: `:D`, `;)` and `3.5` have none
_MARK = re.compile(rf"(?<=\w\w)[{_MARKS}]+(?=\s|$)")
# a camera, a clock, a pin, a parcel, a bell; a door, a compass, a chair, a clip, a receipt
THINGS = (
    "\U0001f4f7\U0001f552\U0001f4cd\U0001f4e6\U0001f514"
    "\U0001f6aa\U0001f9ed\U0001fa91\U0001f4ce\U0001f9fe"
)
SENTENCES = (
    "The office is on the second floor.",
    "The meeting starts at ten.",
    "The form has two pages.",
    "The train stops at the station.",
    "The box is made of paper.",
    "The number stands on the door.",
    "The table is next to the window.",
    "The list is sorted by date.",
)
LEFT = (0.9, 0.8, 0.7, 0.6, 0.5)
_SCOPE = 3
"""Words after a negation that it may turn around, as VADER counts them."""
_TURNS = frozenset("but however although though yet except unless until despite instead".split())


def _inner(word: str) -> list[int]:
    """Returns the places of a long word's letters that stand between letters."""
    if len(word) < LONG:
        return []
    return [at for at in range(1, len(word) - 1) if word[at - 1 : at + 2].isalpha()]


def _beside(letter: str) -> str:
    """Returns the letters beside one on an American keyboard, in its row; empty for others."""
    row = next((row for row in _ROWS if letter.lower() in row), "")
    at = row.find(letter.lower())
    near = row[max(at - 1, 0) : at] + row[at + 1 : at + 2] if row else ""
    return near.upper() if letter.isupper() else near


def _misspelt(word: str, made: str) -> str:
    """Returns a word with a fault; as it was where that makes a word with a feeling of its own."""
    return word if made.casefold() in opinions() else made


_ONE_LETTER = (
    "One letter, neither the first nor the last, of words of five letters or more; never in a "
    "negation, and never so that a word of VADER's lexicon comes out (threat, treat)"
)


@register_corruption(modality="text", rule=_ONE_LETTER, version=1)
def typos(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A key beside the right one, in a share of the long words."""

    def change(word: str, where: float, which: float) -> str:
        places = [at for at in _inner(word) if _beside(word[at])]
        if not places:
            return word
        at = places[int(where * len(places))]
        near = _beside(word[at])
        return _misspelt(word, word[:at] + near[int(which * len(near))] + word[at + 1 :])

    return touched(text, rng, severity, WORD, change)


@register_corruption(modality="text", rule=_ONE_LETTER, version=1)
def dropped_letters(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A letter left out, in a share of the long words."""

    def change(word: str, where: float, which: float) -> str:
        places = _inner(word)
        at = places[int(where * len(places))] if places else len(word)
        return _misspelt(word, word[:at] + word[at + 1 :])

    return touched(text, rng, severity, WORD, change)


@register_corruption(
    modality="text",
    rule="A word for another with the same main meaning in WordNet, as good or bad in VADER's "
    "lexicon; no negations, function words, names or inflected forms",
    version=1,
    assets=("wordnet",),
)
def synonyms(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """Another word of the same meaning, for a share of the words that have one that is safe."""

    def change(word: str, which: float, _: float) -> str:
        others = known_synonyms().get(word.casefold(), ())
        if not others:
            return word
        made = others[int(which * len(others))]
        return made.upper() if word.isupper() else made.title() if word[0].isupper() else made

    return touched(text, rng, severity, WORD, change)


def _recased(word: str, made: str) -> str:
    """Returns a word in another case; as it was where the letters would change with it."""
    return made if word.casefold() == made.casefold() else word


@register_corruption(
    modality="text",
    rule="The letters stay; only their case changes",
    version=1,
)
def capitals(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A share of the words in capitals."""
    return touched(text, rng, severity, WORD, lambda word, *_: _recased(word, word.upper()))


@register_corruption(
    modality="text",
    rule="The letters stay; only their case changes",
    version=1,
)
def alternating_case(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A share of the words wRiTtEn So."""

    def change(word: str, *_: float) -> str:
        made = "".join(c.upper() if at % 2 else c.lower() for at, c in enumerate(word))
        return _recased(word, made)

    return touched(text, rng, severity, WORD, change)


@register_corruption(
    modality="text",
    rule="Words, question marks and emoticons stay, and the mark after a negation: `no, good` is "
    "not `no good`",
    version=1,
)
def missing_punctuation(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A share of the marks that end a sentence or a part of one is left out."""
    return touched(text, rng, severity, _MARK, lambda *_: "")


@register_corruption(
    modality="text",
    rule="The text stays; the pictures are of things that nobody has a feeling about",
    version=1,
)
def emoji(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A picture of some thing after a share of the words, half of them at most."""

    def change(gap: str, which: float, _: float) -> str:
        return f" {THINGS[int(which * len(THINGS))]}{gap}"

    return touched(text, rng, severity, GAP, change, most=0.5)


@register_corruption(
    modality="text",
    rule="The letters stay, with accents on vowels; never in a negation",
    version=1,
)
def accents(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """Accents on a share of the vowels."""

    def change(letter: str, which: float, _: float) -> str:
        return unicodedata.normalize("NFC", letter + _ACCENTS[int(which * len(_ACCENTS))])

    return touched(text, rng, severity, _VOWEL, change)


@register_corruption(
    modality="text",
    rule="All but the white space stays, and the gaps on both sides of a negation",
    version=1,
)
def white_space(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """A share of the gaps is wider, another kind, or (one in three of them) closed."""

    def change(gap: str, which: float, _: float) -> str:
        return ("", "", "  ", "\t", "\n", "   ")[int(which * 6)]

    return touched(text, rng, severity, GAP, change)


@register_corruption(
    modality="text",
    rule="The text stands whole, before or after sentences about an office that judge nothing",
    version=1,
)
def added_text(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """One to five sentences about something else, all before the text or all after it."""
    first = rng.random() < 0.5
    added = " ".join(SENTENCES[at] for at in rng.permutation(len(SENTENCES))[:severity])
    return f"{added} {text}" if first else f"{text} {added}"


def _needed(words: list[str]) -> int:
    """Returns how many words of a text, from its start, may carry its label."""
    last = 0
    for at, word in enumerate(words, start=1):
        bare = word.casefold().strip(_MARKS + "?()'\u2019\u201c")
        if bare in _TURNS:
            return len(words)
        if NEGATION.search(word):
            last = max(last, at + _SCOPE)
        elif bare in opinions() or word in opinions() or not re.search(r"\w", word):
            last = max(last, at)
    return min(last, len(words))


@register_corruption(
    modality="text",
    rule="Half of the words stay, and all up to the last that VADER's lexicon rates, the third "
    "after a negation or the last emoticon; a text with a turn such as `but` stays whole. "
    "What is no sentiment may be told by what is cut",
    version=1,
)
def truncation(text: str, rng: np.random.Generator, *, severity: Severity) -> str:
    """The end is cut off, as far as it carries no opinion."""
    words = list(re.finditer(r"\S+", text))
    left = max(math.ceil(LEFT[severity - 1] * len(words)), _needed([word[0] for word in words]))
    return text if left >= len(words) else text[: words[left - 1].end()]
