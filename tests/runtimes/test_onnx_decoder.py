"""A decoder's graph by the model builder: it decodes as the module goes forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from kit.compression.onnx import matmul_nbits, stored_graph
from kit.runtimes.onnx_decoder import onnx_decoder, to_onnx_decoder
from kit.spec.checking import SpecError, Undefined

IDS = torch.arange(1, 33).reshape(2, 16)
SIZES: dict[str, Any] = {
    **{"vocab_size": 96, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES)
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def graph(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx_decoder"
    to_onnx_decoder(model, {"input_ids": IDS}, path)
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.data"}
    return path


def expected(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits
    return found


def test_rows_of_different_lengths_go_on_together_and_forget(model: nn.Module, graph: Path) -> None:
    session = onnx_decoder(graph, 1)
    long, short = session.prefill(IDS[:1, :9])[1], session.prefill(IDS[1:, :3])[1]
    both = session.merge([(short, [0]), (long, [0])])
    for k in range(2):  # the second time after the first was forgotten
        found = session.step(both, torch.stack([IDS[1, 3:6], IDS[0, 9:12]]))
        torch.testing.assert_close(found[0], expected(model, IDS[1:, :6])[0, 3:], rtol=0, atol=1e-4)
        torch.testing.assert_close(
            found[1], expected(model, IDS[:1, :12])[0, 9:], rtol=0, atol=1e-4
        )
        if k == 0:
            session.crop(both, 3)


def test_a_state_grows_past_its_room_up_to_the_window(model: nn.Module, graph: Path) -> None:
    session = onnx_decoder(graph, 1)
    ids = torch.randint(64, (1, 128), generator=torch.Generator().manual_seed(1))
    _, state = session.prefill(ids[:, :40])
    before = session.bytes(state)
    assert before == session.state_bytes(40)
    found = torch.cat([session.step(state, ids[:, k : k + 1]) for k in range(40, 128)], 1)
    torch.testing.assert_close(found, expected(model, ids)[:, 40:], rtol=0, atol=1e-4)
    assert session.bytes(state) > before
    with pytest.raises(SpecError, match="129 tokens; expected at most 128"):
        session.step(state, ids[:, :1])


@pytest.mark.parametrize(("bits", "near"), [(8, 0.03), (4, 0.4)])
def test_few_bits_are_near_and_counted(
    model: nn.Module, graph: Path, tmp_path: Path, bits: int, near: float
) -> None:
    output = tmp_path / graph.name
    matmul_nbits(graph, output, bits=bits)
    right = expected(model, IDS)
    gap = (onnx_decoder(output, 1).forward({"input_ids": IDS}) - right).abs().max()
    assert 0 < gap < near * right.abs().max()
    assert stored_graph(output, compressed=True).bits_per_weight == bits + 1  # 32 bits a block


def test_what_the_builder_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Undefined, match="takes language models of transformers"):
        to_onnx_decoder(nn.Linear(2, 2), {"input_ids": IDS}, tmp_path / "m")
