"""Attention in pieces, held against torch's over the whole mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from kit.measurements.trie import grow
from kit.runtimes import attention
from kit.runtimes.attention import Narrow


def drawn(past: int, *, root: bool = True) -> torch.Tensor:
    """Which keys 40 branches of a tree may look at, [t, past + t]; of one root, or of many."""
    rng = np.random.default_rng(past)
    sequences = [
        [*([9] if root else []), *rng.integers(0, 5, rng.integers(4, 12))] for _ in range(40)
    ]
    trie = grow(sequences, [1] * len(sequences))
    attends = torch.from_numpy(trie.attends(np.arange(len(trie.token))))
    return torch.cat([torch.ones(len(attends), past, dtype=torch.bool), attends], 1)


def attended(allowed: torch.Tensor, heads: int = 2) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Returns what attention is given: queries, keys and values, and an additive mask."""
    torch.manual_seed(0)
    rows, columns = allowed.shape
    given = [torch.randn(1, heads, n, 8) for n in (rows, columns, columns)]
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    return given, {"attn_mask": mask[None, None], "scale": 0.3}


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("past", [0, 13])
@pytest.mark.parametrize("root", [True, False])
def test_it_is_attention_over_the_whole_mask(
    rows: int, past: int, root: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "ROWS", rows)
    allowed = drawn(past, root=root)
    given, how = attended(allowed)
    expected = functional.scaled_dot_product_attention(*given, **how)
    with Narrow(allowed):
        found = functional.scaled_dot_product_attention(*given, **how)
    torch.testing.assert_close(found, expected)


def test_what_no_token_looks_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "ROWS", 16)
    pairs = []

    def spied(query: Any, key: Any, value: Any, **how: Any) -> Any:
        pairs.append(query.shape[-2] * key.shape[-2])
        return torch.zeros_like(query)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", spied)
    allowed = drawn(0)
    given, how = attended(allowed)
    narrow = Narrow(allowed)
    narrow.__torch_function__(spied, [], tuple(given), how)
    assert allowed.sum() <= sum(pairs) < allowed.numel() / 3


def test_attention_over_other_keys_is_left_alone() -> None:
    given, how = attended(drawn(0))
    expected = functional.scaled_dot_product_attention(*given, is_causal=True)
    other = functional.scaled_dot_product_attention(*given, **how)
    with Narrow(torch.ones(3, 5, dtype=torch.bool)):
        causal = functional.scaled_dot_product_attention(*given, is_causal=True)
        torch.testing.assert_close(causal, expected)
        torch.testing.assert_close(functional.scaled_dot_product_attention(*given, **how), other)
