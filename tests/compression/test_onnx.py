"""Dynamic int8 of a graph, and the bits of a graph's matrices."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from kit.compression.onnx import dynamic_int8, stored_graph
from kit.runtimes.onnx import export
from kit.spec import SpecError


class Small(nn.Module):
    """An embedding, two layers, a recurrent one, and an output that shares the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.layer = nn.Linear(16, 24)
        self.back = nn.Linear(24, 16)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.back(torch.relu(self.layer(self.embedding(input_ids))))
        return hidden


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    torch.manual_seed(0)
    export(Small(), {"input_ids": torch.zeros(2, 5, dtype=torch.int64)}, path)
    return path


def compressed(graph: Path, folder: Path, **args: Any) -> Path:
    dynamic_int8(graph, folder / "model.onnx", **args)
    return folder / "model.onnx"


def test_a_graph_as_exported_has_32_bits(graph: Path) -> None:
    found = stored_graph(graph, compressed=False)
    assert (found.bits_per_weight, found.notes) == (32, [])
    assert found.disk_bytes == sum(file.stat().st_size for file in graph.parent.iterdir())


def test_int8_counts_scales_and_zero_points(graph: Path, tmp_path: Path) -> None:
    weights, outputs = 2 * 16 * 24, 24 + 16
    found = stored_graph(compressed(graph, tmp_path), compressed=True)
    assert found.bits_per_weight == pytest.approx(8 + outputs * (32 + 8) / weights)
    assert found.notes == []
    one = compressed(graph, tmp_path, per_channel=False)
    bits = stored_graph(one, compressed=True).bits_per_weight
    assert bits == pytest.approx(8 + 2 * (32 + 8) / weights)


def test_a_matrix_that_stays_float_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel, layer = (rng.normal(size=size).astype(np.float32) for size in ((4, 2, 3), (6, 5)))
    nodes = [
        helper.make_node("Einsum", ["x", "kernel"], ["h"], equation="bd,dnh->bnh"),
        helper.make_node("Reshape", ["h", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["y"]),
    ]
    held = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(layer, "layer"),
        numpy_helper.from_array(np.array([-1, 6]), "shape"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 5])]
    made = helper.make_graph(nodes, "made", inputs, outputs, held)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "float.onnx")
    found = stored_graph(compressed(tmp_path / "float.onnx", tmp_path), compressed=True)
    assert found.notes == ["not compressed, at 32 bits: kernel"]
    assert found.bits_per_weight == pytest.approx((32 * 24 + 8 * 30 + 5 * 40) / 54)


def test_the_users_own_logging_is_as_before(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters))
    compressed(graph, tmp_path)
    assert (root.level, root.handlers, root.filters) == before
    assert not [record for record in caplog.records if "quantization" in record.pathname]
    logging.warning("heard")  # noqa: LOG015
    assert "heard" in caplog.messages


def test_a_graph_that_cannot_be_compressed_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(SpecError, match=r"^noise\.onnx is no ONNX graph that quantize_dynamic"):
        compressed(tmp_path / "noise.onnx", tmp_path)
    assert not logging.getLogger().filters
