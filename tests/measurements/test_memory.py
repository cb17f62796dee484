"""Bytes on disk, after loading and at the peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import toy_variant

from kit.measurements import Memory
from kit.measurements import memory as module
from kit.measurements.bench import Bench, Raw
from kit.measurements.memory import memory
from kit.runner import Runner
from kit.spec import Ref, Run, Undefined, Variant
from kit.workers import Worker

PARAMETERS = 256 * 16 + (16 * 16 + 16) + (16 * 2 + 2)
LINEAR = 16 * 16 + 16 * 2


def quantities(raw: Raw) -> dict[str, float]:
    return dict(zip(raw.columns["quantity"], raw.columns["value"], strict=True))


def here(toys: Ref, **changes: Any) -> dict[str, float]:
    return quantities(memory(Runner(toy_variant(toys, **changes), 1), task=toys))


def test_a_fresh_process_has_a_peak_above_what_stays(toys: Ref) -> None:
    with Worker(Bench, threads=1, timeout=60) as worker:
        raw = worker.call("measure", Run(toy_variant(toys), Memory(toys)))
    found = quantities(raw)
    assert raw.kind == "memory"
    assert 0 < found["resident_bytes"] <= found["peak_bytes"]
    assert found["disk_bytes"] == found["weight_bytes"] == 4 * PARAMETERS
    assert found["bits_per_weight"] == 32
    assert raw.info["seconds"] > 0


def test_simulated_bits_count_in_the_weights_and_not_on_disk(toys: Ref) -> None:
    found = here(toys, schemes=["w4"])
    bits = 4 + 16 / 16  # a scale of 16 bits for a row of 16 weights
    assert found["bits_per_weight"] == bits
    assert found["disk_bytes"] == 4 * PARAMETERS
    assert found["weight_bytes"] == 4 * (PARAMETERS - LINEAR) + LINEAR * bits / 8


def test_a_graph_is_its_files(toys: Ref) -> None:
    runner = Runner(toy_variant(toys, runtime="onnx"), 1)
    found = quantities(memory(runner, task=toys))
    assert runner.graph is not None
    files = sum(path.stat().st_size for path in runner.graph.parent.glob("model.onnx*"))
    assert found["disk_bytes"] == found["weight_bytes"] == files > 4 * PARAMETERS
    assert "bits_per_weight" not in found


def test_a_predictor_has_no_weights(toys: Ref) -> None:
    found = quantities(memory(Runner(Variant(Ref("toy_rule")), 1, toys), task=toys))
    assert found["disk_bytes"] == found["weight_bytes"] == 0


def test_a_system_without_proc_has_no_number(
    toys: Ref, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "none")
    with pytest.raises(Undefined, match="memory is read from /proc, which this system does not"):
        here(toys)
