"""Attention that tells what each key received, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kit.runtimes import observed
from kit.runtimes.observed import Watched, attend

GENERATOR = torch.Generator().manual_seed(0)


def made(heads: int, tokens: int) -> torch.Tensor:
    return torch.randn(2, heads, tokens, 8, generator=GENERATOR)


BOOLEAN = torch.rand(2, 1, 7, 9, generator=GENERATOR) > 0.3
BOOLEAN[..., 0] = True
CASES: list[tuple[int, int, int, dict[str, Any]]] = [
    (4, 7, 9, {}),
    (4, 7, 9, {"attn_mask": BOOLEAN}),
    (4, 7, 9, {"attn_mask": torch.zeros(BOOLEAN.shape).masked_fill(~BOOLEAN, -1e9)}),
    (4, 7, 9, {"attn_mask": BOOLEAN[:, :, :1], "scale": 0.7}),
    (4, 7, 7, {"is_causal": True}),
    (2, 1, 9, {"enable_gqa": True}),
]


@pytest.mark.parametrize(("heads", "queries", "keys", "given"), CASES)
@pytest.mark.parametrize("rows", [3, 256])
def test_it_attends_as_torch_does_and_counts_what_it_gave(
    heads: int, queries: int, keys: int, given: dict[str, Any], rows: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(observed, "ROWS", rows)
    query, key, value = made(4, queries), made(heads, keys), made(heads, keys)
    found, received = attend(query, key, value, **given)
    expected = scaled_dot_product_attention(query, key, value, **given)
    assert torch.allclose(found, expected, atol=1e-5)
    share = 4 // heads
    identity = torch.eye(keys).expand(2, heads, keys, keys)  # values that tell the weights
    weights = scaled_dot_product_attention(query, key, identity, **given)
    assert weights.shape == (2, heads * share, queries, keys)
    assert torch.allclose(received, weights.sum(-2), atol=1e-5)


def test_only_the_layer_whose_turn_it_is_is_told() -> None:
    class Layer:
        watched: Any = None
        received: Any = None

        def observe(self, received: torch.Tensor) -> None:
            self.received = received

    first, second = Layer(), Layer()
    query = made(2, 3)
    with Watched([first, second]) as watched:
        scaled_dot_product_attention(query, query, query)
        assert first.received is None
        first.watched.layer = first
        scaled_dot_product_attention(query, query, query)
        scaled_dot_product_attention(query, query, query)
        assert watched is first.watched
    assert first.received.shape == (2, 2, 3)
    assert torch.allclose(first.received.sum(-1), torch.full((2, 2), 3.0))
    assert second.received is None and first.watched is None
