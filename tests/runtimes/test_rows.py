"""Rows of different lengths in one state: each goes on from its own end, as it would alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from kit.runtimes.decoding import session_of
from kit.runtimes.rows import length, padding

SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 90, "head_dim": 8,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma3_text": {"sliding_window": 8},
    "lfm2": {"block_auto_adjust_ff_dim": False, "full_attn_idxs": [2]},
}


def opened(kind: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES, **MODELS[kind])
    return session_of(AutoModelForCausalLM.from_config(config).eval())


def ids(rows: int, tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 90, (rows, tokens)))


def after(session: Any, *parts: torch.Tensor) -> torch.Tensor:
    """What a plain forward says after the last token of one row."""
    return session.forward({"input_ids": torch.cat(parts)[None]})[0, -1]


@pytest.mark.parametrize("kind", MODELS)
def test_merged_rows_go_on_from_their_own_ends(kind: str) -> None:
    session = opened(kind)
    long, short, more = ids(2, 13), ids(3, 6, 1), ids(3, 4, 2)
    one, other = session.prefill(long)[1], session.prefill(short)[1]
    size = session.bytes(one)
    merged = session.merge([(one, [1]), (other, [2, 0])])
    rows = [long[1], short[2], short[0]]
    for k in range(3):
        found = session.step(merged, more[:, k : k + 1])[:, -1]
        expected = [
            after(session, row, each[: k + 1]) for row, each in zip(rows, more, strict=True)
        ]
        torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=0)
    assert session.bytes(one) == size  # the old ones stay as they are
    third = session.step(one, more[:2, :1])[:, -1]
    torch.testing.assert_close(third[0], after(session, long[0], more[0, :1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", MODELS)
def test_a_state_grows_shorter_when_its_longest_row_leaves(kind: str) -> None:
    session = opened(kind)
    long, short, more = ids(1, 13), ids(1, 3, 1), ids(1, 2, 2)
    states = [session.prefill(each)[1] for each in (long, short)]
    both = session.merge([(each, [0]) for each in states])
    alone = session.merge([(both, [1])])
    assert session.bytes(alone) == session.bytes(states[1]) < session.bytes(both) / 2
    assert length(alone) == 3 and padding(alone, more, placed=True) == {}
    found = session.step(alone, more)[0, -1]
    torch.testing.assert_close(found, after(session, short[0], more[0]), atol=1e-4, rtol=0)


def test_what_is_filled_is_told_to_the_model() -> None:
    session = opened("llama")
    states = [session.prefill(ids(1, tokens))[1] for tokens in (4, 2)]
    merged = session.merge([(each, [0]) for each in states])
    told = padding(merged, ids(2, 1), placed=True)
    assert told["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert told["position_ids"].tolist() == [[4], [2]]
    assert "position_ids" not in padding(merged, ids(2, 1), placed=False)


def test_forks_of_merged_rows_stay_merged() -> None:
    session = opened("llama")
    states = [session.prefill(ids(1, tokens))[1] for tokens in (4, 2)]
    forked = session.fork(session.merge([(each, [0]) for each in states]), 2)
    more = ids(4, 1, 3)
    found = session.step(forked, more)[:, -1]
    rows = [ids(1, tokens)[0] for tokens in (4, 4, 2, 2)]
    expected = [after(session, row, each) for row, each in zip(rows, more, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=0)
