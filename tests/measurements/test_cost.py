"""What a model is made of and what its training took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers import measure, toy_texts, toy_variant

from kit.build.runner import Runner
from kit.build.steps import Weights
from kit.measurements import Cost
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Training, Variant


def quantities(runner: Runner, **args: Any) -> dict[str, float]:
    columns = measure(runner, Cost(**args)).columns
    rows = zip(columns["quantity"], columns["value"], strict=True)
    return {str(name): float(value) for name, value in rows}


def test_a_trained_classifier(toys: Ref) -> None:
    variant = toy_variant(toys)
    found = quantities(Runner(variant, 1))
    layers = (16 * 16 + 16) + (16 * 2 + 2)  # the encoder's and the head's
    assert found["non_embedding_parameters"] == layers
    assert found["parameters"] == layers + 256 * 16
    assert found["rate"] == 0.03
    assert found["training_seconds"] > 0
    assert found["training_tokens"] > 0
    assert (Weights(variant).folder / "training.json").is_file()


def test_the_state_of_a_language_model_grows_with_its_context(toys: Ref, fresh_store: Path) -> None:
    prose = toy_texts()
    training = Training(prose, Budget(tokens=256), batch_size=2, length=16, rates=(1e-2,))
    size = {"width": 8, "feed_forward": 16, "depth": 1, "heads": 2, "kv_heads": 1}
    llama = Variant(Ref("llama", **_known("llama", size)), training)
    states = [quantities(Runner(llama, 1), context=n)["state_bytes"] for n in (64, 128)]
    assert states[1] == 2 * states[0] > 0
    assert Cost(context=64) == Ref("cost", context=64)


def test_a_scheme_on_the_state_says_its_bytes() -> None:
    llama = Variant(Ref("llama", width=64, feed_forward=64, depth=2))
    evicted = llama.replace(schemes=[Ref("window", budget=64)])
    plain, found = (quantities(Runner(each, 1), context=256) for each in (llama, evicted))
    assert found["state_bytes"] == plain["state_bytes"] / 4
    assert found["parameters"] == plain["parameters"]


def test_a_predictor_costs_nothing_that_is_counted(toys: Ref) -> None:
    raw = measure(Runner(Variant(Ref("toy_rule")), 1, toys), Cost())
    assert {name: len(values) for name, values in raw.columns.items()} == dict.fromkeys(
        ("quantity", "condition", "value"), 0
    )


def _known(name: str, wanted: dict[str, int]) -> dict[str, int]:
    """Keeps the arguments that an architecture has."""
    import inspect

    from kit.spec import registry

    return {
        key: value
        for key, value in wanted.items()
        if key in inspect.signature(registry.architectures.get(name).function).parameters
    }
