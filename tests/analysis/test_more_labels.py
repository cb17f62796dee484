"""A model that answers with more labels than the data have: those answers are wrong, no more."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error

import kit
from kit.analysis.findings.exemplars import exemplars
from kit.analysis.findings.flips import flips
from kit.analysis.findings.reweight import at_shares
from kit.analysis.sample import Sample
from kit.analysis.score import compare, score
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.store.store import Artifact

N = 400
NAMES = ("bad", "good", "neutral")
TEXTS = {str(n): f"text {n}" for n in range(N)}


def scores(seed: int, classes: int) -> np.ndarray:
    """Logits of items whose labels are 0 and 1 in turn; a third class is never right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(N, classes)) + 1.2 * np.eye(classes)[np.arange(N) % 2]
    return logits.astype(np.float32)


@pytest.fixture
def answered(classified: Any) -> Any:
    """Makes predictions of two columns or three."""

    def make(variant: Variant, seed: int = 0, classes: int = 3, split: str = "test") -> Artifact:
        info = {"labels": list(NAMES)} if classes == 3 else {}
        logits = scores(seed, classes)
        columns = {"logits": logits, "features": logits, "valence": np.arange(N) / 7}
        columns |= {"group:part": np.repeat(["a", "b"], N // 2)}
        return classified(variant, np.ones(N, bool), split=split, info=info, **columns)

    return make


def test_every_metric_of_classifications_is_right_or_says_why_it_has_no_value(
    answered: Any, base: Variant
) -> None:
    names = registry.metrics.names()
    entries = [registry.metrics.get(name) for name in names]
    ours = [one.name for one in entries if "classification" in one.traits["artifacts"]]
    one, other = answered(base), answered(base, 1, split="validation")
    shift = answered(base, 2, split="amazon")
    roles = {"validation": other, "test": one, "clean": one, "ood": shift}
    rows = score(Sample(shift, roles), ours)
    status: dict[str, set[str]] = {}
    for row in rows:
        status.setdefault(row["metric"], set()).add(row["status"])
    assert "error" not in set().union(*status.values())
    undefined = {name for name, found in status.items() if found == {"undefined"}}
    assert undefined == {
        *("nll_vector", "ece_vector"),  # no item of the third class to fit on
        *("spearman", "rating_mae", "rating_rmse", "rating_r2"),  # a scale needs two classes
        "top_k_accuracy",
    }
    reasons = {row["metric"]: row["note"] for row in rows if row["status"] == "undefined"}
    assert reasons["nll_vector"].startswith("class 2 has no item in the validation split")
    assert reasons["spearman"] == "a score on a scale needs two classes; there are 3"
    label, logits = shift.columns["label"], shift.columns["logits"]
    said, chance = logits.argmax(axis=1), softmax(logits.astype(float), axis=1)
    assert (said == 2).any()
    values = {row["metric"]: row["value"] for row in rows if not row["condition"] + row["group"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of answers that no item has
        balanced = balanced_accuracy_score(label, said)
    areas = [roc_auc_score(label == k, chance[:, k]) for k in (0, 1)]
    expected = {
        "accuracy": accuracy_score(label, said),
        "balanced_accuracy": balanced,
        "macro_f1": f1_score(label, said, labels=[0, 1], average="macro"),
        "nll": log_loss(label, chance, labels=[0, 1, 2]),
        "brier": ((chance - np.eye(3)[label]) ** 2).sum(axis=1).mean(),
        "auroc": np.mean(areas),
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    import torch

    known = multiclass_calibration_error(
        torch.from_numpy(chance), torch.from_numpy(label), num_classes=3, n_bins=15
    )
    assert values["ece"] == pytest.approx(float(known), abs=1e-5)
    parts = [row["value"] for row in rows if row["metric"] == "brier_parts"]
    assert parts[0] + parts[2] + parts[3] - parts[1] == pytest.approx(values["brier"])
    size = next(row["value"] for row in rows if row["metric"] == "conformal_size")
    assert 0 < size <= 3
    assert values["conformal_coverage"] == pytest.approx(0.9, abs=0.05)


def test_one_answer_too_many_moves_the_mean_over_classes_little(
    classified: Any, base: Variant
) -> None:
    """A class that no item has is none to be found; it would count as a third F1 of 0."""
    clean = np.pad(5.0 * np.eye(2)[np.arange(N) % 2], ((0, 0), (0, 1)))
    odd = clean.copy()
    odd[0, 2] = 9.0
    values = [
        next(
            row["value"] for row in score(classified(base, np.ones(N), logits=logits), ["macro_f1"])
        )
        for logits in (clean, odd)
    ]
    assert values[0] == 1 and values[1] == pytest.approx(1, abs=0.005)


def test_variants_with_other_numbers_of_labels_are_paired_item_by_item(
    answered: Any, base: Variant, small: Variant
) -> None:
    two, three = answered(base, 0, classes=2), answered(small, 1)
    names = ["accuracy", "nll", "brier"]
    rows = {row["metric"]: row for row in compare([two, three], base, names) if not row["group"]}
    right = [one.columns["logits"].argmax(1) == one.columns["label"] for one in (two, three)]
    assert rows["accuracy_change"]["value"] == pytest.approx(right[1].mean() - right[0].mean())
    assert rows["flips_lost"]["value"] == (right[0] & ~right[1]).sum()
    assert {row["status"] for name, row in rows.items() if name == "nll_change"} == {"ok"}
    assert rows["brier_change"]["status"] == "undefined"
    assert rows["brier_change"]["note"] == (
        "the variant answers with 3 labels, the baseline with 2: brier has another scale"
    )


def test_flips_and_exemplars_name_labels_that_the_task_lacks(
    answered: Any, base: Variant, small: Variant
) -> None:
    two, three = answered(base, 0, classes=2), answered(small, 1)
    said = np.array(NAMES)[three.columns["logits"].argmax(axis=1)]
    table = flips(two, three, TEXTS, NAMES[:2])
    for row in table.to_dict("records"):
        item = int(row["text"].removeprefix("text "))
        assert row["variant"] == said[item]
        assert row["label"] == NAMES[item % 2]
        assert row["change"] == ("gained" if said[item] == row["label"] else "lost")
    assert {"bad", "good", "neutral"} == set(table["variant"])
    both = [replace(three, run=replace(three.run, variant=small.replace(seed=1)))] * 2
    found = exemplars([two], [three, *both], TEXTS, NAMES[:2]).items
    assert set(found["variant"]) == {"bad", "good", "neutral"}
    assert (found["label"] == found["baseline"]).all()
    assert (found["label"] != found["variant"]).all()


def test_other_shares_weigh_the_labels_that_the_data_have(answered: Any, base: Variant) -> None:
    table = at_shares([answered(base)], shares=(0.5,))
    assert table["label"].tolist() == [0, 1] and table["value"].notna().all()


def test_equal_models_from_two_places_stay_two_variants(
    classified: Any, base: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content may hide where a folder lies; what is compared are the variants as given."""

    def located(vocab_size: int, *, source: str) -> None: ...

    kit.register_architecture(kind="encoder", version=1)(located)
    monkeypatch.setattr("kit.analysis.score.content_hash", lambda *_: "the same")
    one, other = (Variant(Ref("located", source=name), name=name) for name in "ab")
    rows = compare([classified(one, np.ones(50)), classified(other, np.arange(50) > 9)], one)
    changes = [row for row in rows if row["metric"] == "accuracy_change"]
    assert [(row["variant"], row["value"]) for row in changes] == [("b", pytest.approx(-0.2))]
