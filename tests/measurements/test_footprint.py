"""Bytes told before scoring, held against what torch's allocator gives meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_scoring import FAMILIES, requests, saved

from kit.build.runner import Runner
from kit.measurements.footprint import bytes_needed, state_bytes
from kit.measurements.scoring import Request, score, way
from kit.measurements.sharing import StateWalk
from kit.measurements.walks import Walk
from kit.spec.ref import Ref
from kit.spec.spec import Variant


def allocated(call: Callable[[], Any]) -> int:
    """Returns the most bytes of tensors that were there at once during a call."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    assert record.profiler is not None
    found = record.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in found if e.name() == "[memory]")
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


MODELS = {
    "llama": Ref("llama", width=64, depth=4),
    "lfm2": Ref("lfm2", width=64, depth=3),
    "lstm": Ref("lstm", width=16),
    "toy": Ref("toy_causal"),
}


@pytest.mark.parametrize("most", [128, 512])
@pytest.mark.parametrize("shared", [3, 300])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_told_is_what_is_allocated(name: str, shared: int, most: int, toys: Ref) -> None:
    runner = Runner(Variant(MODELS[name]), 1)
    asked, by = requests(256, shared=shared, items=40), way(runner)
    told = bytes_needed(runner, asked, most, by)
    real = allocated(lambda: score(runner, asked, most, by))
    assert real / 1.5 <= told <= real * 1.5


@pytest.mark.parametrize("name", ["llama", "lfm2", "lstm"])
def test_a_state_takes_what_its_session_says(name: str, toys: Ref) -> None:
    runner = Runner(Variant(MODELS[name]), 1)
    session: Any = runner.session
    for tokens in (1, 2, 3, 40):
        _, state = session.prefill(torch.zeros(1, tokens).long())
        assert state_bytes(runner)(tokens) == session.bytes(state)


def test_memory_of_many_short_answers_after_a_long_question_is_bounded(tmp_path: Path) -> None:
    """Each answer goes on from a copy of what the question left: not all copies at once."""
    runner = Runner(saved(tmp_path / "lfm2", "lfm2", **FAMILIES["lfm2"][0]), 1)
    question = tuple(1 + k % 80 for k in range(600))
    asked = [Request(question, (1 + k, 2, 3)) for k in range(64)]
    room = 4 * 64 * 90
    copies = 64 * state_bytes(runner)(600)
    assert way(runner) is StateWalk and copies > 100 * room
    alone = allocated(lambda: score(runner, asked[:1], 64, StateWalk))
    assert allocated(lambda: score(runner, asked, 64, StateWalk)) < alone + copies / 10


def test_of_a_graph_its_logits_count(toys: Ref) -> None:
    runner = Runner(Variant(Ref("toy_causal"), runtime="onnx"), 1)
    assert runner.model.module is None
    asked = requests(256)
    places = sum(len(each.context) + len(each.continuation) for each in asked)
    row = 4 * 256
    assert 64 * row < bytes_needed(runner, asked, 128, Walk) < min(places, 2 * 128) * row
