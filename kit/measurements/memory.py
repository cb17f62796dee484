"""Bytes on disk, in memory after loading, and at the peak of a fresh process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kit import tasks
from kit.build.runner import Runner
from kit.measurements.interface import Positive, Raw, Split
from kit.spec.checking import Undefined
from kit.spec.kinds import Quantity
from kit.spec.register_measures import register_measurement
from kit.spec.roles import TaskRef

STATUS = Path("/proc/self/status")
EXCLUDED = "without the libraries (their imports) and the system's file cache"


@register_measurement(
    where="fresh",
    artifacts=("quantities",),
    quantities={
        "disk_bytes": Quantity("bytes"),
        "weight_bytes": Quantity("bytes"),
        "resident_bytes": Quantity("bytes"),
        "peak_bytes": Quantity("bytes"),
        "bits_per_weight": Quantity("bits"),
    },
    version=4,
    seconds=10.0,
)
def memory(
    runner: Runner,
    *,
    task: TaskRef,
    split: Split = "test",
    batch_size: Positive = 32,
    threads: Positive = 1,
) -> Raw:
    """Bytes on disk, resident after loading, and peak while loading and answering one batch.

    Resident and peak are over what the process held before the model and what its imports added
    since, so that they are the variant's own. The peak is the kernel's high-water mark of this
    process (`VmHWM`), which a child does not inherit.

    Bytes on disk are those that a deployment ships: the weight files of a pretrained model in the
    dtype they were saved in, an exported graph, else the parameters. The bytes and bits of weights
    are those that are computed with: a checkpoint in 16 bits that is loaded in fp32 has 32, one
    that is quantized has those its tensors hold, and a simulated scheme has those of its format.

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
    resident = status("VmRSS") - runner.imported_bytes
    data = tasks.load(task)
    examples = data.examples(data.split(split, batch_size))
    runner.forward(runner.inputs(examples))
    peak = status("VmHWM") - runner.imported_bytes
    found = runner.stored()
    quantities = {
        "resident_bytes": resident,
        "peak_bytes": peak,
        "disk_bytes": found.disk_bytes,
        "weight_bytes": found.nominal_bytes,
    } | ({"bits_per_weight": found.bits_per_weight} if found.bits_per_weight else {})
    return Raw(
        "quantities",
        {
            "quantity": np.array(list(quantities)),
            "condition": np.full(len(quantities), ""),
            "value": np.array(list(quantities.values()), np.float64),
        },
        {"notes": [EXCLUDED, *found.notes]},
    )


def status(field: str) -> int:
    """Returns what the kernel says of this process, in bytes: `VmRSS` now, `VmHWM` at most."""
    line = next(row for row in STATUS.read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024
