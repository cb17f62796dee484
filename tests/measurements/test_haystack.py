"""Texts with facts in them: where these stand, and what is on offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kit.architectures.tokenizers import ByteTokenizer
from kit.measurements.haystack import KEYS, TELLINGS, WORDS, Haystack, haystack
from kit.spec.checking import Undefined

TEXTS = [" ".join(f"Sentence {n}.{k} is here." for k in range(20)) for n in range(9)]
BYTES = ByteTokenizer()


def made(told: str = "text", texts: Sequence[str] = TEXTS, **changes: Any) -> Haystack:
    given = {"context": 1500, "depths": (0.0, 0.5, 1.0), "facts": 2, "options": 4} | changes
    return haystack(BYTES, TELLINGS[told], texts, "0/doc", **given)


def facts_in(one: Haystack) -> list[tuple[str, str]]:
    """Returns key and right word of each item."""
    found = []
    for item in one.items:
        (key,) = [key for key in KEYS if f" {key}?" in item.question]
        found.append((key, item.choices[item.right[0]]))
    return found


@pytest.mark.parametrize("told", TELLINGS)
def test_facts_stand_at_their_depths(told: str) -> None:
    one = made(told)
    places = []
    for key, word in facts_in(one):
        fact = TELLINGS[told].fact.format(key=key, word=word)
        assert one.text.count(fact) == 1
        places.append(one.text.index(fact) / len(one.text))
    assert places == sorted(places)
    assert one.depths == [0, 0, 0.5, 0.5, 1, 1]
    assert places[0] == 0 and abs(places[2] - 0.5) < 0.15 and places[5] > 0.9


@pytest.mark.parametrize("context", [900, 1500, 3000])
def test_it_fills_its_context_with_real_text_in_order(context: int) -> None:
    one = made(context=context)
    (longest,) = {max(len(each.context) for each in one.prompts)}
    assert context - 60 <= longest + 1 <= context
    text = one.text
    for key, word in facts_in(one):
        text = text.replace(f"The secret word of {key} is {word}.", "")
    assert " ".join(TEXTS).startswith(" ".join(text.split()))


def test_the_same_facts_at_every_context_and_others_elsewhere() -> None:
    assert made(context=900).items == made(context=3000).items
    other = haystack(BYTES, TELLINGS["text"], TEXTS, "1/doc", context=900, depths=(0.0, 0.5, 1.0),
                     facts=2, options=4)  # fmt: skip
    assert other.items != made(context=900).items


@pytest.mark.parametrize("options", [2, 4, 9])
def test_wrong_words_were_told_too(options: int) -> None:
    one = made(options=options)
    told = {word for _, word in facts_in(one)}
    for item in one.items:
        assert len(set(item.choices)) == options and len(item.right) == 1
        others = set(item.choices) & told
        assert len(others) == min(options, len(told))
    assert len({item.right for item in one.items}) > 1  # no place is always right


def test_a_lone_needle() -> None:
    one = made(depths=(0.5,), facts=1)
    (item,) = one.items
    assert sum(word in one.text for word in item.choices) == 1
    assert set(item.choices) <= set(WORDS)


def test_no_room() -> None:
    with pytest.raises(Undefined, match=r"context=200: 6 facts and a question take \d+ tokens"):
        made(context=200)
    with pytest.raises(Undefined, match=r"the split holds \d+ tokens of text"):
        made(texts=TEXTS[:1])
