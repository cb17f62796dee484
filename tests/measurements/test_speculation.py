"""Guessing ahead never changes what is written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.build.runner import Runner
from kit.measurements.going_on import decoder, recomputing
from kit.measurements.greedy import greedy
from kit.measurements.speculation import LONGEST, SHORTEST, Draft, Lookup, speculative
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant

PROMPT = [5, 9, 3, 7, 2, 9, 3, 7]
LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=1))


@pytest.fixture(scope="module")
def session() -> Any:
    return recomputing(Runner(LLAMA, 1))


def greedily(session: Any, tokens: int) -> list[int]:
    return [token for token, _ in islice(greedy(session, PROMPT), tokens)]


class Told:
    """Guesses the right tokens, but for each of some places."""

    def __init__(self, right: Sequence[int], wrong: frozenset[int] = frozenset()) -> None:
        self._right, self._wrong = right, wrong

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        start = len(text) - len(PROMPT)
        places = range(start, min(start + most, len(self._right)))
        return [(self._right[k] + (k in self._wrong)) % 256 for k in places]


@settings(max_examples=25, deadline=None)
@given(wrong=st.frozensets(st.integers(0, 30)), tokens=st.integers(1, 30))
def test_whatever_is_guessed_what_is_written_is_greedy(wrong: frozenset[int], tokens: int) -> None:
    again = recomputing(Runner(LLAMA, 1))
    expected = greedily(again, 30)
    found = speculative(again, PROMPT, tokens, Told(expected, wrong))
    assert found.tokens == expected[:tokens]
    assert 0 <= found.right <= found.guessed


def test_right_guesses_are_all_taken(session: Any) -> None:
    expected = greedily(session, 24)
    found = speculative(session, PROMPT, 24, Told(expected))
    assert found.tokens == expected and found.guessed == found.right > 18


@pytest.mark.parametrize("guesser", [Lookup, lambda: Draft(recomputing(Runner(LLAMA, 1)))])
def test_each_guesser_writes_greedily(session: Any, guesser: Any) -> None:
    found = speculative(session, PROMPT, 20, guesser())
    assert found.tokens == greedily(session, 20)


def test_a_draft_that_is_the_model_is_always_right(session: Any) -> None:
    found = speculative(session, PROMPT, 40, Draft(recomputing(Runner(LLAMA, 1))))
    assert found.guessed == found.right > 30


def test_a_draft_that_is_another_model_goes_back_to_what_was_written(session: Any) -> None:
    other = Draft(recomputing(Runner(LLAMA.replace(seed=1), 1)))
    found = speculative(session, PROMPT, 40, other)
    assert found.tokens == greedily(session, 40)


@given(text=st.lists(st.integers(0, 3), min_size=1, max_size=40), most=st.integers(0, 9))
def test_a_lookup_finds_the_last_like_of_the_longest_end(text: list[int], most: int) -> None:
    lookup = Lookup()
    lookup.guess(text[: len(text) // 2], most)
    expected: list[int] = []
    for size in range(SHORTEST, LONGEST + 1):
        for end in range(size, len(text)):
            if text[end - size : end] == text[-size:]:
                expected = text[end : end + most]
    assert lookup.guess(text, most) == expected


def test_a_state_that_forgets_nothing_is_told() -> None:
    runner = Runner(Variant(Ref("lstm", width=16, depth=1)), 1)
    assert not hasattr(decoder(runner), "crop")
    with pytest.raises(Undefined, match="cannot forget a wrong guess"):
        speculative(decoder(runner), PROMPT, 4, Lookup())
