"""Figures say what they show, hide nothing and overlap nowhere."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows
from matplotlib.text import Annotation, Text

from kit.report import plot, style
from kit.store import results

CURVES = pd.DataFrame(
    {
        "variant": name,
        "seed": str(seed),
        "seconds": 5.0 * step * (1 + rank),
        "tokens": step * 10_000,
        "train_loss": 3.0,
        "validation_loss": math.nan if step % 2 else 2 + rank / 5 + seed / 30 + 3 / step,
    }
    for rank, name in enumerate(("llama", "lfm2", "conv_lm"))
    for seed in range(3)
    for step in range(1, 20)
)


def texts(figure):
    figure.draw_without_rendering()
    scales = [scale for axes in figure.axes for scale in (axes.xaxis, axes.yaxis)]
    drawn = {tick.label1 for scale in scales for tick in scale._update_ticks()}
    hidden = {t.label1 for s in scales for t in s.get_major_ticks() + s.get_minor_ticks()} - drawn
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def every_word(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in texts(figure))


def overlapping(figure):
    boxes = [(t.get_text(), Text.get_window_extent(t).padded(-1)) for t in texts(figure)]
    return [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.overlaps(two)]


FIGURES = {
    "quality": plot.quality,
    "tradeoff": plot.tradeoff,
    "bits": plot.bits,
    "changes": plot.changes,
    "curves": lambda _: plot.curves(CURVES),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_question_and_no_overlaps(table, name):
    figure = FIGURES[name](table)
    assert figure.get_suptitle().endswith("?")
    assert overlapping(figure) == []
    inside = figure.bbox.padded(2)
    for text in texts(figure):
        assert inside.count_contains(Text.get_window_extent(text).corners()) == 4, text.get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_figure_gives_the_same_files(table, name):
    first, second = FIGURES[name](table), FIGURES[name](table)
    assert style.render(first, "svg") == style.render(second, "svg")


def test_a_notebook_shows_a_figure_as_png(table):
    assert plot.changes(table)._repr_png_().startswith(b"\x89PNG")


def test_quality_shows_every_variant_split_and_reason(table):
    figure = plot.quality(table)
    said = every_word(figure)
    for word in ("test in distribution", "amazon near", "tweets far", "nyt far", "base w4g32"):
        assert word in said
    assert "Not measured: base bf16 on test, amazon, tweets, nyt, because bf16 matmul" in said
    assert "accuracy (share; higher is better)" in said
    assert "Hollow: a null model" in said


def test_quality_draws_values_and_intervals_as_they_are():
    figure = plot.quality(results.to_frame(make_rows(seeds=1)))
    first = figure.axes[0]
    names = [label.get_text() for label in first.get_yticklabels()]
    value = {line.get_ydata()[0]: line.get_xdata()[0] for line in first.lines}
    assert value[names.index("base w3")] == pytest.approx(0.736)
    ends = np.sort([path.vertices[:, 0] for c in first.collections for path in c.get_paths()])
    assert any(np.allclose(end, [0.706, 0.766]) for end in ends)
    assert names[-2:] == ["majority", "vader"]
    assert [line.get_marker() for line in first.lines].count("D") == 2


def test_tradeoff_names_points_and_tells_what_is_missing(table):
    figure = plot.tradeoff(table, at="batch_size=32")
    names = [note.get_text() for note in figure.axes[0].findobj(Annotation)]
    assert names == [
        *("base", "base compiled", "base onnx", "base dynamic_int8 onnx"),
        "base torchao_int8 compiled",
    ]
    said = every_word(figure)
    assert "speedup against base, batch_size=32, length=task, threads=2 (times; higher" in said
    assert "No speedup here: base w8, base w4g32, base w4, base w3, majority, vader." in said


def test_the_front_holds_what_nothing_beats():
    points = [(1.0, 0.9), (2.0, 0.8), (1.5, 0.7), (3.0, 0.5), (1.0, 0.6)]
    assert plot._front(points, True, True) == [(3.0, 0.5), (2.0, 0.8), (1.0, 0.9)]
    assert plot._front(points, False, False) == [(1.0, 0.6), (3.0, 0.5)]
    assert plot._front(points, None, True) == []


def test_names_in_a_crowd_do_not_overlap():
    rows = [
        r for r in make_rows(1) if r["variant"] == "base" and r["metric"] in ("accuracy", "speedup")
    ]
    crowd = [
        row | {"variant": f"variant number {i}", "value": row["value"] + i / 500}
        for i in range(14)
        for row in rows
    ]
    assert overlapping(plot.tradeoff(results.to_frame(crowd))) == []


def test_changes_draws_margins_on_the_side_of_the_loss(table):
    figure = plot.changes(table, margin=0.01, shift_margin=0.03)
    dashed = [
        [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        for axes in figure.axes
    ]
    assert dashed == [[-0.01], [-0.03], [-0.03], [-0.03]]
    assert "Smallest difference these tests could see: 0.024." in every_word(figure)
    assert "majority" not in every_word(figure)


def test_what_lies_far_beyond_the_margins_is_an_arrow_with_its_value():
    rows = [row for row in make_rows(1) if row["variant"] != "base w3"]
    far = [row for row in make_rows(1) if row["variant"] == "base w3"]
    for row in far:
        if row["metric"] == "accuracy_change":
            row |= {"value": -0.35, "ci_low": -0.4, "ci_high": -0.3}
    figure = plot.changes(results.to_frame([*rows, *far]))
    first = figure.axes[0]
    assert first.get_xlim()[0] > -0.12
    assert [line.get_marker() for line in first.lines].count("<") == 1
    assert "-0.350" in every_word(figure) and "Arrow: beyond the axis" in every_word(figure)
    assert overlapping(figure) == []
    assert "Arrow" not in every_word(plot.changes(results.to_frame(rows)))


def test_lines_join_sizes_in_their_order(table):
    shuffled = table.sample(frac=1, random_state=1)
    for line in plot.bits(shuffled).axes[0].lines:
        assert list(line.get_xdata()) == sorted(line.get_xdata())


def test_bits_takes_the_size_that_is_there(table):
    said = every_word(plot.bits(table))
    assert "size of weights (MB)" in said
    assert "amazon (near)" in said
    with pytest.raises(ValueError, match=r"'disk_bytes'; the table has accuracy, accuracy_change"):
        plot.bits(table, x="disk_bytes")


@pytest.mark.parametrize("draw", [plot.quality, plot.tradeoff, plot.bits, plot.changes])
def test_nothing_to_show_is_a_sentence(draw):
    empty = results.to_frame([results.row(study="s", variant="v", seed=0, metric="nll", value=1)])
    with pytest.raises(
        ValueError, match=r"no measured rows of the metric '\w+'; the table has nll"
    ):
        draw(empty)


def test_tradeoff_says_what_else_is_there(table):
    with pytest.raises(ValueError, match=r"split 'yelp'; it was on test, amazon, tweets, nyt"):
        plot.tradeoff(table, split="yelp")
    with pytest.raises(ValueError, match=r"condition 'batch_size=8'; there are batch_size=1;"):
        plot.tradeoff(table, at="batch_size=8")


def test_curves_say_what_is_missing():
    with pytest.raises(ValueError, match=r"no column 'hours'; there are variant, seed"):
        plot.curves(CURVES, x="hours")
    with pytest.raises(ValueError, match="no value of 'train_loss'"):
        plot.curves(CURVES.assign(train_loss=math.nan), y="train_loss")


def test_markup_in_names_is_shown_as_it_is(table):
    odd = table.assign(variant=table["variant"] + r" $x_1$ & \b")
    assert r"base onnx $x_1$ & \b" in every_word(plot.quality(odd))
    style.render(plot.quality(odd), "png")


def test_what_could_not_be_measured_is_said_in_place_of_the_points() -> None:
    table = results.to_frame(make_rows())
    table.loc[table.metric == "speedup", ["status", "note"]] = ["undefined", "others were busy"]
    figure = plot.tradeoff(table)
    assert "others were busy" in every_word(figure) and "No speedup was measured" in every_word(
        figure
    )
    with pytest.raises(ValueError, match="no measured rows of the metric 'speedups'"):
        plot.tradeoff(table, x="speedups")
