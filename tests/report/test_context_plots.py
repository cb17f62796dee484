"""Figures over contexts: each number where it belongs, and who reads them is told what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kit.report.condition_plots import growth
from kit.report.context_plots import needles
from kit.report.style import render
from kit.store import results

CONTEXTS, DEPTHS = (512, 1024, 2048), (10, 50, 90)
LOSS = {"whole": 0.0, "half": 0.2, "tenth": 0.6}


def found(variant: str, context: int, depth: int) -> float:
    """A share that no two cells have in common."""
    forgotten = LOSS[variant] * (1 - depth / 100) * (1 + context / 2048)
    return round(0.98 - forgotten / 2 - context / 1e6, 4)


def rows_of(told: str = "text") -> Iterator[dict[str, Any]]:
    for variant in LOSS:
        named = {"study": "s", "variant": variant, "seed": 0, "task": "cases", "split": "test",
                 "architecture": "smollm2", "unit": "share", "n": 21, "machine": 0}  # fmt: skip
        for context in CONTEXTS:
            named["condition"] = results.condition(context=context, facts=9, told=told)
            yield results.row(**named, metric="chance", value=0.25)
            for depth in DEPTHS:
                value = found(variant, context, depth)
                yield results.row(**named, metric="acc", group=f"depth={depth}%", value=value)


def bits() -> Iterator[dict[str, Any]]:
    for variant, loss in LOSS.items():
        for context in CONTEXTS:
            named = {"study": "s", "variant": variant, "seed": 0, "task": "cases", "split": "test",
                     "architecture": "smollm2", "n": 12, "machine": 0}  # fmt: skip
            text = results.condition(context=context, last=1024, chunk=32)
            value = 0.9 - 0.02 * np.log2(context / 512) + loss / 10
            bar = {"ci_low": value - 0.03, "ci_high": value + 0.03, "interval": "items"}
            yield results.row(**named, condition=text, unit="bits/byte", metric="bits_per_byte",
                              value=value, **bar)  # fmt: skip


def test_the_map_shows_each_cell_where_it_belongs() -> None:
    figure = needles(results.to_frame(rows_of()))
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in maps] == list(LOSS)
    for axes, variant in zip(maps, LOSS, strict=True):
        shown = axes.images[0].get_array()
        expected = [[found(variant, context, depth) for context in CONTEXTS] for depth in DEPTHS]
        np.testing.assert_allclose(shown, expected)
        texts = {text.get_position(): text.get_text() for text in axes.texts}
        assert texts[0, 0] == f"{found(variant, 512, 10):.0%}"
        assert texts[2, 1] == f"{found(variant, 2048, 50):.0%}"
        assert axes.images[0].get_clim() == (0.25, 1)
    said = " ".join(text.get_text() for text in figure.texts)
    assert "of 21" in said and "guessing, 25%" in said.replace("\n", " ")
    assert render(figure, "png") == render(figure, "png")


def test_of_two_ways_of_telling_one_is_chosen() -> None:
    both = results.to_frame([*rows_of("text"), *rows_of("turns")])
    with pytest.raises(ValueError, match=r"rows differ in told beside context; choose by at="):
        needles(both)
    assert len([a for a in needles(both, at="told=turns").axes if a.images]) == 3
    with pytest.raises(ValueError, match="no row has the condition context told=sung"):
        needles(both, at="told=sung")


def test_lines_over_contexts() -> None:
    table = results.to_frame(bits())
    (axes,) = growth(table, "bits_per_byte").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == set(LOSS)
    for variant, loss in LOSS.items():
        x, y = lines[variant].get_data()
        np.testing.assert_allclose(x, CONTEXTS, rtol=0.03)
        np.testing.assert_allclose(y, [0.9 + loss / 10 - 0.02 * k for k in range(3)])
    assert "lower is better" in axes.get_ylabel()
    assert any("over items" in text.get_text() for text in growth(table, "bits_per_byte").texts)


def test_without_contexts_there_is_nothing_to_draw() -> None:
    table = results.to_frame(rows_of())
    with pytest.raises(ValueError, match="bits_per_byte"):
        growth(table, "bits_per_byte")
    plain = table.assign(condition="")
    with pytest.raises(ValueError, match="no row has the condition context"):
        needles(pd.DataFrame(plain))
