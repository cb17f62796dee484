"""Corruptions of texts: whatever the text, negations stay, rules hold, severities add up."""

from __future__ import annotations

import difflib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import RULES, same_meaning

from kit.assets import assets
from kit.corruptions import SEVERITIES, corrupted
from kit.corruptions.synonyms import synonyms
from kit.corruptions.text import THINGS
from kit.corruptions.words import NEGATION, WORD, kept
from kit.spec import registry
from kit.spec.ref import Ref
from kit.tasks.sentiment import FILES, read_domain

NAMES = [
    name
    for name in registry.corruptions.names()
    if registry.corruptions.get(name).traits["modality"] == "text"
]
PIECES = st.sampled_from(
    "not never isn't No, wasn\u2019t do nt ca nnot 5isn't without hardly good, great! threats "
    "terrible... Stra\u00dfe \u0130stanbul \u03a3\u03a3\u03a3\u03a3\u03a3 na\u00efve e\u0301te "
    ":) ;-) D: 3.5 a'bc'de \u4f60\u597d \U0001f4f7 \" but \t \n \x1c \x85 \u00a0".split(" ")
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map(" ".join))


def made(name: str, text: str, severity: int, item: str = "1") -> str:
    after = corrupted([text], [item], Ref(name, severity=severity))[0]
    assert isinstance(after, str)
    return after


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=80)
@given(text=TEXTS, severity=st.sampled_from(SEVERITIES))
def test_any_text_keeps_its_negations_and_the_rule(name: str, text: str, severity: int) -> None:
    after = made(name, text, severity)
    negations = kept(text, after).negations
    assert math.isnan(negations) or negations == 1
    assert RULES[name](text, after)
    assert made(name, text, severity) == after


def test_a_typo_is_one_key_aside_within_a_long_word() -> None:
    text = "Wonderful acting, terrible threats and no plot without hardly anything NOTHING"
    after = made("typos", text, 5)
    for before, word in zip(WORD.findall(text), WORD.findall(after), strict=True):
        changed = [(a, b) for a, b in zip(before, word, strict=True) if a != b]
        if len(before) < 5 or NEGATION.fullmatch(before):
            assert not changed
        else:
            assert len(changed) == 1
            assert (before[0], before[-1]) == (word[0], word[-1])
            row = next(r for r in ("qwertyuiop", "asdfghjkl", "zxcvbnm") if changed[0][0] in r)
            assert abs(row.index(changed[0][0]) - row.index(changed[0][1])) == 1


def test_no_word_becomes_another_with_a_feeling() -> None:
    for word, other in (("threat", "treat"), ("likes", "lies"), ("pretty", "petty")):
        found = {made("dropped_letters", word, 5, item=str(number)) for number in range(60)}
        assert len(found) > 2 and other not in found


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Good, cheap. Would I buy it? Yes!", "Good cheap Would I buy it? Yes"),
        ("No, good value; not, I hope, the last :)", "No, good value not, I hope the last :)"),
        ("It isn't, at 3.5 stars... bad :D ;-) D: wow", "It isn't, at 3.5 stars bad :D ;-) D: wow"),
    ],
)
def test_the_marks_that_go(text: str, after: str) -> None:
    assert made("missing_punctuation", text, 5) == after


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("A truly wonderful film that I saw with my two sons", "A truly wonderful film that I"),
        ("I saw it with my two sons at the mall and it was awful", None),
        ("It was good value for the money that I paid, but I sent it back at once", None),
        ("It was not what I had in mind for my two sons", "It was not what I had"),
        ("The show that we saw on that day with the two sons of mine :(", None),
    ],
)  # fmt: skip
def test_what_carries_the_label_is_not_cut(text: str, after: str | None) -> None:
    assert made("truncation", text, 5) == (after or text)


def test_added_sentences_and_pictures_come_out_again() -> None:
    text = "I like the small print on this parcel of books from the shop"
    for severity in SEVERITIES:
        added = made("added_text", text, severity)
        assert added.count(".") == severity and text in added
        assert sum(made("emoji", text, severity).count(thing) for thing in THINGS) <= 12
    ends = {made("added_text", text, 1, str(item)).startswith(text) for item in range(20)}
    assert ends == {True, False}


@pytest.mark.parametrize("name", NAMES)
def test_real_reviews(name: str) -> None:
    """Severity 1 is mild, every rule holds, and more words change at a higher severity."""
    texts = read_domain(assets.path("sentiment") / FILES["movie"], "movie")[0]["text"][:80].tolist()
    distances = []
    for severity in SEVERITIES:
        after = corrupted(texts, list(map(str, range(80))), Ref(name, severity=severity))
        pairs = [*zip(texts, after, strict=True)]
        assert all(RULES[name](*pair) for pair in pairs)
        found = [kept(*pair) for pair in pairs]
        assert np.nanmin([each.negations for each in found]) == 1
        assert severity > 1 or np.mean([each.words for each in found]) > 0.8
        ratios = [difflib.SequenceMatcher(None, *pair, autojunk=False).ratio() for pair in pairs]
        distances.append(1 - np.mean(ratios))
    assert distances == sorted(distances)
    assert 0 < distances[0] < 0.5 * distances[-1] or name in ("added_text", "truncation")


def test_kept_counts_words_and_negations() -> None:
    assert kept("Not a good, good film", "not a goos GOOD film") == (0.8, 1.0)
    nothing = kept("1 2", "1 2")
    assert math.isnan(nothing.words) and math.isnan(nothing.negations)


def test_synonyms_have_one_meaning_no_form_and_no_other_feeling() -> None:
    known = synonyms()
    assert known["movie"] == ("film",) and known["wonderful"] == ("marvelous",)
    unsafe = "but as are not hardly days decided said john may good terrible threat minutes".split()
    assert not [word for word in unsafe if word in known]
    for word, others in known.items():
        assert word not in others and not NEGATION.search(" ".join(others))
        assert {word[0] in "aeiou"} == {other[0] in "aeiou" for other in others}


def test_a_synonym_is_written_as_the_word_was() -> None:
    assert made("synonyms", "A Wonderful MOVIE, a movie!", 5) == "A Marvelous FILM, a film!"
    assert not same_meaning("a movie", "a book") and not same_meaning("a movie", "a film.")
