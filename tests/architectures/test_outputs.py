"""The logits of what modules return, torch's recurrent ones among them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kit.architectures.outputs import hidden, logits
from kit.spec.checking import SpecError
from kit.training.causality import peeks_ahead


class Recurrent(nn.Module):
    """Returns (logits, state), as torch's own recurrent modules do; the wrong way if asked."""

    def __init__(self, vocab_size: int = 11, turned: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 8)
        self.layer = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, vocab_size)
        self.turned = turned

    def forward(self, input_ids: torch.Tensor) -> Any:
        states, last = self.layer(self.embed(input_ids))
        return (last, self.head(states)) if self.turned else (self.head(states), last)


def test_the_first_of_a_tuple_is_the_logits() -> None:
    one = torch.zeros(2, 3)
    for output in (one, (one, "state"), [one], SimpleNamespace(logits=one)):
        assert logits(output) is one
    assert hidden(SimpleNamespace(last_hidden_state=one)) is hidden((one, None)) is one


@pytest.mark.parametrize("output", [{"scores": 1}, (), ({},), None, 3])
def test_what_holds_no_logits_is_told(output: Any) -> None:
    kind = type(output).__name__
    with pytest.raises(SpecError, match=f"returned a {kind}; expected the logits: a tensor, an"):
        logits(output)


def test_a_recurrent_model_is_causal_and_the_wrong_order_is_told() -> None:
    assert peeks_ahead(Recurrent(), 11) is None
    assert "returned logits of shape (1, 2, 8)" in str(peeks_ahead(Recurrent(turned=True), 11))
