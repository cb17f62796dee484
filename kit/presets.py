"""Three dicts of defaults: `smoke` for tests, `default` for a laptop, `full` for a night.

A preset changes sizes and nothing else: the same code runs under all three, and an argument that
a notebook gives by hand wins over them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kit.values import SpecError, suggest

VARIABLE = "KIT_PRESET"

# seeds: trainings of a classifier; causal_seeds: of each small language model
# items: scored per split of a classification task (None: all); documents: of a language task
# training_examples, epochs: of a fine-tuning; passes: the most over the examples that a small
#   network from random weights makes an epoch (None: what it takes); tokens: of a language model
# rates: learning rates that an architecture comparison tries
# launches, batch_sizes, lengths, seconds: of a timing (seconds a launch, condition and side;
#   "task" is the task's own lengths)
# severities: of corruptions; corruptions, architectures: how many of those that a notebook lists
#   (None: all)
# selftest_launches, selftest_seconds: of a variant against itself (fewer launches where they are
#   slow or the machine is kept busy)
# wait: seconds that a launch waits for a quiet machine
# schemes, runtimes: what a sweep combines
# workers: worker processes for quality runs
_SCHEMES = ("bf16", "w8", "w4", "w4g32", "w3", "w2", "torchao_int8", "dynamic_int8")
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "seeds": 1,
        "causal_seeds": 1,
        "items": 64,
        "documents": 8,
        "training_examples": 256,
        "epochs": 1,
        "passes": 3,
        "tokens": 16 * 4 * 256,
        "rates": (3e-3,),
        "launches": 1,
        "batch_sizes": (1, 8),
        "lengths": ("task",),
        "seconds": 0.3,
        "selftest_launches": 4,
        "selftest_seconds": 0.1,
        "severities": (3,),
        "corruptions": 1,
        "architectures": 2,
        "wait": 1.0,
        "schemes": ("w4g32", "dynamic_int8"),
        "runtimes": ("eager", "onnx"),
        "workers": 1,
    },
    "default": {
        "seeds": 2,
        "causal_seeds": 3,
        "items": 500,
        "documents": 100,
        "training_examples": None,
        "epochs": 1,
        "passes": None,
        "tokens": 256_000,
        "rates": (1e-3, 3e-3, 1e-2),
        "launches": 4,
        "batch_sizes": (1, 32),
        "lengths": ("task",),
        "seconds": 2.5,
        "selftest_launches": 32,
        "selftest_seconds": 2.5,
        "severities": (1, 3, 5),
        "corruptions": None,
        "architectures": None,
        "wait": 30.0,
        "schemes": _SCHEMES,
        "runtimes": ("eager", "compiled", "onnx"),
        "workers": 2,
    },
    "full": {
        "seeds": 5,
        "causal_seeds": 5,
        "items": None,
        "documents": None,
        "training_examples": None,
        "epochs": 2,
        "passes": None,
        "tokens": 4_000_000,
        "rates": (1e-3, 3e-3, 1e-2),
        "launches": 8,
        "batch_sizes": (1, 32),
        "lengths": ("task", 32, 128),
        "seconds": 3.0,
        "selftest_launches": 96,
        "selftest_seconds": 3.0,
        "severities": (1, 2, 3, 4, 5),
        "corruptions": None,
        "architectures": None,
        "wait": 120.0,
        "schemes": _SCHEMES,
        "runtimes": ("eager", "compiled", "onnx"),
        "workers": 2,
    },
}


def preset_name() -> str:
    """Name of the preset in force: `KIT_PRESET`, or `default`.

    Raises:
        SpecError: `KIT_PRESET` names no preset.
    """
    name = os.environ.get(VARIABLE) or "default"
    if name not in _PRESETS:
        raise SpecError(f"{VARIABLE}: {suggest(name, _PRESETS, 'preset')}")
    return name


def preset() -> Mapping[str, Any]:
    """Sizes of the preset in force, read-only; every preset has the same keys.

    Raises:
        SpecError: `KIT_PRESET` names no preset.
    """
    return MappingProxyType(dict(_PRESETS[preset_name()]))
