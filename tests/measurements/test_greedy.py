"""Greedy texts, held against a plain forward over the whole text for each token."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch

from kit.build.runner import Runner
from kit.measurements.going_on import decoder
from kit.measurements.greedy import greedy, parting
from kit.spec.ref import Ref
from kit.spec.spec import Variant

PROMPT = [5, 9, 3, 7, 2]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    yield Runner(Variant(Ref("llama", width=64, feed_forward=64, depth=1)), 1)


@pytest.fixture
def session(runner: Runner) -> Any:
    return decoder(runner)


def plainly(session: Any, count: int) -> list[int]:
    ids = [*PROMPT]
    for _ in range(count):
        ids.append(int(session.forward({"input_ids": torch.tensor([ids])})[0, -1].argmax()))
    return ids[len(PROMPT) :]


class Off:
    """A session whose logits are a little off from a given call on."""

    def __init__(self, session: Any, call: int, token: int, by: float) -> None:
        self._session, self._left, self._token, self._by = session, call, token, by

    def _off(self, logits: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            logits = logits.clone()
            logits[..., self._token] += self._by
        return logits

    def prefill(self, ids: Any) -> Any:
        logits, state = self._session.prefill(ids)
        return self._off(logits), state

    def step(self, state: Any, ids: Any) -> Any:
        return self._off(self._session.step(state, ids))


def test_a_text_is_what_plain_forwards_write(session: Any) -> None:
    found = [token for token, _ in islice(greedy(session, PROMPT), 12)]
    assert found == plainly(session, 12)


def test_equal_texts_never_part(runner: Runner, session: Any) -> None:
    assert parting(session, runner, PROMPT, 12) == (12, 0.0)


@pytest.mark.parametrize("place", [0, 3])
def test_where_texts_part_and_how_much_that_is(runner: Runner, session: Any, place: int) -> None:
    text = plainly(session, place + 1)
    logits = session.forward({"input_ids": torch.tensor([[*PROMPT, *text[:place]]])})[0, -1]
    wrong = int(logits.argsort()[-2])
    lead = float(logits.max() - logits[wrong])
    off = Off(session, place, wrong, 2 * lead)
    same, gap = parting(off, runner, PROMPT, 12)
    assert same == place
    assert gap == pytest.approx(lead / float(logits.abs().max()), rel=1e-4)
    near = Off(session, place, wrong, 0.5 * lead)
    assert parting(near, runner, PROMPT, place + 1) == (place + 1, 0.0)
