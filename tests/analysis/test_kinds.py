"""Several labels an item, and numbers: paired, in groups, judged, and read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, root_mean_squared_error

from kit.analysis.findings.exemplars import exemplars
from kit.analysis.findings.flips import flips
from kit.analysis.findings.reweight import at_shares
from kit.analysis.score import compare, score
from kit.report.verdict.recommend import recommend
from kit.spec.checking import SpecError
from kit.spec.spec import Variant
from kit.store import results
from kit.store.store import Artifact

N = 1500
NAMES = ["anger", "joy", "fear"]
LABEL = (np.random.default_rng(0).random((N, 3)) < [0.3, 0.5, 0.1]).astype(np.int64)
TEXTS = {str(n): f"text {n}" for n in range(N)}
GROUPS = {"group:part": np.where(np.arange(N) % 10 == 0, "rare", "usual")}


def logits(seed: int, noise: float) -> np.ndarray:
    """Of a model whose errors are mostly those of every model here."""
    shared, own = (np.random.default_rng(each).normal(size=LABEL.shape) for each in (9, seed))
    return (4.0 * LABEL - 2 + 1.2 * shared + noise * own).astype(np.float32)


@pytest.fixture
def tags(predicted: Any, base: Variant, small: Variant) -> list[Artifact]:
    """The baseline's, and those of a variant that has worse scores where the group is rare."""
    worse = logits(2, 0.02)
    worse[::10] *= -1
    return [
        predicted(
            variant, "multi_label", label=LABEL, logits=each, info={"labels": NAMES}, **GROUPS
        )
        for variant, each in ((base, logits(1, 0.0)), (small, worse))
    ]


@pytest.fixture
def numbers(predicted: Any, base: Variant, small: Variant) -> list[Artifact]:
    rng = np.random.default_rng(0)
    label = rng.normal(size=N)
    error, noise = rng.normal(size=(2, N))
    return [
        predicted(variant, "regression", label=label, prediction=label + error + own, **GROUPS)
        for variant, own in ((base, 0 * noise), (small, 0.01 * noise))
    ]


def changes(artifacts: list[Artifact], base: Variant) -> dict[tuple[str, str, str], Any]:
    rows = compare(artifacts, base)
    results.to_frame([row | {"study": "s", "machine": 0} for row in rows])
    return {(row["metric"], row["condition"], row["group"]): row for row in rows}


def test_several_labels_are_paired_by_item(tags: list[Artifact], base: Variant) -> None:
    found = changes(tags, base)
    said = [one.columns["logits"] > 0 for one in tags]
    before, after = ((each == LABEL).all(axis=1) for each in said)
    row = found["subset_accuracy_change", "", ""]
    assert row["value"] == pytest.approx(after.mean() - before.mean())
    assert found["flips_lost", "", ""]["value"] == (before & ~after).sum()
    assert found["flips_gained", "", ""]["value"] == (after & ~before).sum()
    whole = [f1_score(LABEL, each, average="micro") for each in said]
    row = found["micro_f1_change", "", ""]
    assert row["value"] == pytest.approx(whole[1] - whole[0])
    assert row["ci_low"] < row["value"] < row["ci_high"] < 0
    assert {f"label={name}" for name in NAMES} == {
        condition for metric, condition, _ in found if metric == "label_auroc_change"
    }
    lost = found["subset_accuracy_excess_loss", "", "part=rare"]
    assert lost["note"].startswith("flagged")
    assert ("subset_accuracy_change", "", "part=usual") in found


def test_numbers_are_paired_by_item(numbers: list[Artifact], base: Variant) -> None:
    found = changes(numbers, base)
    both = [one.columns for one in numbers]
    errors = [root_mean_squared_error(one["label"], one["prediction"]) for one in both]
    row = found["rmse_change", "", ""]
    assert row["value"] == pytest.approx(errors[1] - errors[0])
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert row["unit"] == "label units"
    assert ("mae_change", "", "part=rare") in found
    assert not any(metric.startswith("flips") for metric, _, _ in found)
    names = {row["metric"] for row in score(numbers[0]) if not row["group"]}
    assert names == {"rmse", "mae", "r2", "pearson", "spearman"}


