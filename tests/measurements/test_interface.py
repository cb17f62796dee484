"""What a worker holds: one runner, kept for the next run of the same variant."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import toy_variant

import kit
from kit.analysis.score import score
from kit.compression.stored import Compressed
from kit.measurements import Quality, interface
from kit.spec.ref import Ref
from kit.spec.spec import Run
from kit.store.store import Artifact


def test_runs_of_one_variant_share_a_loaded_model(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr(
        interface,
        "Runner",
        lambda *args, real=interface.Runner: loaded.append(args[0].name) or real(*args),
    )
    worker, base = interface.Bench(), toy_variant(toys)
    for variant in (base, base.replace(schemes=["w4"])):
        for split in ("test", "later"):
            raw = worker.measure(Run(variant, Quality(toys, split, 4)))
            assert raw.info["seconds"] >= 0
            assert len(raw.columns["item"]) == 4
    assert loaded == ["base", "base w4"]


def test_what_schemes_note_stands_beside_every_number(toys: Ref, registries: None) -> None:
    def warned(model: Any) -> Compressed:
        return Compressed(model, {}, ("it was rounded before",))

    kit.register_scheme(form="module", version=1)(warned)
    variant = toy_variant(toys, schemes=["warned", "bf16", "warned"])
    raw = interface.Bench().measure(Run(variant, Quality(toys, "test", 4)))
    assert raw.info["notes"] == ["it was rounded before"]
    rows = score(
        Artifact(Run(variant, Quality(toys, "test", 4)), "0", raw.kind, raw.columns, raw.info)
    )
    assert rows and all("it was rounded before" in row["note"] for row in rows)
    plain = interface.Bench().measure(Run(toy_variant(toys), Quality(toys, "test", 4)))
    assert plain.info["notes"] == []


def test_a_measurement_that_returns_no_raw_is_told(toys: Ref, registries: None) -> None:
    def careless(runner: Any, *, task: Any = None) -> Any:
        return {"accuracy": 1.0}

    kit.register_measurement(where="worker", artifacts=("tokens",), version=1)(careless)
    with pytest.raises(TypeError, match="careless returned a dict; expected kit's Raw"):
        interface.Bench().measure(Run(toy_variant(toys), Ref("careless")))
