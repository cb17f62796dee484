"""What decoding keeps, allocated and by formula; users that fit into a memory."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import measure
from torch import nn

import kit
from kit.build.runner import Runner
from kit.machine.workers import Worker
from kit.measurements import State, Users
from kit.measurements.interface import Bench, Raw
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store.results import parse_condition

LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=2, heads=2))
EACH = 2 * 2 * 64 * 4  # keys and values, layers, width (as many heads as key-value heads), bytes


def values(raw: Raw, name: str) -> dict[tuple[float, ...], float]:
    """Returns a quantity by the numbers of its condition, in the order of their names."""
    columns = raw.columns
    rows = zip(columns["quantity"], columns["condition"], columns["value"], strict=True)
    return {
        tuple(parse_condition(str(condition)).values()): float(value)
        for quantity, condition, value in rows
        if quantity == name
    }


@pytest.mark.parametrize("architecture", ["llama", "lfm2", "lstm"])
def test_what_is_allocated_is_what_the_formula_says(architecture: str) -> None:
    runner = Runner(Variant(Ref(architecture, width=64, depth=3)), 1)
    raw = measure(runner, State(contexts=(5, 40), batch_sizes=(1, 3)))
    held, said = (values(raw, f"{name}_state_bytes") for name in ("allocated", "expected"))
    assert held == said
    assert sorted(held) == [(1, 5), (1, 40), (3, 5), (3, 40)]
    assert held[3, 40] == 3 * held[1, 40] > 0


def test_a_session_that_holds_another_state_says_its_own_formula(registries: None) -> None:
    class Halved:
        def __init__(self, model: nn.Module) -> None:
            from kit.runtimes.decoding import session_of

            self._whole: Any = session_of(model.eval())
            self.forward = self._whole.forward
            self.prefill, self.step = self._whole.prefill, self._whole.step
            self.fork = self._whole.fork

        def bytes(self, state: Any) -> int:
            return int(self._whole.bytes(state)) // 2

        def state_bytes(self, context: int) -> int:
            return EACH * context // 2

    @kit.register_runtime(gives=("forward", "decode"), version=1)
    def halved(model: nn.Module) -> Halved:
        return Halved(model)

    runner = Runner(LLAMA.replace(runtime="halved"), 1)
    raw = measure(runner, State(contexts=(6,), batch_sizes=(2,)))
    assert values(raw, "allocated_state_bytes") == values(raw, "expected_state_bytes")


def test_what_cannot_be_is_told(toys: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(LLAMA, 1)
    with pytest.raises(Undefined, match=r"batch_size=10{12} at a context of 5 tokens .* at most"):
        measure(runner, State(contexts=(5,), batch_sizes=(10**12,)))
    onnx = Runner(LLAMA.replace(runtime="onnx"), 1)
    with pytest.raises(Undefined, match="keeps no state on onnx"):
        measure(onnx, State(contexts=(5,), batch_sizes=(1,)))
    held = runner.imported_bytes + 2**30  # in a process that other tests share it may be less
    monkeypatch.setattr("kit.measurements.state._resident", lambda: held)
    with pytest.raises(Undefined, match=r"without any user and .* expected at least"):
        measure(runner, Users(memory_gib=1e-6, context=8))


def test_as_many_users_fit_as_the_formula_says_and_not_one_more() -> None:
    wide = Variant(Ref("llama", width=256, feed_forward=64, depth=4, heads=2))
    with Worker(Bench, threads=1, timeout=120) as worker:
        raw = worker.call("measure", Run(wide, Users(memory_gib=0.25, context=512)))
    (most,) = values(raw, "users").values()
    (given,) = values(raw, "given_bytes").values()
    held = values(raw, "held_bytes")
    each = 512 * 4 * 2 * 256 * 4
    assert 10 < most < 0.25 * 2**30 / each
    assert held[512, most] <= given + 0.25 * each
    assert held[512, most + 1] > given
    assert held[512, most + 1] - held[512, most] == pytest.approx(each, rel=0.1)