@pytest.mark.parametrize("metric", ["micro_f1", "rmse", "spearman"])
@pytest.mark.parametrize("worse", [False, True])
def test_a_verdict_rests_on_any_of_them(
    tags: list[Artifact],
    numbers: list[Artifact],
    base: Variant,
    small: Variant,
    predicted: Any,
    metric: str,
    worse: bool,
) -> None:
    found = tags if metric == "micro_f1" else numbers
    columns = dict(found[0].columns)
    if not worse:
        names = ("logits",) if metric == "micro_f1" else ("prediction",)
        columns |= {name: columns[name] * np.float32(1.0001) for name in names}
    elif metric == "micro_f1":
        columns["logits"] = found[1].columns["logits"]
    else:
        columns["prediction"] = columns["prediction"][::-1]
    kind = found[0].kind
    both = [found[0], predicted(small, kind, info=found[0].info, **columns)]
    speed = {"seed": "0", "task": "toys", "baseline": "base", "condition": "batch_size=1"}
    speed |= {"metric": "speedup", "value": 2.0, "ci_low": 1.9, "ci_high": 2.1, "n": 5}
    table: pd.DataFrame = results.to_frame(
        [*compare(both, base), results.row(variant="small", interval="launches", **speed)]
    )
    verdict = recommend(table, metric=metric, margin=0.05, group_margin=0.05)
    assert verdict.verdict == ("keep" if worse else "pick")
    assert metric in verdict.text or worse


def test_flips_of_several_labels_are_read_together(tags: list[Artifact]) -> None:
    table = flips(*tags, TEXTS, NAMES)
    item = table[table["change"] == "lost"].iloc[0]
    place = int(item["text"].removeprefix("text "))
    named = ", ".join(name for name, there in zip(NAMES, LABEL[place], strict=True) if there)
    assert item["label"] == item["baseline"] == (named or "none")
    assert item["variant"] != item["label"]
    chance = 1 / (1 + np.exp(-np.abs(tags[1].columns["logits"][place].astype(float))))
    assert item["confidence"] == pytest.approx(chance.prod(), abs=6e-4)
    found = exemplars(tags[:1], tags[1:], TEXTS, NAMES)
    assert set(found.items["text"]) == set(table.loc[table["change"] == "lost", "text"])


def test_what_needs_one_class_an_item_says_so(
    tags: list[Artifact], numbers: list[Artifact]
) -> None:
    with pytest.raises(SpecError, match="gives no labels but regression"):
        flips(*numbers, TEXTS, ())
    with pytest.raises(SpecError, match="one class an item; these are of multi_label"):
        at_shares(tags, metric="subset_accuracy")
    with pytest.raises(SpecError, match="metric of classification; these are of regression"):
        at_shares(numbers, by="part")
    table = at_shares(tags, by="part", metric="subset_accuracy", shares=(0.5,))
    assert table["value"].notna().all()


def test_wrong_labels_name_the_run(predicted: Any, base: Variant) -> None:
    for label, says in (
        (2 * LABEL, "label 2 is neither 0 nor 1"),
        (LABEL[:, :2], "labels of shape (1500, 2) beside logits of shape (1500, 3)"),
    ):
        rows = score(predicted(base, "multi_label", label=label, logits=logits(1, 0.0)))
        assert {row["status"] for row in rows} == {"error"} and says in rows[0]["note"]


def test_a_label_that_the_shared_items_lack_has_no_change_and_the_others_have(
    predicted: Any, base: Variant, small: Variant
) -> None:
    label = LABEL.copy()
    label[100:, 2] = 0
    items = np.arange(N).astype(str)
    both = [
        predicted(base, "multi_label", label=label, logits=logits(1, 0.0)),
        predicted(
            small,
            "multi_label",
            label=label[100:],
            logits=logits(2, 0.1)[100:],
            item=items[100:],
            cluster=items[100:],
        ),
    ]
    found = {row["condition"]: row for row in compare(both, base, ["label_auroc"])}
    assert [row["status"] for row in found.values()] == ["ok", "ok", "undefined"]


def test_a_metric_of_a_notebook_reads_any_kind(cells: Any, tags: list[Artifact]) -> None:
    cells.run(
        """
        import kit

        @kit.register_metric(artifact="multi_label", higher_is_better=True, unit="share")
        def any_found(logits, label):
            "Share of items of which at least one label is found, or that have none."
            return ((logits > 0) & (label == 1)).any(axis=1) | (label == 0).all(axis=1)

        @kit.register_metric(
            artifact=("classification", "multi_label"), higher_is_better=None, unit="labels"
        )
        def columns_there(labels):
            "How many labels a model knows."
            return float(len(labels))
        """
    )
    (row,) = score(tags[0], ["any_found"])
    assert 0.9 < row["value"] < 1 and row["ci_low"] < row["value"]
    (row,) = score(tags[0], ["columns_there"])
    assert row["value"] == 3
