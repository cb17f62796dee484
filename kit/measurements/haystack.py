"""Real text with facts told in it at some depths, and a question for each at its end."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from kit.spec.checking import Undefined
from kit.tasks.templates import Prompt, Question

if TYPE_CHECKING:
    from kit.architectures.tokenizers import Tokenizer

KEYS = (
    *("Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Moscow", "Tokyo", "Beijing"),
    *("Delhi", "Cairo", "Sydney", "Toronto", "Chicago", "Boston", "Dallas", "Denver", "Miami"),
    *("Seattle", "Lisbon", "Dublin", "Athens", "Oslo", "Warsaw"),
)
"""Whose secret words there are."""
WORDS = (
    *("apple", "river", "music", "stone", "horse", "bread", "silver", "winter", "garden"),
    *("bridge", "paper", "lemon", "window", "tiger", "orange", "forest", "island", "castle"),
    *("rabbit", "butter", "engine", "coffee", "summer", "pencil"),
)
"""Secret words: each a token of common tokenizers, so that no answer is longer than another."""
SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Telling(NamedTuple):
    """How facts and real text are told.

    Attributes:
        fact: tells that `{key}` has a `{word}`.
        text: tells a piece of the real `{text}`.
        sentences: of a piece.
        between: stands between pieces and facts.
        question: asks for the word of `{key}`; the word comes after it and a space.
    """

    fact: str
    text: str
    sentences: int
    between: str
    question: str


TELLINGS: Mapping[str, Telling] = {
    "text": Telling(
        "The secret word of {key} is {word}.",
        "{text}",
        1,
        " ",
        "\n\nQuestion: What is the secret word of {key}?\nAnswer: The secret word of {key} is",
    ),
    "turns": Telling(
        "User: The secret word of {key} is {word}.\nAssistant: I will remember it.",
        "User: {text}\nAssistant: I have read it.",
        4,
        "\n",
        "\nUser: What is the secret word of {key}?\nAssistant: The secret word of {key} is",
    ),
}
"""One running text; or the turns of a conversation, in some of which the facts are told."""


class Haystack(NamedTuple):
    """A text with facts, and what is asked at its end.

    Attributes:
        text: real, with the facts in it.
        items: a question for each fact, with words on offer.
        depths: the share of the real text before each fact, as it was asked for.
    """

    text: str
    items: list[Question]
    depths: list[float]

    @property
    def prompts(self) -> list[Prompt]:
        """What a model reads for each item, and the words on offer."""
        return [
            Prompt(self.text + item.question, tuple(f" {word}" for word in item.choices))
            for item in self.items
        ]


def haystack(
    tokenizer: Tokenizer,
    how: Telling,
    texts: Iterable[str],
    name: str,
    *,
    context: int,
    depths: Sequence[float],
    facts: int,
    options: int,
) -> Haystack:
    """Returns a text of at most so many tokens, with facts in it.

    Args:
        tokenizer: counts them.
        how: it is told.
        texts: real ones, of which as much is taken as there is room.
        name: decides which facts, and which words are on offer: the same at every context.
        context: tokens of the text and one question.
        depths: after which shares of the text facts are told.
        facts: at each depth, a piece of text between two.
        options: words on offer, those of other facts of the text first.

    Raises:
        Undefined: there is no room for real text, or too little of it.
    """
    rng = random.Random(name)
    count = len(depths) * facts
    keys, words = rng.sample(KEYS, count), rng.sample(WORDS, count)
    told = [how.fact.format(key=key, word=word) for key, word in zip(keys, words, strict=True)]
    asked = [how.question.format(key=key) for key in keys]
    needed = _size(tokenizer, [each + how.between for each in told])
    needed += max(_size(tokenizer, [each]) for each in asked) + len(tokenizer.opening)
    pieces = _fitting(tokenizer, how, texts, context - needed)
    if not pieces:
        raise Undefined(
            f"context={context}: {count} facts and a question take {needed} tokens, which leaves "
            f"no room for a piece of text between them; expected at least context={2 * needed}"
        )
    places = [min(round(depth * len(pieces)) + k, len(pieces)) for depth in depths
              for k in range(facts)]  # fmt: skip
    parts: list[str] = []
    for place in range(len(pieces) + 1):
        parts += [fact for fact, at in zip(told, places, strict=True) if at == place]
        parts += pieces[place : place + 1]
    items = [
        _item(question, word, words, options, rng)
        for question, word in zip(asked, words, strict=True)
    ]
    each = [depth for depth in depths for _ in range(facts)]
    return Haystack(how.between.join(parts), items, each)


def _item(
    question: str, word: str, told: Sequence[str], options: int, rng: random.Random
) -> Question:
    """Returns a question with its word among others, those that were told too before all others."""
    others = [each for each in told if each != word]
    more = [each for each in WORDS if each not in told]
    wrong = rng.sample(others, min(options - 1, len(others)))
    offer = [word, *wrong, *rng.sample(more, options - 1 - len(wrong))]
    rng.shuffle(offer)
    return Question("", question, tuple(offer), (offer.index(word),))


def _fitting(tokenizer: Tokenizer, how: Telling, texts: Iterable[str], tokens: int) -> list[str]:
    """Returns pieces of texts as told, as many as so many tokens hold.

    Raises:
        Undefined: the texts end before.
    """
    found: list[str] = []
    size = 0
    for piece in _pieces(how, texts):
        size += _size(tokenizer, [piece + how.between])
        if size > tokens:
            return found
        found.append(piece)
    raise Undefined(
        f"the split holds {size} tokens of text and {tokens} are to be filled; expected a smaller "
        "context or a split with more text"
    )


def _pieces(how: Telling, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        sentences = iter([each for each in SENTENCE.split(" ".join(text.split())) if each])
        while some := [*islice(sentences, how.sentences)]:
            yield how.text.format(text=" ".join(some))


def _size(tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    return sum(map(len, tokenizer.encode(texts)))
