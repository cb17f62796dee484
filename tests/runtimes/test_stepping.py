"""A compiled step says what eager says, from buffers that grow, fork and go back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from kit.runtimes.compiled import compiled
from kit.runtimes.decoding import session_of
from kit.runtimes.stepping import BLOCK, StepSession
from kit.spec.checking import Undefined


def tiny(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(tiny_models.configuration(name)).eval()


def ids(rows: int, tokens: int) -> Tensor:
    return torch.randint(5, 60, (rows, tokens), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces a step as it is compiled, and runs the trace without a compiler, which takes long."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: compile_(f, backend="eager"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "deepseek_v3"])
def test_steps_are_those_of_eager(traced: None, name: str) -> None:
    model = tiny(name)
    eager: Any = session_of(model)
    session = StepSession(model, eager.forward)
    for rows in (1, 3):
        (found, state), (expected, other) = (
            session.prefill(ids(rows, 9)),
            eager.prefill(ids(rows, 9)),
        )
        torch.testing.assert_close(found, expected)
        for given in (ids(rows, 1), ids(rows, 4), ids(rows, 1)):
            found, expected = session.step(state, given), eager.step(other, given)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_forks_and_steps_back_leave_the_rest_as_it_is(traced: None) -> None:
    model = tiny("llama")
    eager: Any = session_of(model)
    session = StepSession(model, eager.forward)
    _, state = session.prefill(ids(2, 6))
    branch = session.fork(state, 3)
    session.step(branch, ids(6, 1))
    session.step(state, ids(2, 3))
    session.crop(state, 3)
    whole = torch.cat([ids(2, 6), ids(2, 1)], 1)
    expected = eager.forward({"input_ids": whole})[:, -1:]
    torch.testing.assert_close(session.step(state, ids(2, 1)), expected, rtol=1e-4, atol=1e-4)


def test_buffers_grow_by_blocks_and_hold_what_the_formula_says(traced: None) -> None:
    model = tiny("llama")
    session = StepSession(model, session_of(model).forward)
    for tokens in (1, BLOCK - 1, BLOCK):
        _, state = session.prefill(ids(2, tokens))
        assert session.bytes(state) == 2 * session.state_bytes(tokens)
    assert session.state_bytes(BLOCK) == 2 * session.state_bytes(BLOCK - 1)
    _, state = session.prefill(ids(1, BLOCK - 1))
    for _ in range(2):
        found = session.step(state, ids(1, 1))
    assert session.bytes(state) == session.state_bytes(BLOCK)
    whole = torch.cat([ids(1, BLOCK - 1), ids(1, 1), ids(1, 1)], 1)
    expected = session.forward({"input_ids": whole})[:, -1:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_one_trace_does_for_all_lengths(traced: None) -> None:
    model = tiny("llama")
    with torch._dynamo.config.patch(error_on_recompile=True):
        session = StepSession(model, session_of(model).forward)
        for tokens in (5, 9, 300):
            _, state = session.prefill(ids(1, tokens))
            session.step(state, ids(1, 1))


def test_a_step_that_cannot_be_traced_is_refused(traced: None) -> None:
    model = tiny("falcon_alibi")  # it makes its own mask, of one that is not given
    session = StepSession(model, session_of(model).forward)
    _, state = session.prefill(ids(1, 9))
    with pytest.raises(Undefined, match="torch.compile cannot take a step"):
        session.step(state, ids(1, 1))


@pytest.mark.slow
def test_inductor_says_what_eager_says(session_store: Path) -> None:
    model = tiny("llama")
    eager: Any = session_of(model)
    session: Any = compiled(model, cache="static")
    (_, state), (_, other) = session.prefill(ids(1, 9)), eager.prefill(ids(1, 9))
    for _ in range(3):
        found, expected = session.step(state, ids(1, 1)), eager.step(other, ids(1, 1))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mistral", "jamba", "mamba"])
def test_a_state_that_forgets_is_refused(name: str) -> None:
    with pytest.raises(Undefined, match=r"layers all keep every token; \w+ does not"):
        compiled(tiny(name), cache="static")
