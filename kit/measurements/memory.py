"""Bytes on disk, in memory after loading, and at the peak of a fresh process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kit import tasks
from kit.compression.rounding import linear_layers
from kit.measurements.bench import Raw, TaskRef
from kit.registry import register_measurement
from kit.runner import Runner
from kit.spec import Ref, Undefined

STATUS = Path("/proc/self/status")
EXCLUDED = "without the libraries (their imports) and the system's file cache"


def Memory(task: str | Ref, **args: Any) -> Ref:
    """Asks for the memory of a fresh process that loads a variant and answers one batch.

    Args:
        task: whose examples are answered.
        **args: see `memory`.
    """
    return Ref("memory", task=task, **args)


@register_measurement(where="fresh", artifacts=("memory",), version=2, seconds=10.0)
def memory(
    runner: Runner,
    *,
    task: TaskRef,
    split: str = "test",
    batch_size: Annotated[int, Field(ge=1)] = 32,
    threads: Annotated[int, Field(ge=1)] = 1,
) -> Raw:
    """Bytes on disk, resident after loading, and peak while loading and answering one batch.

    Resident and peak are over what the process held before the model and what its imports added
    since, so that they are the variant's own. The peak is the kernel's high-water mark of this
    process (`VmHWM`), which a child does not inherit.

    Args:
        runner: the variant, loaded in this fresh process.
        task: whose examples are answered.
        split: which part of it.
        batch_size: examples in the one batch.
        threads: of the process.

    Raises:
        Undefined: no `/proc` on this system.
    """
    if not STATUS.exists():
        raise Undefined("memory is read from /proc, which this system does not have")
    resident = _status("VmRSS") - runner.imported_bytes
    data = tasks.load(task)
    examples = data.examples(data.split(split, batch_size))
    if runner.model.kind == "causal":
        runner.forward(runner.inputs(examples))
    else:
        runner.predict(examples, batch_size)
    peak = _status("VmHWM") - runner.imported_bytes
    disk, weights, bits = _stored(runner)
    quantities = {
        "resident_bytes": resident,
        "peak_bytes": peak,
        "disk_bytes": disk,
        "weight_bytes": weights,
    } | ({"bits_per_weight": bits} if bits else {})
    return Raw(
        "memory",
        {
            "quantity": np.array(list(quantities)),
            "value": np.array(list(quantities.values()), np.float64),
        },
        {"notes": [EXCLUDED]},
    )


def _status(field: str) -> int:
    line = next(row for row in STATUS.read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024


def _stored(runner: Runner) -> tuple[float, float, float]:
    """Returns bytes on disk as deployed, bytes at nominal bits, and bits of a linear weight.

    For simulated schemes the second is what a real kernel's format would take; the first is what
    the simulation itself stores. Bits include scales; 0 where a graph or predictor tells none.
    """
    import torch

    if runner.graph is not None:
        size = float(sum(path.stat().st_size for path in runner.graph.parent.glob("model.onnx*")))
        return size, size, 0.0
    if runner.model.kind == "predictor":
        return 0.0, 0.0, 0.0
    stored = getattr(runner.model.module, "stored_bits", {})
    disk, weights = 0.0, 0.0
    for name, parameter in runner.model.module.named_parameters():
        plain = parameter.numel() * parameter.element_size()
        nominal = parameter.numel() * stored[name] / 8 if name in stored else plain
        weights += nominal
        packed = type(parameter.data) is not torch.Tensor  # a subclass that holds low-bit storage
        disk += nominal if packed else plain
    linear = {
        f"{name}.weight": module.weight
        for name, module in runner.model.module.named_modules()
        if isinstance(module, linear_layers())
    }
    count = sum(weight.numel() for weight in linear.values())
    bits = sum(w.numel() * stored.get(n, 8 * w.element_size()) for n, w in linear.items())
    return disk, weights, bits / count if count else 0.0
