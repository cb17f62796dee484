"""Curves of a study's predictions are those that its rows are computed from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import toy_variant

import kit
from kit.spec.checking import SpecError
from kit.spec.ref import Ref

LOGITS = {"msp", "energy", "max_logit", "entropy"}
FEATURES = {"mahalanobis", "knn"}


@pytest.fixture(scope="module")
def study(toys: Ref) -> kit.Study:
    barely = kit.Training(toys, kit.Budget(epochs=4), rates=(0.01,), batch_size=8, length=32)
    base = toy_variant(toys, training=barely)  # one that is wrong at times
    made = kit.evaluate_shift(
        [base, base.replace(schemes=["w2"])],
        [toys],
        base,
        features=True,
        seeds=2,
        shifted_metrics=["accuracy", "ood_auroc"],
        name="curves",
    )
    made.run(executor="inline", on_error="raise")
    return made


def test_a_model_that_no_temperature_is_best_for_keeps_its_own_line(
    study: kit.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one without an error on validation."""
    answer = study.predictions("base", "validation")
    sure = {**answer.columns, "logits": 9.0 * np.eye(2)[answer.columns["label"]]}
    real = study.predictions

    def perfect(name: str, split: str, *more: Any) -> Any:
        return replace(answer, columns=sure) if split == "validation" else real(name, split, *more)

    monkeypatch.setattr(study, "predictions", perfect)
    curves = study.reliability(["base"], "later")
    assert set(curves.line) == {"as it is"}


@pytest.fixture(scope="module")
def rows(study: kit.Study) -> pd.DataFrame:
    return kit.expand(study.table())


def test_the_area_under_a_curve_is_the_row_s(study: kit.Study, rows: pd.DataFrame) -> None:
    curves = study.roc("base", ["later"])
    found = rows[(rows.metric == "ood_auroc") & (rows.variant == "base") & (rows.seed == "0")]
    found = found[found.split == "later"].set_index("detector")["value"]
    assert set(found.index) == set(curves.line) == LOGITS | FEATURES
    for line, points in curves.groupby("line"):
        assert np.trapezoid(points.tpr, points.fpr) == pytest.approx(found[line], abs=1e-6), line


def test_features_are_not_judged_against_what_they_were_fitted_on(rows: pd.DataFrame) -> None:
    found = rows[(rows.metric == "ood_auroc") & (rows.split == "later/validation")]
    assert set(found.detector) == LOGITS


def test_the_bins_of_a_diagram_hold_every_item_once(study: kit.Study) -> None:
    names = ["base", "base w2"]
    curves = study.reliability(names, "later")
    label = study.predictions("base", "later").columns["label"]
    assert list(curves.panel.unique()) == names
    for (panel, line), bins in curves.groupby(["panel", "line"]):
        assert bins.n.sum() == len(label), (panel, line)
        logits = study.predictions(panel, "later").columns["logits"]
        right = (logits.argmax(axis=1) == label).sum()
        assert (bins.accuracy * bins.n).sum() == pytest.approx(right), (
            "a temperature moves no answer"
        )
    said = curves.groupby(["panel", "line"])["confidence"].mean()
    for panel in names:
        assert said[panel, "as it is"] != said[panel, "temperature scaled"]


def test_exemplars_take_all_seeds_of_both(study: kit.Study) -> None:
    found = study.exemplars("base w2", "later")
    assert found.n == len(study.predictions("base", "later").columns["item"])
    assert set(found.items["variant_right"]) <= {"0 of 2"}
    assert set(found.items["baseline_right"]) <= {"2 of 2"}


def test_what_was_not_predicted_is_told(study: kit.Study) -> None:
    with pytest.raises(SpecError, match="Did you mean 'base'"):
        study.roc("bse", ["later"])
    with pytest.raises(SpecError, match="unknown split 'sooner'"):
        study.roc("base", ["sooner"])
