"""Several labels an item: scikit-learn, torch and torchmetrics have the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, hamming_loss, roc_auc_score
from torchmetrics.classification import BinaryCalibrationError

from kit.analysis.evaluate import estimates
from kit.analysis.metrics import multi_label
from kit.analysis.metrics.classification import macro_f1
from kit.spec.checking import Undefined
from kit.spec.probabilities import log_sigmoid
from kit.spec.registry import metrics

Both = tuple[np.ndarray, np.ndarray]


def drawn(seed: int, n: int, labels: int = 4) -> Both:
    """Logits and labels; each label is there once and missing once."""
    rng = np.random.default_rng(seed)
    label = (rng.random((n, labels)) < 0.4).astype(np.int64)
    label[0], label[1] = 0, 1
    return (rng.normal(size=label.shape) + label - 0.5).round(1).astype(np.float32), label


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 6))
def test_quality_is_scikit_learn(seed: int, n: int, labels: int) -> None:
    logits, label = drawn(seed, n, labels)
    said, chance = logits > 0, 1 / (1 + np.exp(-logits.astype(float)))
    assert multi_label.subset_accuracy(logits, label).mean() == pytest.approx(
        accuracy_score(label, said) if labels > 1 else (said == label).mean()
    )
    assert multi_label.hamming_loss(logits, label).mean() == pytest.approx(
        hamming_loss(label, said) if labels > 1 else (said != label).mean()
    )
    columns = {"y_true": label, "y_pred": said} if labels > 1 else None
    if columns is not None:
        micro, macro = (f1_score(**columns, average=how) for how in ("micro", "macro"))
        assert multi_label.micro_f1(logits, label).value == pytest.approx(micro)
        assert macro_f1(logits, label).value == pytest.approx(macro)
    areas = multi_label.label_auroc(logits, label, [f"l{place}" for place in range(labels)])
    expected = [roc_auc_score(label[:, k], logits[:, k]) for k in range(labels)]
    assert [areas[f"label=l{k}"].value for k in range(labels)] == pytest.approx(expected)  # type: ignore[union-attr]
    assert multi_label.macro_auroc(logits, label).value == pytest.approx(np.mean(expected))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits).double(), torch.from_numpy(label).double()
    )
    assert multi_label.label_nll(log_sigmoid(logits), label).mean() == pytest.approx(float(entropy))
    squares = [brier_score_loss(label[:, k], chance[:, k]) for k in range(labels)]
    assert multi_label.label_brier(expit(logits.astype(float)), label).mean() == pytest.approx(
        np.mean(squares)
    )


def test_calibration_is_that_of_torchmetrics() -> None:
    logits, label = drawn(5, 400)
    known = BinaryCalibrationError(n_bins=15, norm="l1")
    chance = expit(logits.astype(float))
    expected = known(torch.from_numpy(chance).flatten(), torch.from_numpy(label).flatten())
    assert multi_label.label_ece(chance, label) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("measure", [multi_label.micro_f1, multi_label.macro_auroc, macro_f1])
def test_what_an_item_adds_is_what_the_jackknife_sees(measure: Any) -> None:
    logits, label = drawn(7, 300)
    found = measure(logits, label)
    others = (np.delete(np.arange(300), item) for item in range(300))
    left = [measure(logits[kept], label[kept]).value for kept in others]
    assert found.pseudo_values().mean() == pytest.approx(found.value)
    assert found.pseudo_values().std() == pytest.approx(299 * np.std(left), rel=0.03)


def test_a_label_that_all_items_lack_is_undefined_alone() -> None:
    logits, label = drawn(2, 50)
    label[:, 1] = 0
    rows = {
        one.condition: one
        for one in estimates(metrics.get("label_auroc"), {"logits": logits, "label": label}, "")
    }
    assert [one.status for one in rows.values()] == ["ok", "undefined", "ok", "ok"]
    assert rows["label=1"].note == "every item is negative: nothing to tell apart"
    rest = np.mean([one.value for one in rows.values() if one.status == "ok"])
    assert multi_label.macro_auroc(logits, label).value == pytest.approx(rest)
    said = logits > 0
    kept = f1_score(label, said, average=None, zero_division=0.0)[[0, 2, 3]]
    assert macro_f1(logits, label).value == pytest.approx(kept.mean())
    with pytest.raises(Undefined, match="same labels"):
        multi_label.macro_auroc(logits, 0 * label)
    with pytest.raises(Undefined, match="denominator"):
        _ = multi_label.micro_f1(-np.ones((3, 2)), np.zeros((3, 2), int)).value


def test_perfect_and_sure_scores_are_no_trouble() -> None:
    _, label = drawn(3, 40)
    logits = (2000.0 * label - 1000).astype(np.float32)
    assert multi_label.subset_accuracy(logits, label).all()
    assert multi_label.micro_f1(logits, label).value == macro_f1(logits, label).value == 1
    assert (
        multi_label.label_nll(log_sigmoid(logits), label).max()
        == multi_label.label_ece(expit(logits.astype(float)), label)
        == 0
    )
    assert multi_label.label_nll(log_sigmoid(-logits), label).mean() == pytest.approx(1000)


def test_names_of_labels_stand_in_conditions_whatever_they_are() -> None:
    logits, label = drawn(4, 30, 2)
    found = multi_label.label_auroc(logits, label, ["a=b;c", "joy"])
    assert list(found) == ["label=a_b_c", "label=joy"]
