"""Inductor agrees with eager on every batch and length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kit.architectures.modules import Classifier
from kit.runtimes.compiled import compiled
from kit.runtimes.eager import eager
from kit.spec.checking import Undefined


@pytest.mark.slow
def test_agrees_with_eager_and_keeps_its_kernels(
    model: Classifier,
    batches: list[dict[str, Tensor]],
    session_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    plain, fast = eager(model).forward, compiled(model)
    for inputs in (batches[0], batches[2]):  # a batch of one would be compiled anew
        torch.testing.assert_close(fast(inputs), plain(inputs), rtol=1e-4, atol=1e-5)
    assert any((session_store / "inductor").iterdir())


def test_a_model_that_cannot_be_compiled_is_refused_in_a_sentence(
    model: Classifier, batches: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("\x1b[96mno C++ compiler\x1b[0m is there\nSet CXX, or read a page")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", broken)
    torch._dynamo.reset()
    with pytest.raises(
        Undefined, match=r"torch.compile cannot take this model: no C\+\+ compiler"
    ) as e:
        compiled(model)(batches[0])
    assert str(e.value).endswith("is there")
    torch._dynamo.reset()
