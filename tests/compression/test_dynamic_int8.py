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
from kit.runtimes.onnx import to_onnx
from kit.spec.checking import SpecError


class Small(nn.Module):
    """An embedding and two linear layers."""

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
    to_onnx(Small(), {"input_ids": torch.zeros(2, 5, dtype=torch.int64)}, path)
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


def made(path: Path, nodes: list[Any], size: list[int], **held: np.ndarray) -> Path:
    """Writes a graph from `x`, of a shape, to `y`, with weights by name."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "made", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_matrix_that_stays_float_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Einsum", ["x", "kernel"], ["h"], equation="bd,dnh->bnh"),
        helper.make_node("Reshape", ["h", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["y"]),
    ]
    held = {"kernel": random(4, 2, 3), "layer": random(6, 5), "shape": np.array([-1, 6])}
    graph = made(tmp_path / "float.onnx", nodes, [7, 4], **held)
    found = stored_graph(compressed(graph, tmp_path), compressed=True)
    assert found.notes == ["not compressed, at 32 bits: kernel"]
    assert found.bits_per_weight == pytest.approx((32 * 24 + 8 * 30 + 5 * 40) / 54)


@pytest.mark.parametrize(
    ("pick", "bits", "notes"),
    [
        ("GatherND", 32, ["not compressed, at 32 bits: experts"]),
        ("Gather", 8 + 40 / 60, []),  # which the quantizer knows: a scale for the whole table
    ],
)
def test_experts_that_are_looked_up_are_matrices(
    pick: str, bits: float, notes: list[str], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node(pick, ["experts", "which"], ["chosen"]),
        helper.make_node("MatMul", ["chosen", "x"], ["y"]),
    ]
    which = np.array([[0], [2]] if pick == "GatherND" else [0, 2])
    graph = made(tmp_path / "float.onnx", nodes, [4, 1], experts=random(3, 5, 4), which=which)
    found = stored_graph(compressed(graph, tmp_path), compressed=True)
    assert (found.bits_per_weight, found.notes) == (pytest.approx(bits), notes)


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
