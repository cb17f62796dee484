"""What a model is made of and what making it took: counts, not timings of a deployment."""

from __future__ import annotations

import contextlib
import json

import numpy as np

from kit.build.runner import Runner, TorchRunner
from kit.build.steps import Weights
from kit.build.traits import is_trained
from kit.measurements.interface import Positive, Raw
from kit.spec.checking import Undefined
from kit.spec.kinds import Quantity
from kit.spec.register_measures import register_measurement


@register_measurement(
    where="worker",
    artifacts=("quantities",),
    quantities={
        "parameters": Quantity("count"),
        "non_embedding_parameters": Quantity("count"),
        "state_bytes": Quantity("bytes"),
        "flops_per_token": Quantity("FLOP"),
        "training_seconds": Quantity("s"),
        "training_flops": Quantity("FLOP"),
        "training_tokens": Quantity("count", None),
        "rate": Quantity("1", None),
    },
    decodes=True,
    version=2,
    seconds=3.0,
)
def cost(runner: Runner, *, context: Positive = 1024) -> Raw:
    """Parameters, bytes of state at a context, FLOPs a token, and what the training took.

    An image counts as one token.

    Args:
        runner: the variant; its module is counted.
        context: tokens whose cache or state is counted, for one sequence.
    """
    from kit.architectures.budget import count_parameters, flops_per_token
    from kit.architectures.preprocessing import positions
    from kit.architectures.states import state_bytes

    module = runner.model.module if isinstance(runner, TorchRunner) else None
    rows: list[tuple[str, str, float]] = []
    if module is not None:
        total, non_embedding = count_parameters(module)
        rows.append(("parameters", "", total))
        rows.append(("non_embedding_parameters", "", non_embedding))
        preprocessor = runner.model.preprocessor
        inputs = preprocessor.collate(preprocessor.made_up(1, runner.length or context))
        with contextlib.suppress(Undefined):
            flops = flops_per_token(module, inputs)
            rows.append(("flops_per_token", f"context={positions(inputs)}", flops))
        with contextlib.suppress(Undefined):
            causal = runner.model.kind == "causal"
            own = getattr(runner.session, "state_bytes", None)  # of a session whose scheme says it
            held = own(context) if own else state_bytes(module, context) if causal else 0
            if held:
                rows.append(("state_bytes", f"context={context}", held))
    if is_trained(runner.variant):
        path = Weights(runner.variant).built() / "training.json"
        training = json.loads(path.read_text(encoding="utf-8"))
        spent = {f"training_{key}": training[key] for key in ("seconds", "flops", "tokens")}
        spent["rate"] = training["rate"]
        rows += [(name, "", value) for name, value in spent.items() if value is not None]
    quantity, condition, value = zip(*rows, strict=True) if rows else ((), (), ())
    return Raw(
        "quantities",
        {
            "quantity": np.array(quantity, dtype=str),
            "condition": np.array(condition, dtype=str),
            "value": np.array(value, np.float64),
        },
    )
