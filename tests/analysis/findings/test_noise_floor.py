"""Flips of a model against itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kit.analysis.findings.noise_floor import noise_floor, repeats
from kit.measurements import Latency
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Training, Variant
from kit.store import results
from kit.store.store import Artifact


def floor(artifacts: list[Artifact]) -> list[dict[str, Any]]:
    return noise_floor(artifacts, repeats([one.run for one in artifacts]), {})


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
    asked = [one.run for one in runs]
    assert repeats(asked) == {asked[0]: asked[1], asked[4]: asked[3]}
    assert repeats(asked[2:4]) == {}
    timings = [Run(base, Latency("toys", threads=count)) for count in (1, 2)]
    assert repeats(timings) == {}  # what is no prediction is no repeat


def test_of_as_many_settings_the_first_is_repeated(base: Variant, small: Variant) -> None:
    main, again = (
        [Run(v, Ref("classify", task=Ref("toys"), **how)) for v in (base, small)]
        for how in ({}, {"batch_size": 1})
    )
    assert repeats([*main, *again]) == dict(zip(again, main, strict=True))


def test_a_repeat_that_failed_has_a_row_and_that_of_a_run_that_failed_has_none(
    predicted: Any, base: Variant, small: Variant
) -> None:
    right = np.arange(50) > 9
    ours, theirs, other = (
        predicted(variant, right, **how)
        for variant, how in ((base, {}), (small, {}), (small, {"batch_size": 1}))
    )
    again = Run(base, ours.run.measurement.replace(batch_size=1))
    lost = {theirs.run: ("error", "broken"), again: ("error", "crashed")}
    (row,) = noise_floor([ours, other], repeats([ours.run, theirs.run, other.run, again]), lost)
    assert (row["variant"], row["metric"], row["status"]) == ("base", "noise_flips", "error")
    assert (row["note"], row["condition"]) == (
        "crashed",
        "batch_size=1;context=8;varied=batch_size",
    )
    results.to_frame([row])


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
    rows = floor(runs)
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
    rows = floor([*runs, again])
    (seeds,) = [row for row in rows if row["seed"] == "all"]
    assert (seeds["value"], seeds["condition"]) == ((4 + 6 + 6) / 3, "context=8;varied=seed")
    assert "mean of 3 pairs of seeds" in seeds["note"] and len(seeds["run_id"].split()) == 3
    assert len(rows) == 2
    assert floor([predicted(base.replace(seed=s), right[0]) for s in (0, 1)]) == []


def test_a_language_model_s_repeat_changes_bits(base: Variant) -> None:
    def made(nll: list[float], items: list[str], **args: Any) -> Artifact:
        run = Run(base, Ref("classify", task=Ref("toys"), **args))
        columns = {"item": np.array(items), "nll": np.array(nll), "bytes": np.array([4, 4])}
        columns["tokens"] = np.array([2, 2])
        return Artifact(run, content_hash(run), "tokens", columns, {"protocol": {"context": 8}})

    usual = made([2.0, 6.0], ["a", "b"]), made([1.0, 1.0], ["a", "b"], split="amazon")
    again = made([6.5, 2.0], ["b", "a"], batch_size=1)
    asked = [one.run for one in (*usual, again)]
    assert repeats(asked) == {asked[2]: asked[0]}
    (row,) = floor([*usual, again])
    assert (row["metric"], row["n"]) == ("noise_bits_per_byte", 2)
    assert row["value"] == pytest.approx(0.5 / 8 / np.log(2))
    assert row["condition"] == "batch_size=1;context=8;varied=batch_size"
    assert row["note"] == "scores move by up to 0.5"


def test_several_labels_flip_together_and_a_number_by_its_error(base: Variant) -> None:
    def made(kind: str, columns: dict[str, Any], **args: Any) -> Artifact:
        split = {"multi_label": "amazon", "regression": "tweets"}[kind]
        run = Run(base, Ref("classify", task=Ref("toys"), split=split, **args))
        items = np.arange(3).astype(str)
        return Artifact(run, content_hash(run), kind, {"item": items, **columns}, {})

    label = np.array([[1, 0], [0, 0], [1, 1]])
    scores = np.where(label, 1.0, -1.0)
    moved = scores.copy()
    moved[0, 1], moved[2] = 0.5, -1.0
    true, said = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])
    flips, error = floor(
        [
            made("multi_label", {"label": label, "logits": scores}),
            made("regression", {"label": true, "prediction": true}),
            made("multi_label", {"label": label, "logits": moved}, batch_size=1),
            made("regression", {"label": true, "prediction": said}, batch_size=1),
        ]
    )
    assert (flips["metric"], flips["value"], flips["n"]) == ("noise_flips", 2, 3)
    assert (error["metric"], error["n"]) == ("noise_rmse", 3)
    assert error["value"] == pytest.approx(np.sqrt(1 / 3))
