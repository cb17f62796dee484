"""Rows of one run, and paired and pooled rows of several."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

import kit
from kit.analysis.score import compare, missing, score
from kit.analysis.statistics.influence import Ratio
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import meaning, results
from kit.store.store import Artifact

OWN = ["accuracy", "balanced_accuracy", "nll", "ece"]
"""What a study gives of one run of a classifier, without others to set it against."""
MEMORY = ("disk_bytes", "weight_bytes", "resident_bytes", "peak_bytes")


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [made for made in rows if all(made[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def right(n: int, wrong: int) -> np.ndarray:
    return np.arange(n) >= wrong


def test_every_metric_of_the_kind_gives_a_row(classified: Any, base: Variant) -> None:
    rows = score(classified(base, right(200, 30)))
    assert [made["metric"] for made in rows] == OWN
    accuracy = rows[0]
    assert accuracy["value"] == 0.85 and accuracy["n"] == 200 and accuracy["interval"] == "items"
    known = proportion_confint(170, 200, method="wilson")
    assert (accuracy["ci_low"], accuracy["ci_high"]) == pytest.approx(known)
    assert (accuracy["variant"], accuracy["task"], accuracy["split"]) == ("base", "toys", "test")
    assert "biased" in pick(rows, metric="ece")["note"]
    assert json.loads(json.dumps(rows))[0] == pytest.approx(accuracy, nan_ok=True)
    results.to_frame(rows)


def test_same_artifact_same_rows(classified: Any, base: Variant) -> None:
    artifact = classified(base, right(100, 20))
    assert json.dumps(score(artifact)) == json.dumps(score(artifact))


def test_bad_scores_are_error_rows_that_name_the_run(classified: Any, base: Variant) -> None:
    artifact = classified(base, right(50, 5))
    artifact.columns["logits"][7, 0] = np.nan
    rows = score(artifact)
    assert {made["status"] for made in rows} == {"error"}
    assert all(artifact.run_id in made["note"] and "item" not in made["unit"] for made in rows)
    assert all(math.isnan(made["value"]) for made in rows)
    results.to_frame(rows)
    outside = classified(base, right(50, 5), label=np.full(50, 2))
    assert "label 2 is outside the 2 classes" in score(outside)[0]["note"]


def test_a_run_without_artifact_gives_the_rows_it_would_have(base: Variant) -> None:
    run = Run(base, Ref("classify", task=Ref("toys"), split="test"))
    lost = Artifact(run, "f" * 16, "classification", {})
    rows = missing(lost, ("error", "out of memory"))
    assert [made["metric"] for made in rows] == OWN
    assert {(made["status"], made["note"]) for made in rows} == {("error", "out of memory")}
    results.to_frame(rows)


def test_no_items_is_undefined(classified: Any, base: Variant) -> None:
    rows = score(classified(base, right(0, 0)))
    assert {(made["status"], made["note"]) for made in rows} == {("undefined", "no items")}


def test_scores_that_are_no_probabilities_have_no_calibration(
    classified: Any, base: Variant
) -> None:
    rows = score(classified(base, right(50, 5), info={"rated": False, "notes": ["a lexicon"]}))
    kept = {made["metric"] for made in rows if made["status"] == "ok"}
    assert kept == {"accuracy", "balanced_accuracy"}
    assert pick(rows, metric="nll")["note"] == "its scores are no probabilities; a lexicon"


def test_clusters_are_found(classified: Any, base: Variant) -> None:
    rows = score(classified(base, right(300, 40), cluster=(np.arange(300) // 3).astype(str)))
    assert {made["interval"] for made in rows} == {"clusters", ""}


def test_groups_of_twenty_and_more(classified: Any, base: Variant) -> None:
    domain = np.array(["book"] * 60 + ["film"] * 35 + ["rare"] * 5)
    rows = score(classified(base, right(100, 30), **{"group:domain": domain}), ["accuracy"])
    assert [made["group"] for made in rows[:3]] == ["", "domain=book", "domain=film"]
    assert (rows[1]["value"], rows[1]["n"]) == (0.5, 60)


def test_a_metric_of_a_user(classified: Any, base: Variant) -> None:
    @kit.register_metric(artifact="classification", higher_is_better=False, unit="share", version=1)
    def missed(logits: Any, label: Any) -> float:
        return float(((logits.argmax(1) == 1) & (label == 0)).mean())

    @kit.register_metric(artifact="classification", higher_is_better=False, unit="share", version=1)
    def moody(logits: Any) -> float:
        raise Undefined("not today")

    @kit.register_metric(artifact="classification", higher_is_better=False, unit="share", version=1)
    def needy(mood: Any) -> float:
        return 0.0

    @kit.register_metric(artifact="classification", higher_is_better=None, unit="1")
    def of_some_runs(features: Any) -> float:
        return 0.0

    @kit.register_metric(artifact="classification", higher_is_better=False, unit="share", version=1)
    def broken(label: Any) -> Any:
        return np.ones(3)

    rows = score(
        classified(base, right(100, 30)), ["missed", "moody", "needy", "of_some_runs", "broken"]
    )
    assert rows[0]["value"] == 0.15
    assert 0.05 < rows[0]["ci_low"] < 0.15 < rows[0]["ci_high"] < 0.3
    assert [made["status"] for made in rows[1:]] == ["undefined", "undefined", "error"]
    assert rows[1]["note"] == "not today"
    assert rows[2]["note"] == "classification artifacts have no column 'mood'"
    assert "3 values for 100 items" in rows[3]["note"]
    with pytest.raises(SpecError, match="Did you mean 'accuracy'"):
        score(classified(base, right(10, 1)), ["acuracy"])


def test_timing(timed: Any, base: Variant, small: Variant) -> None:
    ours, theirs = [0.5, 0.52, 0.49, 0.5], [1.0, 1.0, 1.02, 1.04]
    rows = score(timed(small, base, ours, theirs, calls=20))
    speedup = pick(rows, metric="speedup")
    assert speedup["value"] == pytest.approx(2.02, rel=0.01) and speedup["baseline"] == "base"
    assert speedup["condition"] == "batch_size=1;length=32" and speedup["interval"] == "launches"
    assert speedup["p_value"] < 0.001 < speedup["mde"]
    assert pick(rows, metric="latency")["n"] == 4 and not pick(rows, metric="latency")["baseline"]
    throughput = pick(rows, metric="throughput")
    assert throughput["value"] == pytest.approx(1 / pick(rows, metric="latency")["value"])
    assert pick(rows, metric="latency_p90")["n"] == 80
    assert pick(rows, metric="latency_p99")["note"] == "80 quiet calls; p99 needs 662"
    assert pick(rows, metric="cold_start_seconds")["note"] == "the run recorded no start"
    results.to_frame(rows)


def test_quantities(base: Variant) -> None:
    def saved(*quantities: str) -> Artifact:
        columns = {
            "quantity": np.array(quantities),
            "condition": np.array([f"part={n // 2}" for n in range(len(quantities))]),
            "value": 100.0 + np.arange(len(quantities)),
        }
        run = Run(base, Ref("memory", task=Ref("toys")))
        return Artifact(run, "0" * 16, "quantities", columns)

    rows = score(saved("disk_bytes", "peak_bytes", "peak_bytes"))
    assert [(row["metric"], row["condition"], row["value"]) for row in rows] == [
        ("disk_bytes", "part=0", 100),
        ("peak_bytes", "part=0", 101),
        ("peak_bytes", "part=1", 102),
    ]
    assert {row["unit"] for row in rows} == {"bytes"} and meaning.higher_is_better(
        "disk_bytes"
    ) is False
    assert "different values" in score(saved("disk_bytes", "disk_bytes"))[0]["note"]
    rows = score(saved("disc_bytes"))
    assert {row["status"] for row in rows} == {"error"}
    assert "unknown quantity of memory 'disc_bytes'. Did you mean 'disk_bytes'" in rows[0]["note"]
    lost = Artifact(saved().run, "0" * 16, "quantities", {})
    assert not score(lost)
    made = missing(lost, ("error", "killed"))
    assert {row["metric"] for row in made} == {"bits_per_weight", *MEMORY}


def test_compare_pairs_on_shared_items(classified: Any, base: Variant, small: Variant) -> None:
    theirs = classified(base, right(100, 10))
    back = np.arange(100)[::-1]
    ours = classified(small, right(100, 14))
    ours = replace(ours, columns={name: column[back][:90] for name, column in ours.columns.items()})
    rows = compare([theirs, ours], base)
    made = pick(rows, metric="accuracy_change")
    assert (made["n"], made["baseline"], made["variant"]) == (90, "base", "small")
    assert made["value"] == pytest.approx(-4 / 90)  # those whom both have wrong are not shared
    straight = compare([theirs, classified(small, right(100, 14))], base)
    assert pick(straight, metric="accuracy_change")["value"] == pytest.approx(-0.04)
    assert pick(straight, metric="flips_lost")["value"] == 4
    assert pick(straight, metric="flips_gained")["value"] == 0
    balanced = pick(straight, metric="balanced_accuracy_change")
    assert balanced["value"] == pytest.approx(-0.04) and balanced["ci_low"] < -0.04
    results.to_frame(straight)


def test_an_interval_over_seeds_stays_a_share(classified: Any, base: Variant) -> None:
    accuracies = (0.98, 1.0, 1.0)
    runs = [
        classified(base.replace(seed=seed), np.arange(100) < 100 * share)
        for seed, share in enumerate(accuracies)
    ]
    (row,) = [r for r in compare(runs, base, ["accuracy"]) if r["metric"] == "accuracy"]
    assert row["value"] == pytest.approx(np.mean(accuracies)) and row["interval"] == "seeds"
    assert 0.9 < row["ci_low"] < 0.98 and row["ci_high"] == 1


def test_compare_over_seeds(classified: Any, base: Variant, small: Variant) -> None:
    wrong = {0: (10, 14), 1: (12, 12), 2: (8, 9)}
    artifacts = [
        classified(variant.replace(seed=seed), right(100, counts[at]))
        for seed, counts in wrong.items()
        for at, variant in enumerate((base, small))
    ]
    rows = compare(artifacts, base.replace(seed=2), ["accuracy"])
    assert pick(rows, metric="accuracy_change", seed="1")["value"] == 0
    assert pick(rows, metric="accuracy_change", seed="2")["value"] == pytest.approx(-0.01)
    pooled = pick(rows, metric="accuracy_change", seed="all")
    assert pooled["value"] == pytest.approx(-0.05 / 3) and pooled["interval"] == "seeds"
    assert len(pooled["run_id"].split()) == 6
    mean = pick(rows, metric="accuracy", seed="all", variant="base")
    assert (mean["value"], mean["interval"], mean["n"]) == (pytest.approx(0.9), "seeds", 3)
    two = compare([a for a in artifacts if a.run.variant.seed < 2], base, ["accuracy"])
    assert pick(two, metric="accuracy_change", seed="all")["interval"] == "items"
    assert "below 3" in pick(two, metric="accuracy", seed="all", variant="base")["note"]
    results.to_frame(rows)


def test_a_variant_of_one_seed_meets_all_of_the_baseline(
    classified: Any, base: Variant, small: Variant
) -> None:
    artifacts = [classified(base.replace(seed=s), right(100, w)) for s, w in ((1, 10), (2, 20))]
    rows = compare([*artifacts, classified(small, right(100, 12))], base, ["accuracy"])
    single = pick(rows, metric="accuracy_change", seed="0")
    assert single["value"] == pytest.approx(-0.02) and "seed 1 of the baseline" in single["note"]
    pooled = pick(rows, metric="accuracy_change", seed="all")
    assert pooled["value"] == pytest.approx(0.03)


def test_what_cannot_be_paired_says_so(classified: Any, base: Variant, small: Variant) -> None:
    rows = compare([classified(small, right(50, 5))], base, ["accuracy"])
    assert pick(rows, metric="accuracy_change")["note"] == "the baseline was not measured here"
    ratings = classified(small, right(50, 5), info={"rated": False})
    rows = compare([classified(base, right(50, 4)), ratings], base, ["nll"])
    made = pick(rows, metric="nll_change")
    assert made["status"] == "undefined" and "no probabilities" in made["note"]
    others = classified(small, right(50, 5), item=np.arange(100, 150).astype(str))
    rows = compare([classified(base, right(50, 4)), others], base, ["accuracy"])
    assert "share no item" in pick(rows, metric="accuracy_change")["note"]


def test_language_models_are_compared_by_byte(base: Variant, small: Variant) -> None:
    def made(variant: Variant, factor: float) -> Artifact:
        rng = np.random.default_rng(0)
        size = rng.integers(100, 1000, 60)
        columns = {
            "item": np.arange(60).astype(str),
            "cluster": (np.arange(60) // 2).astype(str),
            "nll": size * factor * rng.uniform(0.9, 1.1, 60),
            "tokens": size,
            "bytes": size,
        }
        run = Run(variant, Ref("classify", task=Ref("toys")))
        return Artifact(run, f"{factor:016}", "tokens", columns, {"protocol": {"context": 256}})

    artifacts = [made(base, 1.0), made(small, 1.1)]
    value = score(artifacts[0])[0]
    assert value["condition"] == "context=256" and value["interval"] == "clusters"
    change = pick(compare(artifacts, base), metric="bits_per_byte_change")
    theirs, ours = (score(artifact)[0]["value"] for artifact in artifacts)
    assert change["value"] == pytest.approx(ours - theirs)
    assert change["ci_low"] > 0.12 and change["p_value"] < 1e-6


def test_a_million_predictions_take_seconds(classified: Any, base: Variant, small: Variant) -> None:
    rng = np.random.default_rng(0)
    artifacts = [classified(variant, rng.random(500_000) < 0.8) for variant in (base, small)]
    start = time.monotonic()
    assert len(score(artifacts[0])) == len(OWN) and len(compare(artifacts, base)) == 5
    assert time.monotonic() - start < 20


def test_ratio_of_nothing_is_undefined() -> None:
    with pytest.raises(Undefined):
        _ = Ratio(np.zeros(3), np.zeros(3)).value
