"""What a model is made of and what making it took: counts, not timings of a deployment."""

from __future__ import annotations

import contextlib
import json

import numpy as np

from kit import build
from kit.measurements.bench import Positive, Raw
from kit.registry import register_measurement
from kit.runner import Runner, TorchRunner
from kit.values import Undefined


@register_measurement(where="worker", artifacts=("cost",), version=1, seconds=3.0)
def cost(runner: Runner, *, context: Positive = 1024) -> Raw:
    """Parameters, bytes of state at a context, FLOPs a token, and what the training took.

    An image counts as one token.

    Args:
        runner: the variant; its module is counted.
        context: tokens whose cache or state is counted, for one sequence.
    """
    from kit.architectures.budget import count_parameters, flops_per_token, state_bytes
    from kit.architectures.preprocessing import positions

    module = runner.model.module if isinstance(runner, TorchRunner) else None
    rows: list[tuple[str, str, float, str]] = []
    if module is not None:
        total, non_embedding = count_parameters(module)
        rows.append(("parameters", "", total, "parameters"))
        rows.append(("non_embedding_parameters", "", non_embedding, "parameters"))
        preprocessor = runner.model.preprocessor
        inputs = preprocessor.collate(preprocessor.made_up(1, runner.length or context))
        with contextlib.suppress(Undefined):
            flops = flops_per_token(module, inputs)
            rows.append(("flops_per_token", f"context={positions(inputs)}", flops, "FLOPs"))
        with contextlib.suppress(Undefined):
            held = state_bytes(module, context) if runner.model.kind == "causal" else 0
            if held:
                rows.append(("state_bytes", f"context={context}", held, "bytes"))
    if build.is_trained(runner.variant):
        path = build.Weights(runner.variant).built() / "training.json"
        training = json.loads(path.read_text(encoding="utf-8"))
        units = {"seconds": "s", "flops": "FLOPs", "tokens": "tokens"}
        made = {f"training_{key}": (training[key], unit) for key, unit in units.items()}
        made["rate"] = (training["rate"], "1")
        rows += [(k, "", value, unit) for k, (value, unit) in made.items() if value is not None]
    quantity, condition, value, unit = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Raw(
        "cost",
        {
            "quantity": np.array(quantity, dtype=str),
            "condition": np.array(condition, dtype=str),
            "value": np.array(value, np.float64),
            "unit": np.array(unit, dtype=str),
        },
    )
