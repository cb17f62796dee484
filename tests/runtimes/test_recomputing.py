"""Decoding without a state says what a plain forward says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kit.build.runner import Runner
from kit.measurements.going_on import decoder, recomputing
from kit.runtimes.recomputing import Recomputing
from kit.runtimes.session import Forward
from kit.spec.ref import Ref
from kit.spec.spec import Variant

TEXTS = torch.tensor([[5, 9, 3, 7], [2, 2, 8, 1]])
NEXT = torch.tensor([[4, 6], [6, 4]])


@pytest.fixture
def runner() -> Runner:
    return Runner(Variant(Ref("llama", width=32, feed_forward=64, depth=1)), 1)


def plain(runner: Runner, rows: Any) -> Any:
    return torch.as_tensor(runner.session.forward({"input_ids": torch.tensor(rows)}))


def test_every_step_is_that_of_a_plain_forward(runner: Runner) -> None:
    again = recomputing(runner)
    logits, state = again.prefill(TEXTS)
    whole = plain(runner, torch.cat([TEXTS, NEXT], 1).tolist())
    torch.testing.assert_close(logits, whole[:, 3], rtol=0, atol=1e-5)
    torch.testing.assert_close(again.step(state, NEXT), whole[:, 4:], rtol=0, atol=1e-5)
    again.crop(state, 1)
    torch.testing.assert_close(again.step(state, NEXT[:, 1:]), whole[:, 5:], rtol=0, atol=1e-5)
    assert again.bytes(state) == 0


def test_forks_and_merged_rows_go_their_own_ways(runner: Runner) -> None:
    again = recomputing(runner)
    _, one = again.prefill(TEXTS[:1])
    _, other = again.prefill(TEXTS[1:, :2])
    forks = again.fork(one, 2)
    again.step(forks, NEXT[:, :1])
    assert one == [TEXTS[0].tolist()]
    merged = again.merge([(forks, [1]), (other, [0])])
    found = again.step(merged, torch.tensor([[1], [1]]))[:, 0]
    expected = [
        plain(runner, [[*TEXTS[0].tolist(), 6, 1]])[0, -1],
        plain(runner, [[2, 2, 1]])[0, -1],
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)


def test_what_keeps_a_state_decodes_by_it(runner: Runner) -> None:
    assert decoder(runner) is runner.session
    runner.session = Forward(runner.session.forward)  # type: ignore[assignment]
    assert isinstance(decoder(runner), Recomputing)
