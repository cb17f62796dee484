"""Sessions that decode, from outside the kit: what a runtime gives and what a measurement needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from helpers import toy_variant
from torch import Tensor, nn

import kit
from kit.architectures.states import state_bytes
from kit.build import build
from kit.build.runner import Runner
from kit.checks import check
from kit.measurements import Quality
from kit.measurements.interface import Raw
from kit.runtimes.session import Session
from kit.spec.checking import SpecError
from kit.spec.kinds import register_artifact
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.study.study import Study

LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=1))


class Cached:
    """Decodes with the cache of transformers."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()

    def forward(self, inputs: Mapping[str, Tensor]) -> Any:
        with torch.no_grad():
            return self.model(**inputs).logits

    def prefill(self, ids: Tensor) -> tuple[Tensor, Any]:
        from transformers import DynamicCache

        state = DynamicCache()
        return self.step(state, ids)[:, -1], state

    def step(self, state: Any, ids: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self.model(ids, past_key_values=state, use_cache=True).logits
        return logits

    def fork(self, state: Any, n: int) -> Any:
        forked = copy.deepcopy(state)
        forked.batch_repeat_interleave(n)
        return forked

    def bytes(self, state: Any) -> int:
        return sum(t.nbytes for layer in state.layers for t in (layer.keys, layer.values))


def cached(model: nn.Module) -> Session:
    """Keeps keys and values from token to token."""
    return Cached(model)


def greedy(runner: Any, *, tokens: int = 4) -> Raw:
    """The most likely tokens after a first one."""
    chosen = decoded(runner.session, torch.ones((1, 1), dtype=torch.long), tokens)
    return Raw("written_ids", {"token": chosen.numpy()[0]})


def written_ids() -> dict[str, np.ndarray]:
    """Tokens that a model wrote."""
    return {"token": np.arange(4)}


def decoded(session: Session, ids: Tensor, count: int) -> Tensor:
    """Returns ids [b, t] and the `count` most likely ones after them."""
    scores, state = session.prefill(ids)
    for _ in range(count):
        chosen = scores.argmax(-1, keepdim=True)
        ids, scores = torch.cat([ids, chosen], 1), session.step(state, chosen)[:, -1]
    return ids


@pytest.fixture
def decoding(registries: None) -> None:
    """A runtime that decodes, and a measurement that needs one."""
    kit.register_runtime(gives=("forward", "decode"), version=1)(cached)
    register_artifact(record="token", columns=("token",))(written_ids)
    kit.register_measurement(
        where="worker", artifacts=("written_ids",), needs=("decode",), version=1
    )(greedy)


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(1, 256, (2, 6), generator=torch.Generator().manual_seed(0))


def test_greedy_tokens_are_those_of_full_forwards(decoding: None, ids: Tensor) -> None:
    runner = Runner(LLAMA.replace(runtime="cached"), 1)
    full = ids
    for _ in range(8):
        scores = runner.forward({"input_ids": full})[:, -1]
        full = torch.cat([full, torch.from_numpy(scores.argmax(-1))[:, None]], 1)
    assert torch.equal(decoded(runner.session, ids, 8), full)


def test_a_fork_goes_its_own_way(decoding: None, ids: Tensor) -> None:
    runner = Runner(LLAMA.replace(runtime="cached"), 1)
    session = runner.session
    scores, state = session.prefill(ids)
    before = session.bytes(state)
    choices = torch.randint(1, 256, (6, 3), generator=torch.Generator().manual_seed(1))
    branch = session.fork(state, 3)
    found = session.step(branch, choices).numpy()
    whole = torch.cat([ids.repeat_interleave(3, 0), choices], 1)
    expected = runner.forward({"input_ids": whole})
    np.testing.assert_allclose(found, expected[:, 6:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, expected[::3, 5], rtol=1e-4, atol=1e-5)
    assert session.bytes(state) == before
    assert session.bytes(branch) == 3 * before // 6 * 9
    assert before == 2 * state_bytes(runner.model.module, 6)  # of each of two rows


def test_a_runtime_that_decodes_keeps_its_contract(decoding: None) -> None:
    found = {one.check: one for one in check("runtimes/cached")}
    assert found["decodes as it goes forward"].passed


def test_what_a_runtime_does_not_give_stands_in_the_plan(decoding: None, toys: Ref) -> None:
    eager, able = LLAMA.replace(name="plain"), LLAMA.replace(runtime="cached", name="able")
    study = Study("decoding", [Run(variant, Ref("greedy")) for variant in (able, eager)], eager)
    rows = study.plan().set_index("variant")
    assert dict(rows.status) == {"able": "to do", "plain": "cannot"}
    said = (
        "greedy needs a runtime that gives decode, which eager does not; use cached or llama_cpp "
        "or onnx_decoder"
    )
    assert rows.reason["plain"] == said == build.conflict(eager, Ref("greedy"))
    assert build.conflict(eager, Quality(toys)) is None
    assert build.conflict(toy_variant(toys), Ref("greedy")) == said


def test_a_session_that_cannot_do_what_its_runtime_says_is_refused(registries: None) -> None:
    def plain(model: Any) -> Any:
        return lambda inputs: model(**inputs)

    kit.register_runtime(gives=("forward", "decode"), version=1)(plain)
    with pytest.raises(SpecError, match="says that it gives decode, and its Forward has no prefi"):
        Runner(LLAMA.replace(runtime="plain"), 1)
