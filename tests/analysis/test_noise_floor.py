"""Flips of a model against itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kit import registry, results
from kit.analysis.noise_floor import noise_floor, repeats
from kit.spec import Ref, Run, Training, Variant, content_hash
from kit.store import Artifact


def quality(
    runner: Any, *, task: Any = None, split: str = "test", batch_size: int = 32, threads: int = 1
) -> None: ...


@pytest.fixture(autouse=True)
def _sized(monkeypatch: pytest.MonkeyPatch, world: None) -> None:
    monkeypatch.setattr(registry.measurements, "_entries", {})
    registry.register_measurement(where="worker", artifacts=(), version=1)(quality)


@pytest.fixture(name="predicted")
def _predicted(classified: Any) -> Any:
    def make(variant: Variant, right: np.ndarray, split: str = "test", **args: Any) -> Artifact:
        made = classified(variant, right, split=split, info={"protocol": {"context": 8}})
        run = Run(variant, made.run.measurement.replace(**args))
        return replace(made, run=run, run_id=content_hash(run))

    return make


def test_only_runs_that_change_no_more_than_rounding_are_repeats(
    predicted: Any, base: Variant, small: Variant
) -> None:
    right = np.arange(50) > 9
    runs = [
        predicted(base, right, batch_size=1),
        predicted(base, right),
        predicted(base, right, split="amazon"),
        predicted(small, right),
        predicted(small, right, threads=2),
        predicted(small.replace(seed=1), right),
    ]
    assert repeats(runs) == [(runs[1], runs[0]), (runs[3], runs[4])]
    assert repeats(runs[2:4]) == []


def test_flips_by_what_was_varied(predicted: Any, base: Variant) -> None:
    right = np.arange(50) > 9
    other = right.copy()
    other[[0, 1, 40]] = ~other[[0, 1, 40]]
    runs = [
        predicted(base, right),
        predicted(base, right, threads=2),
        predicted(base, other, batch_size=1),
        predicted(base, right, split="amazon"),
    ]
    rows = noise_floor(runs)
    found = {row["condition"]: (row["value"], row["n"], row["note"]) for row in rows}
    assert found == {
        "context=8;threads=2;varied=threads": (0, 50, "scores move by up to 0"),
        "batch_size=1;context=8;varied=batch_size": (3, 50, "scores move by up to 2"),
    }
    assert {row["metric"] for row in rows} == {"noise_flips"}
    assert rows[0]["run_id"].split() == [runs[0].run_id, runs[1].run_id]
    results.to_frame(rows)


def test_seeds_of_what_was_trained(predicted: Any, base: Variant) -> None:
    trained = replace(base, training=Training(Ref("toys")))
    right = np.ones((3, 40), bool)
    right[1, :4], right[2, 2:8] = False, False
    runs = [predicted(trained.replace(seed=s), each) for s, each in enumerate(right)]
    again = predicted(trained, right[1], batch_size=1)
    rows = noise_floor([*runs, again])
    (seeds,) = [row for row in rows if row["seed"] == "all"]
    assert (seeds["value"], seeds["condition"]) == ((4 + 6 + 6) / 3, "context=8;varied=seed")
    assert "mean of 3 pairs of seeds" in seeds["note"] and len(seeds["run_id"].split()) == 3
    assert len(rows) == 2
    assert noise_floor([predicted(base.replace(seed=s), right[0]) for s in (0, 1)]) == []


def test_a_language_model_s_repeat_changes_bits(base: Variant) -> None:
    def made(nll: list[float], items: list[str], **args: Any) -> Artifact:
        run = Run(base, Ref("quality", task=Ref("toys"), **args))
        columns = {"item": np.array(items), "nll": np.array(nll), "bytes": np.array([4, 4])}
        return Artifact(run, content_hash(run), "tokens", columns, {"protocol": {"context": 8}})

    usual = made([2.0, 6.0], ["a", "b"]), made([1.0, 1.0], ["a", "b"], split="amazon")
    again = made([6.5, 2.0], ["b", "a"], batch_size=1)
    assert repeats([*usual, again]) == [(usual[0], again)]
    (row,) = noise_floor([*usual, again])
    assert (row["metric"], row["n"]) == ("noise_bits_per_byte", 2)
    assert row["value"] == pytest.approx(0.5 / 8 / np.log(2))
    assert row["condition"] == "batch_size=1;context=8;varied=batch_size"
    assert row["note"] == "scores move by up to 0.5"
