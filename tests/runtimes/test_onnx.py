"""ONNX Runtime on an exported graph, and what quantizes the graph, against eager."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from kit.architectures.modules import Classifier
from kit.compression.onnx import dynamic_int8
from kit.runtimes.eager import eager
from kit.runtimes.onnx import export, onnx


@pytest.fixture(scope="module")
def graph(
    model: Classifier, batches: list[dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, batches[0], path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    return path


def test_any_batch_and_length_agree_with_eager(
    model: Classifier, batches: list[dict[str, Tensor]], graph: Path
) -> None:
    plain, forward = eager(model), onnx(graph, 1)
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
    expected = eager(model)(batches[0]).numpy()
    found = onnx(output, 1)(batches[0])
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max() + 0.02
