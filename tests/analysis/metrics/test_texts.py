"""Texts cut at a model's window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from kit.analysis.score import compare, score
from kit.spec.spec import Variant

CUT = np.arange(60) % 4 == 0


def test_the_share_of_texts_cut_has_wilsons_interval_in_predictions_of_any_kind(
    classified: Any, predicted: Any, base: Variant
) -> None:
    numbers = np.arange(60.0)
    several = np.eye(2)[np.arange(60) % 2]
    for artifact in (
        classified(base, numbers > 5, cut=CUT),
        predicted(base, "multi_label", label=several, logits=several - 0.5, cut=CUT),
        predicted(base, "regression", label=numbers, prediction=numbers + 1, cut=CUT),
    ):
        (row,) = (row for row in score(artifact) if row["metric"] == "texts_cut")
        assert (row["value"], row["n"], row["unit"]) == (0.25, 60, "share")
        known = proportion_confint(15, 60, method="wilson")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(known)


def test_there_is_no_row_where_no_window_is_and_none_of_groups_or_changes(
    classified: Any, base: Variant, small: Variant
) -> None:
    rows = score(classified(base, CUT))
    assert "texts_cut" not in {row["metric"] for row in rows}
    groups = {"group:part": np.repeat(["a", "b"], 30)}
    both = [classified(variant, CUT, cut=CUT, **groups) for variant in (base, small)]
    rows = [row for one in both for row in score(one)] + compare(both, base)
    found = [row for row in rows if row["metric"].startswith("texts_cut")]
    assert [(row["variant"], row["metric"], row["group"]) for row in found] == [
        ("base", "texts_cut", ""),
        ("small", "texts_cut", ""),
    ]
