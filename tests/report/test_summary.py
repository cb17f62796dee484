"""The summary: what it holds, and that it fits where it is shown."""

import math

import pandas as pd
import pytest
from conftest import about, cost_rows, make_rows

from kit.report.summary import summary
from kit.store import results


def test_summary_has_a_row_a_variant_and_says_what_is_undefined(table):
    made = summary(table)
    assert list(made.index) == list(table["variant"].unique())
    assert made.loc["base", "accuracy: test (in distribution)"] == "0.840 (0.836 / 0.844)"
    assert made.loc["majority", "accuracy: amazon (near)"] == "0.556 [0.526, 0.586]"
    assert made.loc["base onnx", "speedup (times) batch_size=1"] == "1.38 [1.28, 1.46]"
    assert made.loc["base w4g32", "change in accuracy: nyt (far)"] == "-0.010 [-0.030, 0.010]"
    assert made.loc["base", "size of weights (MB)"] == "88.0"
    assert made.loc["base bf16", "accuracy: test (in distribution)"] == "undefined"
    assert made.loc["majority", "speedup (times) batch_size=1"] == ""
    assert list(summary(table, ["weight_bytes"])) == ["size of weights (MB)"]


def test_summary_of_metrics_that_are_not_known_shows_them_all():
    row = results.row(study="s", variant="v", seed=0, metric="mine", value=1.5)
    assert summary(results.to_frame([row])).loc["v", "mine"] == "1.50"


def test_a_wide_frame_is_refused():
    with pytest.raises(ValueError, match=r"column 'study' is missing; expected the rows"):
        summary(pd.DataFrame({"variant": ["a"], "accuracy": [1]}))


def test_a_variant_that_failed_adds_no_columns():
    rows = make_rows(1)
    lost = about("base slow", runtime="onnx") | {"seed": 0, "status": "error", "note": "it broke"}
    lost |= {"metric": "speedup", "baseline": "base", "unit": "ratio"}
    before = summary(results.to_frame(rows), ["speedup"])
    made = summary(results.to_frame([*rows, results.row(**lost)]), ["speedup"])
    assert list(made) == list(before)
    assert set(made.loc["base slow"]) == {"error"}
    assert made.drop(index="base slow").equals(before)


def test_what_failed_in_one_condition_alone_stays_there():
    lost = {"status": "undefined", "note": "too few", "interval": ""}
    lost |= dict.fromkeys(("value", "ci_low", "ci_high"), math.nan)
    row = next(cost_rows("base x", 1.0, 8)) | lost
    made = summary(results.to_frame([*make_rows(1), row]), ["speedup"])
    assert list(made.loc["base x"]) == ["undefined", ""]


def test_a_summary_fits_80_columns_and_is_escaped(table):
    text = repr(summary(table))
    assert max(map(len, text.splitlines())) <= 80
    assert "0.556 [0.526, 0.586]" in text and "22.5" in text
    page = summary(table.assign(variant="<b>base"))._repr_html_()
    assert "<b>base" not in page and "&lt;b&gt;base" in page
