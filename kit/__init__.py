"""kit: which version of this model should I deploy, and what do I give up?

The public names; each is imported when it is first used, so that `import kit` loads no torch.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime writes an id of the machine into the home folder and reports every
# session to its maker unless this was set before its import; later versions read the second name.
for _name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
    os.environ.setdefault(_name, "1")

_HOMES = {
    "kit.spec.checking": ("SpecError", "Undefined"),
    "kit.spec.ref": ("Ref",),
    "kit.spec.spec": ("Budget", "Run", "Training", "Variant"),
    "kit.spec.kinds": ("Quantity", "register_artifact"),
    "kit.spec.register_models": (
        "register_architecture",
        "register_exporter",
        "register_runtime",
        "register_scheme",
    ),
    "kit.spec.register_measures": (
        "register_corruption",
        "register_measurement",
        "register_metric",
        "register_task",
    ),
    "kit.spec.register_derived": ("register_derived",),
    "kit.corruptions": ("CorruptionRef", "Severity", "corrupted_examples"),
    "kit.spec.roles": ("Axis", "Rounding", "TaskRef"),
    "kit.tasks.own": ("task_from_frame", "task_from_text"),
    "kit.tasks.own_choices": ("choices_from_frame", "generation_from_frame"),
    "kit.measurements.interface": ("Raw", "Split"),
    "kit.compression.rounding": ("map_linear_weights",),
    "kit.compression.stored": ("Compressed",),
    "kit.measurements": (
        "Classify",
        "Cost",
        "Decode",
        "FindNeedles",
        "Generate",
        "Latency",
        "Memory",
        "Quality",
        "ScoreChoices",
        "ScoreLast",
        "ScoreLmEval",
        "ScoreText",
        "SelfTest",
        "State",
        "Users",
        "Write",
    ),
    "kit.spec.presets": ("Preset",),
    "kit.study.study": ("Study",),
    "kit.study.variants": ("classifier",),
    "kit.study.harnesses": (
        "compare_architectures",
        "evaluate_shift",
        "sweep_quantization",
    ),
    "kit.checks": ("check",),
    "kit.analysis.adapters": ("as_evaluate", "from_evaluate", "from_torchmetrics"),
    "kit.analysis.derived": ("key_of",),
    "kit.report.verdict.inferiority": ("non_inferior",),
    "kit.report.verdict.recommend": ("recommend",),
    "kit.analysis.findings.reweight": ("at_shares",),
    "kit.analysis.findings.fitting": ("users_that_fit",),
    "kit.analysis.findings.trends": ("loss_with_distance", "on_the_line"),
    "kit.store.meaning": ("expand", "load"),
    "kit.report.placeholders": ("placeholder",),
    "kit.report.publish": ("publish",),
    "kit.report.summary": ("summary",),
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {
    "assets": "kit.assets",
    "environment": "kit.machine.environment",
    "plot": "kit.report.plot",
    "presets": "kit.spec.presets",
    "tasks": "kit.tasks",
}
__all__ = sorted([*_NAMES, *_MODULES])  # noqa: PLE0605 (computed from one table)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'kit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
