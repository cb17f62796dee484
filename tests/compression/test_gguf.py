"""What the weights of a GGUF take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from gguf import GGMLQuantizationType
from tiny_gguf import write_gguf

from kit.compression.gguf import stored_gguf

SIZE, WORDS = 64, 96


def test_bits_are_those_of_the_types_and_tables_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=WORDS, hidden_size=SIZE, intermediate_size=2 * SIZE, num_hidden_layers=2,
        num_attention_heads=4, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    inner, last = 2 * 10 * SIZE * SIZE, WORDS * SIZE
    for kind, bits in (
        (None, 32.0),
        (GGMLQuantizationType.Q8_0, 8.5),
        (GGMLQuantizationType.Q4_1, 5.0),
    ):
        path = write_gguf(model, tmp_path / f"{bits}.gguf", kind)
        found = stored_gguf(path, compressed=False)
        assert found.bits_per_weight == pytest.approx((bits * inner + 32 * last) / (inner + last))
        assert found.disk_bytes == found.nominal_bytes == path.stat().st_size and not found.left
    assert stored_gguf(path, compressed=True).left == {"output.weight": 32.0}
