"""Figures of what grows with a condition: every row shown, none overlapping, open choices told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_plot import every_word, overlapping

from kit.report import plot
from kit.store import results

VERSIONS = {"base": 0.03, "base compiled": 0.025, "base w8 onnx_genai": 0.005, "base gguf": 0.006}
LIMIT = 0.004
"""Seconds a token that the memory of this made-up machine would need."""


def rows() -> Iterator[dict[str, Any]]:
    about = {"study": "writes", "architecture": "smollm2", "task": "wikipedia", "split": "test"}
    for variant, seconds in VERSIONS.items():
        for context in (64, 512, 1536):
            for batch in (1, 8):
                took = seconds * (1 + context / 2000) * (1 + batch / 20)
                named = about | {"variant": variant, "seed": 0, "machine": 0, "n": 4}
                named |= {"interval": "launches", "condition": results.condition(
                    batch_size=batch, context=context, stage="step", threads=2)}  # fmt: skip
                each = {
                    "time_per_output_token": ("s", took),
                    "tokens_per_second": ("tokens/s", batch / took),
                    "bandwidth_utilisation": ("share", LIMIT / took),
                }
                for metric, (unit, value) in each.items():
                    bar = {"ci_low": 0.9 * value, "ci_high": 1.1 * value}
                    yield results.row(**named, metric=metric, unit=unit, value=value, **bar)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return results.to_frame([*rows()])


def test_a_line_a_version_and_a_point_a_condition(table: pd.DataFrame) -> None:
    figure = plot.growth(table, at="batch_size=1")
    assert overlapping(figure) == []
    assert figure.get_suptitle().endswith("?")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == set(VERSIONS)
    for name, line in lines.items():
        assert np.allclose(line.get_xdata(), [64, 512, 1536], rtol=0.03)
        assert list(line.get_ydata()) == sorted(line.get_ydata())
        first = 1000 * VERSIONS[name] * (1 + 64 / 2000) * 1.05  # ms
        assert np.isclose(line.get_ydata()[0], first, rtol=1e-5)
    assert "512" in every_word(figure) and "launches" in every_word(figure)


def test_the_batch_may_grow_instead(table: pd.DataFrame) -> None:
    figure = plot.growth(table, "tokens_per_second", "batch_size", at="context=512")
    assert np.allclose(figure.axes[0].get_lines()[0].get_xdata(), [1, 8], rtol=0.03)
    assert "texts written at once" in every_word(figure)


def test_what_is_left_open_is_told(table: pd.DataFrame) -> None:
    with pytest.raises(
        ValueError, match=r"rows differ in batch_size beside context; choose by at='batch_s"
    ):
        plot.growth(table)
    with pytest.raises(ValueError, match=r"no row has the condition context batch_size=3: there"):
        plot.growth(table, at="batch_size=3")


def test_each_version_stands_beside_what_memory_allows_it(table: pd.DataFrame) -> None:
    figure = plot.ceilings(table, at="batch_size=1;context=64")
    assert overlapping(figure) == []
    said = every_word(figure)
    for seconds in VERSIONS.values():
        took = seconds * (1 + 64 / 2000) * 1.05
        assert f"{LIMIT / took:.0%}" in said
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        *("base", "base compiled", "base gguf", "base w8 onnx_genai")
    ]
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    assert all(np.isclose(float(mark.get_xdata()[0]), 1 / LIMIT, rtol=1e-4) for mark in marks)
    assert len(marks) == len(VERSIONS)
