"""Other people's frames and texts as tasks: cleaned and counted, or refused in a sentence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attacks import LONG, attempt, cases, names
from helpers import restored, toy_frame
from hypothesis import given
from hypothesis import strategies as st

import kit

CELLS = [
    *(None, math.nan, pd.NA, pd.NaT, "", " ", "nan", "NA", 0, 1, -1, 2**70, 10**5_000, True, 0.5),
    *(math.inf,),
    *([1], (1, 2), {"a": 1}, {1}, np.array([1, 2]), np.array([1]), np.int64(1), np.float32(0.5)),
    *(1j,),
    *(object(), b"\xff\xfe", "x" * 100_000, "\ud800", "a\0b", pd.Timestamp("2020")),
    *(pd.Series([1, 2]),),
    *("1", "True", "=1+1", "<script>", "\u202e", pd.DataFrame({"a": [1]}), np.str_("x")),
    *(np.bytes_(b"x"),),
]
cells = (
    st.sampled_from([cell for cell in CELLS if not isinstance(cell, int) or cell < 2**99])
    | names
    | st.integers()
    | st.floats()
)


def task(frame: Any, **arguments: Any) -> Any:
    with restored():
        ref = attempt(lambda: kit.task_from_frame("hostile", frame, **arguments))
        return None if ref is None else kit.tasks.load(ref)


@pytest.mark.parametrize("column", ["text", "label", "country", "author"])
def test_any_cell_in_any_column(column: str) -> None:
    def try_them(values: list[Any]) -> None:
        frame = toy_frame(60).assign(author=[f"by {row // 2}" for row in range(60)]).astype(object)
        for place, value in enumerate(values):
            frame.at[7 * place + 3, column] = value
        found = task(frame, groups=["country"], cluster="author")
        if found is not None:
            texts = [text for split in found.data.values() for text in split["text"]]
            assert all(text.strip() and "\ud800" not in text for text in texts)

    @cases(2, 100)
    @given(st.lists(cells, min_size=1, max_size=4))
    def try_it(values: list[Any]) -> None:
        try_them(values)

    for place in range(0, len(CELLS), 4 if not LONG else 1):
        try_them(CELLS[place : place + 1])
    try_it()


ARGUMENTS = (
    *("text", "label", "kind", "groups", "cluster", "shifts", "far", "validation", "test"),
    *("labels", "no_label", "contradictory"),
)


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_any_argument(argument: str) -> None:
    for value in CELLS:
        if not (argument in ("kind", "cluster", "shifts", "labels", "no_label") and value is None):
            task(toy_frame(90), **{argument: value})


FRAMES = {
    "two text columns": pd.concat([toy_frame(90), toy_frame(90)[["text"]]], axis=1),
    "two group columns": pd.concat([toy_frame(90), toy_frame(90)[["country"]]], axis=1),
    "no row": toy_frame(90)[:0],
    "one row": toy_frame(90)[:1],
    "two rows": toy_frame(90)[:2],
    "one class": toy_frame(90).query("label == 0"),
    "one text": toy_frame(90).assign(text="the same"),
    "NaN texts": toy_frame(90).assign(text=math.nan),
    "no column": toy_frame(90)[[]],
    "labels alike in print": toy_frame(90).assign(label=[1, "1"] * 45),
    "empty label": toy_frame(90).assign(label=["", "a"] * 45),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_that_make_no_task(kind: str) -> None:
    assert task(FRAMES[kind], groups=["country"]) is None


@pytest.mark.parametrize(
    "frame",
    [
        toy_frame(90).set_axis([0] * 90),
        toy_frame(90).set_index("country", append=True, drop=False),
        toy_frame(90).astype("category"),
        toy_frame(90).astype({"text": "string[pyarrow]", "label": "int64[pyarrow]"}),
        toy_frame(90).astype({"text": "string", "label": "Int64"}),
        toy_frame(90).assign(**{"": 1, "id": 2, "cluster": 3, "source": 4, "split": 5}),
        toy_frame(90).rename(columns=lambda name: name).assign(label=[True, False] * 45),
    ],
)
def test_odd_frames_that_do(frame: pd.DataFrame) -> None:
    found = task(frame, groups=["country"])
    assert sum(map(len, found.data.values())) == 90
