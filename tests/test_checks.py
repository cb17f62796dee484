"""`kit.check` fails what breaks its contract, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import kit
from kit.spec import SpecError


def failed(name: str) -> dict[str, str]:
    return {what: message for what, passed, message in kit.check(name) if not passed}


class Peeks(nn.Module):
    """Mixes every position with the mean of all, so that it sees the future."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(input_ids)
        return self.head(hidden + hidden.mean(1, keepdim=True))  # type: ignore[no-any-return]


def test_an_architecture_that_looks_ahead_fails(registries: None) -> None:
    @kit.register_architecture(kind="causal", version=1)
    def peeks(vocab_size: int, width: int) -> nn.Module:
        return Peeks(vocab_size, width)

    assert "never looks ahead" in failed("peeks")
    assert "padding does not leak" in failed("peeks")


def test_a_parameter_without_gradient_fails(registries: None) -> None:
    @kit.register_architecture(kind="causal", version=1)
    def idle(vocab_size: int, width: int) -> nn.Module:
        module = Peeks(vocab_size, width)
        module.unused = nn.Parameter(torch.zeros(3))
        return module

    assert "unused" in failed("idle")["a gradient reaches every parameter"]


def test_a_scheme_that_changes_its_model_fails(registries: None) -> None:
    @kit.register_scheme(stage="torch", version=1)
    def in_place(model: Any) -> Any:
        for parameter in model.parameters():
            parameter.data.zero_()
        return model

    assert set(failed("in_place")) == {"returns a new model", "leaves the old model bit-equal"}


def test_a_metric_that_changes_its_inputs_fails(registries: None) -> None:
    @kit.register_metric(artifact="classification", higher_is_better=None, unit="1", version=1)
    def spoils(logits: Any) -> Any:
        logits += 1
        return logits[:, 0]

    assert "leaves its inputs alone" in failed("spoils")


def test_a_metric_that_depends_on_order_fails(registries: None) -> None:
    @kit.register_metric(artifact="classification", higher_is_better=None, unit="1", version=1)
    def first(logits: Any) -> float:
        return float(logits[0, 0])

    assert "the order of the items does not matter" in failed("first")


def test_unknown_and_ambiguous_names_are_told(registries: None) -> None:
    with pytest.raises(SpecError, match="Did you mean 'llama'"):
        kit.check("lama")
    with pytest.raises(SpecError, match="kind 'scheme'"):
        kit.check("scheme/round")

    @kit.register_scheme(stage="torch", version=1)
    def eager(model: Any) -> Any:
        return model

    with pytest.raises(SpecError, match="say schemes/eager or runtimes/eager"):
        kit.check("eager")
