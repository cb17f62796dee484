"""Metrics that need other runs of a study: a fit on validation, a reference, the shifts' parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kit
from kit.analysis import score as scoring
from kit.analysis.metrics.calibration import ece
from kit.analysis.metrics.scaling import fit_temperature
from kit.analysis.sample import Related
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.intervals import smooth
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_softmax
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Variant
from kit.store import results
from kit.store.store import Artifact

Make = Callable[..., Artifact]


@pytest.fixture
def predicted() -> Make:
    """Makes a classification artifact of random scores; a seed for each split."""

    def make(
        variant: Variant, split: str, corruption: Ref | None = None, **columns: Any
    ) -> Artifact:
        rng = np.random.default_rng(len(split) + 100 * (corruption is not None))
        label = rng.integers(0, 2, 80)
        logits = rng.normal(size=(80, 2)) * (3 if variant.schemes else 2)
        logits[np.arange(80), label] += 0.5 if corruption else 2
        made = {
            "item": np.char.mod(f"{split}/%d", np.arange(80)),
            "cluster": np.char.mod(f"{split}/%d", np.arange(80) // 2),
            "label": label,
            "logits": logits,
        }
        ask = Ref("classify", task=Ref("toys"), split=split, corruption=corruption)
        run = Run(variant, ask)
        return Artifact(run, content_hash(run), "classification", {**made, **columns})

    return make


TYPOS = Ref("typos", severity=3)
SPLITS = ("validation", "test", "amazon", "amazon/validation")


def rows_of(
    artifacts: list[Artifact],
    baseline: Variant,
    *metrics: str,
    failed: dict[Run, str] | None = None,
) -> list[dict[str, Any]]:
    related = Related(artifacts, failed or {})
    samples = [related.sample(each) for each in artifacts]
    rows = [row for sample in samples for row in scoring.score(sample, metrics)]
    rows += scoring.compare(samples, baseline, metrics)
    results.to_frame([row | {"study": "s"} for row in rows])
    return rows


def splits(rows: list[dict[str, Any]], metric: str) -> list[str]:
    return sorted({row["split"] + row["condition"] for row in rows if row["metric"] == metric})


def test_a_fit_sees_validation_and_gives_rows_of_the_other_splits(
    predicted: Make, base: Variant, small: Variant
) -> None:
    artifacts = [predicted(v, s) for v in (base, small) for s in SPLITS]
    rows = rows_of(artifacts, base, "nll_temperature", "ece_temperature")
    assert splits(rows, "nll_temperature") == ["amazon", "amazon/validation", "test"]
    assert splits(rows, "nll_temperature_change") == ["amazon", "amazon/validation", "test"]
    validation, test = (predicted(small, s).columns for s in ("validation", "test"))
    fitted = fit_temperature(validation["logits"], validation["label"])
    (row,) = [
        row
        for row in rows
        if (row["metric"], row["split"], row["variant"]) == ("ece_temperature", "test", "small")
    ]
    assert row["value"] == pytest.approx(
        ece(np.exp(log_softmax(test["logits"] / fitted)), test["label"])
    )


def test_a_fit_is_made_once_for_all_splits_of_a_variant(
    predicted: Make, base: Variant, small: Variant
) -> None:
    calls = []

    def fit(label: Any, ood_label: Any) -> int:
        calls.append((len(label), len(ood_label)))
        return len(ood_label)

    @kit.register_metric(
        artifact="classification", higher_is_better=None, unit="1", version=1, fit=fit
    )
    def shifted_items(label: Any, fitted: int) -> float:
        return fitted

    artifacts = [predicted(v, s) for v in (base, small) for s in SPLITS]
    rows = rows_of(artifacts, base, "shifted_items")
    assert calls == [(80, 80)] * 2
    # not of the validation parts: it was fitted on them
    assert splits(rows, "shifted_items") == ["amazon", "test"]
    assert {row["value"] for row in rows} == {80.0}


def test_what_the_study_does_not_ask_for_gives_no_row(predicted: Make, base: Variant) -> None:
    rows = rows_of(
        [predicted(base, "test"), predicted(base, "amazon")],
        base,
        *("nll_temperature", "ood_auroc", "accuracy_retained", "rating_mae"),
    )
    assert splits(rows, "nll_temperature") == splits(rows, "rating_mae") == []
    assert splits(rows, "ood_auroc")[0] == "amazondetector=energy"
    assert not rows_of([predicted(base, "amazon")], base, "ood_auroc")


def test_what_it_asks_for_and_lacks_is_undefined_with_the_reason(
    predicted: Make, base: Variant
) -> None:
    lost = {predicted(base, split).run: "out of memory" for split in ("validation", "test")}
    rows = rows_of([predicted(base, "amazon")], base, "nll_temperature", "ood_auroc", failed=lost)
    assert [row["status"] for row in rows] == ["undefined", "undefined"]
    assert all("no result: out of memory" in row["note"] for row in rows)
    broken = predicted(base, "validation")
    broken.columns["logits"][3, 0] = np.inf
    (row,) = rows_of([broken, predicted(base, "test")], base, "nll_temperature")
    assert row["status"] == "error" and "infinite in 1 of 80" in row["note"]
    # what does not need the broken run has its value
    rows = rows_of([broken, predicted(base, "test")], base, "accuracy", "nll")
    assert [row["status"] for row in rows if row["split"] == "test"] == ["ok", "ok"]


def test_a_failed_run_lacks_what_it_would_have_given(predicted: Make, base: Variant) -> None:
    run = predicted(base, "amazon").run
    related = Related([predicted(base, "test")], {run: "out of memory"})
    lost = related.sample(Artifact(run, "f" * 16, "classification", {}))
    rows = scoring.missing(lost, ("error", "out of memory"))
    assert {"accuracy", "ood_auroc"} <= {row["metric"] for row in rows}
    assert not {"ece_temperature", "accuracy_retained"} & {row["metric"] for row in rows}
    corrupted = Run(base, run.measurement.replace(split="test", corruption=TYPOS))
    lost = related.sample(Artifact(corrupted, "e" * 16, "classification", {}))
    (row,) = scoring.missing(lost, ("error", "out of memory"), ["accuracy_retained"])
    assert row["condition"] == "corruption=typos;severity=3"


def test_the_reference_of_a_corrupted_split_is_the_clean_one(
    predicted: Make, base: Variant, small: Variant
) -> None:
    artifacts = [
        predicted(v, "test", corruption, item=np.arange(80).astype(str))
        for v in (base, small)
        for corruption in (None, TYPOS)
    ]
    rows = rows_of(artifacts, base, "accuracy", "accuracy_retained", "ood_auroc")
    assert splits(rows, "accuracy") == ["test", "testcorruption=typos;severity=3"]
    assert splits(rows, "accuracy_retained") == ["testcorruption=typos;severity=3"]
    assert splits(rows, "accuracy_retained_change") == ["testcorruption=typos;severity=3"]
    assert splits(rows, "ood_auroc") == []
    value = {
        (row["variant"], row["condition"]): row["value"]
        for row in rows
        if row["metric"] == "accuracy"
    }
    (kept,) = [
        row["value"]
        for row in rows
        if (row["metric"], row["variant"]) == ("accuracy_retained", "small")
    ]
    clean, after = value["small", ""], value["small", "corruption=typos;severity=3"]
    assert kept == pytest.approx(after / clean)
    others = replace(
        artifacts[1], columns=artifacts[1].columns | {"item": artifacts[1].columns["cluster"]}
    )
    (row,) = rows_of([artifacts[0], others], base, "accuracy_retained")
    assert row["status"] == "undefined" and "other items" in row["note"]


def test_two_samples_are_paired_on_the_items_of_both(
    predicted: Make, base: Variant, small: Variant
) -> None:
    artifacts = [predicted(v, s) for v in (base, small) for s in ("test", "amazon")]
    rows = rows_of(artifacts, base, "ood_auroc")
    found = {
        row["variant"]: row
        for row in rows
        if (row["metric"], row["condition"]) == ("ood_auroc", "detector=msp")
    }
    (change,) = [
        row
        for row in rows
        if (row["metric"], row["condition"]) == ("ood_auroc_change", "detector=msp")
    ]
    assert change["value"] == pytest.approx(found["small"]["value"] - found["base"]["value"])
    assert change["n"] == 160 and change["interval"] == "clusters"
    assert found["small"]["n"] == 160 and found["small"]["interval"] == "clusters"
    # a variant against itself differs nowhere
    twin = [
        replace(a, run=Run(small.replace(name="twin"), a.run.measurement)) for a in artifacts[2:]
    ]
    assert len(rows_of([*twin], small, "ood_auroc")) == 4


def test_shared_items_alone_are_paired_and_the_metric_is_computed_on_them(
    predicted: Make, base: Variant, small: Variant
) -> None:
    ours, theirs = predicted(small, "test"), predicted(base, "test")
    part = replace(ours, columns={name: each[20:] for name, each in ours.columns.items()})
    rows = rows_of([theirs, part], base, "auroc")
    (change,) = [row for row in rows if row["metric"] == "auroc_change"]
    cut = replace(theirs, columns={name: each[20:] for name, each in theirs.columns.items()})
    both = [scoring.score(each, ["auroc"])[0]["value"] for each in (part, cut)]
    assert change["value"] == pytest.approx(both[0] - both[1]) and change["n"] == 60


def test_a_clustered_influence_gives_the_rows_interval(predicted: Make, base: Variant) -> None:
    from kit.analysis.metrics.classification import auroc

    artifact = predicted(base, "test")
    (row,) = scoring.score(artifact, ["auroc"])
    made = auroc(artifact.columns["logits"], artifact.columns["label"])
    ends = smooth(made, Clusters(np.arange(80) // 2, 40))
    assert (row["ci_low"], row["ci_high"], row["interval"]) == (ends.low, ends.high, "clusters")


def test_a_metric_that_is_no_headline_is_given_by_name(predicted: Make, base: Variant) -> None:
    made = {row["metric"] for row in scoring.score(predicted(base, "test"))}
    assert made == {"accuracy", "balanced_accuracy", "ece", "nll"}
    rows = scoring.score(predicted(base, "test"), ["brier_parts"])
    assert [row["condition"] for row in rows][:2] == ["part=reliability", "part=resolution"]


def test_one_variant_without_value_leaves_the_others_conditions(
    predicted: Make, base: Variant, small: Variant
) -> None:
    @kit.register_metric(artifact="classification", higher_is_better=True, unit="1", version=1)
    def halves(logits: Any, label: Any) -> Any:
        if (logits == 7).any():
            raise Undefined("a seven")
        right = logits.argmax(1) == label
        return {"half=0": right, "half=1": ~right}

    bad = predicted(base, "test")
    bad.columns["logits"][0] = 7
    rows = rows_of([bad, predicted(small, "test")], base, "halves")
    found = [(row["condition"], row["note"]) for row in rows if row["metric"] == "halves_change"]
    assert found == [(f"half={at}", "baseline, seed 0: a seven") for at in (0, 1)]
    rows = rows_of([bad, predicted(small, "test")], small, "halves")
    found = [(row["condition"], row["note"]) for row in rows if row["metric"] == "halves_change"]
    assert found == [("", "variant, seed 0: a seven")]


def test_splits_join_though_what_they_keep_is_of_other_widths(
    predicted: Make, base: Variant
) -> None:
    """As likeliest tokens are, padded to the longest text of a split."""
    widths = {"amazon/validation": 3, "tweets/validation": 4, "test": 3}
    artifacts = [
        predicted(base, split, kept=np.zeros((80, width))) for split, width in widths.items()
    ]
    joined = Related(artifacts, {}).sample(artifacts[2]).related["ood"]
    assert isinstance(joined, Artifact)
    assert "kept" not in joined.columns and len(joined.columns["label"]) == 160
