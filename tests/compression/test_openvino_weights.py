"""Weights of a model of OpenVINO in a few bits: near, counted, and what was left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from kit.compression.openvino import nncf_weights, stored_model
from kit.runtimes.openvino import openvino, to_openvino
from kit.spec.checking import SpecError

pytest.importorskip("nncf")
pytestmark = pytest.mark.slow

IDS = torch.arange(1, 33).reshape(2, 16)
SIZE, INNER, LAYERS, WORDS = 64, 128, 2, 96


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=SIZE,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        tie_word_embeddings=False,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    path = tmp_path_factory.mktemp("made") / "model.openvino"
    to_openvino(model, {"input_ids": IDS}, path)
    return model, path


def test_few_bits_are_near_and_counted(made: tuple[Any, Path], tmp_path: Path) -> None:
    model, path = made
    plain = stored_model(path, compressed=False)
    assert plain.bits_per_weight == 32 and not plain.left
    with torch.no_grad():
        right = model(input_ids=IDS).logits
    inner, last = LAYERS * (4 * SIZE * SIZE + 3 * SIZE * INNER), SIZE * WORDS
    rows = LAYERS * (5 * SIZE + 2 * INNER) + WORDS
    of_int8 = 8 + 24 * rows / (inner + last)  # a scale in 16 bits, a zero point in 8
    of_int4 = ((4 + 20 / 32) * inner + 8 * last + 24 * WORDS) / (inner + last)
    for bits, near, said in ((8, 0.03, of_int8), (4, 0.4, of_int4)):
        output = tmp_path / f"{bits}"
        nncf_weights(path, output, bits=bits, group=32)
        session: Any = openvino(output, 1)
        gap = (session.forward({"input_ids": IDS}) - right).abs().max()
        assert 0 < gap < near * right.abs().max()
        found = stored_model(output, compressed=True)
        assert found.bits_per_weight == pytest.approx(said, rel=1e-3)
        assert found.disk_bytes < plain.disk_bytes and not found.left


def test_groups_that_do_not_divide_are_refused(made: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no model that NNCF can compress"):
        nncf_weights(made[1], tmp_path / "out", bits=4, group=48)
