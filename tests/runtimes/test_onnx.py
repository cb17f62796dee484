"""ONNX Runtime on an exported graph, and what quantizes the graph, against eager."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kit.architectures.modules import Classifier
from kit.compression.onnx import dynamic_int8
from kit.runtimes.eager import eager
from kit.runtimes.onnx import onnx, to_onnx
from kit.spec.checking import Undefined


@pytest.fixture(scope="module")
def graph(
    model: Classifier, batches: list[dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_onnx(model, batches[0], path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    return path


def test_any_batch_and_length_agree_with_eager(
    model: Classifier, batches: list[dict[str, Tensor]], graph: Path
) -> None:
    plain, forward = eager(model).forward, onnx(graph, 1)
    for inputs in batches:
        found = forward(inputs)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, plain(inputs).numpy(), rtol=1e-4, atol=1e-5)


def test_the_graph_has_dynamic_batch_and_length(graph: Path) -> None:
    for node in onnxruntime.InferenceSession(str(graph)).get_inputs():
        assert [type(size) for size in node.shape] == [str, str], node.name


@pytest.mark.parametrize("per_channel", [True, False])
def test_dynamic_int8_writes_a_near_graph_with_int8_weights(
    model: Classifier,
    batches: list[dict[str, Tensor]],
    graph: Path,
    tmp_path: Path,
    per_channel: bool,
) -> None:
    import onnx as graphs

    content = graph.read_bytes()
    output = tmp_path / "model.onnx"
    dynamic_int8(graph, output, per_channel=per_channel)
    assert graph.read_bytes() == content
    types = {tensor.data_type for tensor in graphs.load(output).graph.initializer}
    assert graphs.TensorProto.INT8 in types
    expected = eager(model).forward(batches[0]).numpy()
    found = onnx(output, 1)(batches[0])
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max() + 0.02


def classifier(kind: str) -> nn.Module:
    """A classifier of transformers, random and tiny, that gives its logits."""
    import transformers

    usual = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    usual |= {"vocab_size": 40, "intermediate_size": 32}
    of_xlnet = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32, "vocab_size": 40}
    made: dict[str, Callable[[], Any]] = {
        "longformer": lambda: transformers.LongformerConfig(
            **usual, attention_window=8, max_position_embeddings=64, sep_token_id=2
        ),
        "xlnet": lambda: transformers.XLNetConfig(**of_xlnet),
        "funnel": lambda: transformers.FunnelConfig(
            block_sizes=[1, 1], d_model=16, n_head=2, d_head=8, d_inner=32, vocab_size=40
        ),
    }
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(made[kind]())

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            found: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return found

    return Logits().eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("longformer", "torch.onnx cannot export this model: Could not guard on data-dependent"),
        ("xlnet", "torch.onnx cannot export this model: Cannot find a compatible OpOverload"),
        ("funnel", "works for inputs of 2 x 16 alone; with 3 x 11 it fails: Got invalid dimensio"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_sentence_and_nothing_is_printed(
    kind: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = torch.arange(1, 33).reshape(2, 16)
    model = classifier(kind)
    capfd.readouterr()
    with pytest.raises(Undefined) as caught:
        to_onnx(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, tmp_path / "m")
    assert said in (text := str(caught.value))
    assert len(text) < 400 and text.isprintable() and "[96m" not in text
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_answers_otherwise_than_its_module_is_refused(tmp_path: Path) -> None:
    class Other(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            return input_ids[:, :2].float() + (0 if torch.compiler.is_exporting() else 1)

    ids = torch.arange(1, 33).reshape(2, 16)
    with pytest.raises(Undefined, match=r"answers otherwise than the model on inputs of 3 x 11"):
        to_onnx(Other(), {"input_ids": ids}, tmp_path / "model.onnx")


def test_a_session_rests_when_its_call_has_ended(
    batches: list[dict[str, Tensor]], graph: Path
) -> None:
    forward, idle = onnx(graph, 2), []
    for _ in range(5):
        forward(batches[0])
        before = time.process_time()
        time.sleep(0.05)
        idle.append(time.process_time() - before)
    assert min(idle) < 0.005  # threads that spin on burn 0.025
