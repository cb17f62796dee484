"""One style for all figures, and the parts they share."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure as _Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from kit.report.tables import Unmeasured
from kit.report.wording import words
from kit.store.meaning import higher_is_better

P = ParamSpec("P")
PALETTE = seaborn.color_palette("colorblind").as_hex()
COLOURS = (*(PALETTE[number] for number in (0, 1, 3, 4, 2, 9)), "#000000")
"""Told apart by colour-blind readers too, neighbours best; its yellow is too pale for lines."""
GREY = "#6B6B6B"
MARKERS = ("o", "s", "^", "v", "P", "X", "*")
STYLE: Any = seaborn.axes_style("whitegrid") | {
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure everywhere
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": ".15",
    "xtick.bottom": True,
    "ytick.left": True,
    "grid.color": ".9",
    "grid.linewidth": 0.8,
    "figure.titlesize": 12.5,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "kit",
    "text.parse_math": False,
}


class Figure(_Figure):
    """A matplotlib figure that notebooks show once, without pyplot's global state."""

    def _repr_png_(self) -> bytes:
        return render(self, "png")


def render(figure: _Figure, form: str) -> bytes:
    """Returns a figure as the bytes of a file, the same for the same figure.

    Args:
        figure: any matplotlib figure.
        form: `png` or `svg`.
    """
    file = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=form, metadata=metadata)
    return file.getvalue()


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Makes a function draw in the kit's style, settle its layout, and keep the caller's style."""

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            try:
                figure = function(*args, **kwargs)
            except Unmeasured as error:  # said in its place: the rest of a notebook goes on
                figure, (axes,) = empty(str(error), 7.5, 0.5, error.reasons)
                axes.set_axis_off()
            _settle(figure)
            return figure

    return draw


def _settle(figure: Figure) -> None:
    """Lays the figure out for good."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.draw_without_rendering()  # a legend outside the axes is placed by the second pass
        figure.set_layout_engine("none")
    for axes in figure.axes:  # the solver's last digits vary, and the ids in SVG with them
        axes.set_position(Bbox.from_bounds(*np.round(axes.get_position().bounds, 5)))


def shortened(name: object, most: int = 48) -> str:
    """Returns a name that leaves room for the drawing: of a long one, its beginning and end."""
    text = str(name)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}\u2026{text[-half:]}"


def empty(
    question: str, width: float, height: float, notes: Sequence[str], panels: int = 1
) -> tuple[Figure, list[Axes]]:
    """Makes a figure with its question above, its notes below and panels that share their axes."""
    wrap = functools.partial(textwrap.wrap, break_on_hyphens=False)
    lines = [line for note in notes for line in wrap(note, int(width * 14))]
    lines = [*lines[:9], f"... and {len(lines) - 9} lines more"] if len(lines) > 10 else lines
    below = 0.17 * len(lines) + 0.1
    figure = Figure(figsize=(width, height + below))
    share = below / (height + below)
    figure.set_layout_engine("constrained", rect=(0.005, share, 0.99, 0.995 - share))
    figure.suptitle("\n".join(wrap(question, int(width * 9.5))), x=0.01, ha="left")
    figure.text(
        0.01, 0.05 / (height + below), "\n".join(lines), fontsize=9, color=GREY, va="bottom"
    )
    return figure, list(figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0])


def label_below(figure: Figure, axes: Axes, label: str) -> None:
    """Writes one label below all panels, above the notes."""
    caption = figure.get_layout_engine().get()["rect"][1]  # type: ignore[union-attr]
    axes.set_xlabel(" ")  # keeps the height free
    figure.text(0.5, caption, label, ha="center", va="bottom")


def dot(axes: Axes, x: float, y: float, colour: str, *, null: bool, small: bool = False) -> None:
    """Draws a value; null models are hollow diamonds."""
    axes.plot(
        *(x, y, "D" if null else "o"),
        color="white" if null else colour,
        markeredgecolor=GREY if null else colour,
        markeredgewidth=1.3,
        markersize=3 if small else 6.5,
        alpha=0.75 if small else 1,
        zorder=3,
    )


def axis(metric: str, unit: str, more: str = "") -> str:
    """Returns an axis label: the metric, where it was had, its unit and which way is better."""
    better = {True: "higher is better", False: "lower is better", None: ""}
    inside = "; ".join(filter(None, (unit, better[higher_is_better(metric)])))
    return f"{words(metric)}{more}" + (f" ({inside})" if inside else "")


def name_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float, str]],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Writes names beside points, each at the nearest place where it covers little.

    Args:
        figure: whose size and limits are final.
        axes: where the points lie.
        points: x, y and name, in the axes' data.
        lines: what else should stay visible: polygons of points; not finite ones are skipped.
    """
    _settle(figure)
    inside, to_pixels = axes.get_window_extent(), axes.transData.transform
    spots = to_pixels([(x, y) for x, y, _ in points])
    names = [Bbox.from_extents(*spot, *spot).padded(5) for spot in spots]
    ink = np.concatenate([spots, *map(_along, map(to_pixels, lines))])
    for (x, y, name), (px, py) in zip(points, spots, strict=True):
        note = axes.annotate(
            *("\n".join(map(shortened, name.split("\n"))), (x, y), (0, 0)),
            textcoords="offset points",
            fontsize=9,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkB": 4},
            bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.85},
        )
        size = Text.get_window_extent(note)  # without the line to the point
        wide, high = size.width / 2, size.height / 2
        box = Bbox.from_extents(px - wide, py - high, px + wide, py + high)
        best, lowest = (0.0, 0.0), float("inf")
        for reach in (0, 8, 16, 28, 44, 64, 90, 120, 150, 180, 210, 240):
            for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
                shift = dx * (wide + 7 + reach), dy * (high + 6 + reach)
                place = box.translated(*shift)
                hidden = place.padded(2).count_contains(ink)
                out = inside.count_contains(place.corners()) < 4
                price = 1000 * sum(map(place.overlaps, names)) + 50 * hidden + 5000 * out + reach
                if price + abs(dx * dy) < lowest:
                    best, lowest = shift, price + abs(dx * dy)
        if note.arrow_patch is not None and max(map(abs, best)) < max(wide, high) + 16:
            note.arrow_patch.set_visible(False)  # near enough without a line
        note.set_position((best[0] * 72 / figure.dpi, best[1] * 72 / figure.dpi))
        names.append(box.translated(*best))


def _along(corners: np.ndarray) -> np.ndarray:
    """Returns points every few pixels along a line through corners [n, 2]."""
    if not np.isfinite(corners).all():
        return np.empty((0, 2))
    steps = [np.linspace(a, b, 2 + int(np.abs(b - a).max() / 4)) for a, b in pairwise(corners)]
    return np.concatenate([*steps, corners])
