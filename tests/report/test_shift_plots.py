"""Figures of shifts: what is drawn is what the rows hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kit.report import plot
from kit.report.style import render
from kit.store.results import row, to_frame


def cells(**fields) -> dict:
    given = {"study": "s", "variant": "base", "architecture": "lenet", "schemes": "fp32"}
    given |= {"runtime": "eager", "seed": 0, "task": "mnist", "split": "test", "unit": "share"}
    return row(**given | fields)


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [cells(metric="accuracy", value=0.9, ci_low=0.88, ci_high=0.92, interval="items", n=500)]
    for variant, value in (("base", 0.8), ("small", 0.6)):
        rows.append(cells(variant=variant, metric="accuracy", value=0.85, split="digits"))
        for group, loss in (("digit=1", 0.0), ("digit=8", 0.25)):
            rows.append(
                cells(variant=variant, metric="accuracy", group=group, value=value - loss, n=50)
            )
        for name in ("noise", "blur"):
            for level in (1, 5):
                condition = f"corruption={name};severity={level}"
                at = value + 0.01 * level
                rows.append(
                    cells(
                        variant=variant, metric="accuracy_retained", condition=condition, value=at
                    )
                )
    rows.append(cells(variant="small", metric="accuracy", value=0.7))
    return to_frame(rows)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_heat_map_has_a_panel_a_severity_and_a_number_a_cell(table: pd.DataFrame) -> None:
    figure = plot.heat(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["severity 1", "severity 5"]
    assert texts(figure.axes[0]) == ["0.81", "0.81", "0.61", "0.61"]
    assert texts(figure.axes[1]) == ["0.85", "0.85", "0.65", "0.65"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["noise", "blur"]


def test_a_heat_map_tells_the_accuracy_and_greys_what_is_near_chance(table: pd.DataFrame) -> None:
    at = "corruption=noise;severity=1"
    known = [
        cells(variant=variant, metric="accuracy", condition=at, value=value, task="mnist")
        for variant, value in (("base", 0.9), ("small", 0.27))
    ]
    rows = [row | {"task": "mnist"} for row in table.to_dict("records")]
    axes = plot.heat(to_frame([*rows, *known])).figure.axes[0]
    assert texts(axes) == ["0.81\n90%", "0.81", "0.61\n27%", "0.61"]
    assert [patch.get_xy() for patch in axes.patches] == [(-0.5, 0.5)]


def test_what_a_corruption_makes_better_by_chance_dulls_no_other_colour(
    table: pd.DataFrame,
) -> None:
    lucky = cells(
        variant="lucky",
        metric="accuracy_retained",
        condition="corruption=blur;severity=1",
        value=1.4,
    )
    figure = plot.heat(to_frame([*table.to_dict("records"), lucky]))
    assert figure.axes[0].images[0].get_clim() == (pytest.approx(0.61), 1.0)


def test_corrupted_items_are_no_part_of_the_other_figures(table: pd.DataFrame) -> None:
    extra = cells(metric="accuracy", condition="corruption=blur;severity=1", value=0.1)
    more = to_frame([*table.to_dict("records"), extra])
    figures = (plot.quality(table), plot.quality(more))
    assert render(figures[0], "svg") == render(figures[1], "svg")


def test_the_worst_group_is_the_lowest_and_is_named(table: pd.DataFrame) -> None:
    figure = plot.groups(table)
    (axes,) = figure.axes
    assert texts(axes) == ["digit=8", "digit=8"]
    drawn = {round(float(line.get_xdata()[0]), 3) for line in axes.lines}
    assert drawn == {0.9, 0.7, 0.55, 0.35}


def test_a_metric_without_such_rows_is_named_with_what_there_is(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no rows of 'nll' on shifted items.*accuracy_retained"):
        plot.heat(table, "nll")
    with pytest.raises(ValueError, match="no rows of 'nll' by group"):
        plot.groups(to_frame([*table.to_dict("records"), cells(metric="nll", value=1.0)]), "nll")


def test_curves_are_drawn_by_panel_and_line() -> None:
    bins = pd.DataFrame(
        {
            "panel": np.repeat(["test", "tweets"], 4),
            "line": np.tile(np.repeat(["before", "after"], 2), 2),
            "confidence": np.tile([0.6, 0.9], 4),
            "accuracy": np.tile([0.55, 0.8], 4),
            "ci_low": 0.5,
            "ci_high": 0.85,
            "n": 100,
        }
    )
    figure = plot.reliability(bins)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["test", "tweets"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["before", "after"]
    points = bins.rename(columns={"confidence": "fpr", "accuracy": "tpr"})
    assert len(plot.roc(points).axes[1].lines) == 3
    with pytest.raises(ValueError, match="no column 'tpr'"):
        plot.roc(bins.rename(columns={"confidence": "fpr"}))
    with pytest.raises(ValueError, match="no points"):
        plot.roc(points.iloc[:0])


def test_shares_have_a_line_a_variant_and_a_mark_where_they_are() -> None:
    points = pd.DataFrame(
        {
            "variant": np.repeat(["base", "small"], 2),
            "split": "test",
            "share": [0.9, 0.1, 0.1, 0.9],
            "observed": 0.4,
            "value": [0.8, 0.9, 0.7, 0.6],
            "ci_low": 0.5,
            "ci_high": 0.95,
        }
    )
    (axes,) = plot.shares(points, "praise").figure.axes
    drawn = [line for line in axes.lines if line.get_label() in ("base", "small")]
    assert [list(line.get_ydata()) for line in drawn] == [[0.9, 0.8], [0.7, 0.6]]
    assert [line.get_xdata()[0] for line in axes.lines if line not in drawn] == [0.4]
    with pytest.raises(ValueError, match="base on test has a share twice"):
        plot.shares(pd.concat([points, points]))


def test_variants_are_drawn_in_probits_and_a_fit_where_models_differ() -> None:
    from scipy.special import ndtri

    inside, outside = [0.9, 0.97, 0.8, 0.95], [0.5, 0.7, 0.4, 0.6]
    points = pd.DataFrame(
        {"panel": "digits", "line": ["mlp", "lenet", "vit", "vit"], "inside": inside}
    ).assign(outside=outside)
    lines = pd.DataFrame({"panel": ["digits"], "slope": [1.1], "intercept": [-1.3], "r2": [0.9]})
    (axes,) = plot.on_the_line(points, lines).axes
    assert "slope 1.10" in axes.get_title(loc="left")
    spots = np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections])
    assert spots == pytest.approx(ndtri(np.transpose([inside, outside])))
    alike = plot.on_the_line(points.assign(line="vit"), lines)
    assert "slope" not in alike.axes[0].get_title(loc="left")
    assert len(alike.axes[0].lines) == 1
    assert any("No line where fewer than 3 models" in text.get_text() for text in alike.texts)
