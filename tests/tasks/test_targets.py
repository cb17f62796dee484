"""Labels by kind of task: classes, any number of labels, numbers, and what is no label."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from texts import sentences

from kit.spec.checking import SpecError
from kit.tasks import Task, describe, load, task_from_frame

pytestmark = pytest.mark.usefixtures("forget")
COUNT = 40
TEXTS = sentences(COUNT)


def task(cells: Any = None, /, columns: Any = None, **given: Any) -> Task:
    columns = columns or {"label": cells}
    return load(task_from_frame("mine", pd.DataFrame({"text": TEXTS, **columns}), **given))


def labels(found: Task) -> dict[str, Any]:
    """Returns text -> label over all splits."""
    rows = [row for split in found.data.values() for row in split]
    return {row["text"]: row["label"] for row in rows}


def without() -> int:
    return int(describe("mine")["dropped"]["mine"]["without_label"])


@pytest.mark.parametrize(
    ("values", "given", "names", "lost"),
    [
        ([0, 1, 2, -1], {}, ("0", "1", "2"), 10),
        ([0.0, 2.0, math.nan, -1.0], {}, ("0", "2"), 20),
        (["no", "yes", -1, "no"], {}, ("no", "yes"), 10),
        ([-1, 1], {}, ("-1", "1"), 0),
        ([-2, -1, 0, 1], {}, ("-2", "-1", "0", "1"), 0),
        ([-1, 0, 1, 1], {"labels": [-1, 0, 1]}, ("-1", "0", "1"), 0),
        ([-1, 0, 1, 1], {"labels": [0, 1]}, ("0", "1"), 10),
        ([-1, 0, 1, 1], {"no_label": ()}, ("-1", "0", "1"), 0),
        ([-1, 0, 1, 1], {"no_label": [-1]}, ("0", "1"), 10),
        ([-1, 0, 1, 9], {"no_label": [9, "?"]}, ("-1", "0", "1"), 10),
        (["?", "a", "b", "c"], {"no_label": "?"}, ("a", "b", "c"), 10),
        (["-1", "a", "b", "c"], {}, ("-1", "a", "b", "c"), 0),
    ],
)
def test_what_stands_for_no_label_is_dropped_and_counted(
    values: list[Any], given: dict[str, Any], names: tuple[str, ...], lost: int
) -> None:
    cells = values * (COUNT // len(values))
    found = task(pd.Series(cells, dtype=object if "no" in values else None), **given)
    assert (found.labels, without(), len(labels(found))) == (names, lost, COUNT - lost)


def test_a_marker_that_might_be_a_class_warns() -> None:
    with pytest.warns(UserWarning, match=r"-1 is taken for no label; .* labels=\[-1, 0, 1\]"):
        assert task([-1, 0, 1, 0] * 10).labels == ("0", "1")
    assert without() == 10


def test_a_shift_has_the_markers_of_the_task() -> None:
    shift = pd.DataFrame({"text": sentences(4, 90), "label": [0, -1, 1, 2]})
    task([0, 1, 2, 3] * 10, shifts={"new": shift})
    assert describe("mine")["dropped"]["new"]["without_label"] == 1


def test_names_that_look_the_same_are_the_same() -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    found = task([composed, apart, "tea", "tea"] * 10, labels=[apart, "tea"])
    assert found.labels == (composed, "tea")
    assert list(labels(found).values()).count(0) == 20


def test_missing_labels_are_told_where_too_few_are_left() -> None:
    message = "the labels .'yes'.*20 of 40 rows have no label: pandas.*keep_default_na=False"
    with pytest.raises(SpecError, match=message):
        task([None, "yes"] * 20)


MARKS = [(n % 2, int(n % 3 == 0), 0) for n in range(COUNT)]
NAMES = ("toxic", "insult", "threat")
LISTS = [[name for name, mark in zip(NAMES, row, strict=True) if mark] for row in MARKS]
COLUMNS = dict(zip(NAMES, zip(*MARKS, strict=True), strict=True))
NUMBERED = datasets.Features(
    {
        "text": datasets.Value("string"),
        "label": datasets.List(datasets.ClassLabel(names=list(NAMES))),
    }
)


def numbered() -> datasets.Dataset:
    rows = [[place for place, mark in enumerate(row) if mark] for row in MARKS]
    return datasets.Dataset.from_dict({"text": TEXTS, "label": rows}, features=NUMBERED)


@pytest.mark.parametrize(
    ("columns", "given"),
    [
        (COLUMNS, {"label": NAMES}),
        ({name: np.array(column, bool) for name, column in COLUMNS.items()}, {"label": NAMES}),
        ({name: np.array(column, float) for name, column in COLUMNS.items()}, {"label": NAMES}),
        ({"label": LISTS}, {"labels": NAMES}),
        ({"label": [set(row) for row in LISTS]}, {"labels": NAMES, "kind": "multi_label"}),
        ({"label": [np.array(row) for row in MARKS]}, {"labels": NAMES}),
        ({"label": [list(map(float, row)) for row in MARKS]}, {"labels": NAMES}),
        (None, {}),
    ],
)
def test_any_number_of_labels_a_text(columns: Any, given: dict[str, Any]) -> None:
    if columns is None:
        found = load(task_from_frame("mine", numbered()))
    else:
        found = task(columns=columns, **given)
    assert (found.kind, found.labels) == ("multi_label", NAMES)
    assert labels(found) == {text: list(row) for text, row in zip(TEXTS, MARKS, strict=True)}
    assert without() == 0


def test_labels_of_lists_are_sorted_or_numbered() -> None:
    assert task([["b", "a"], ["b"], [], ["c"]] * 10).labels == ("a", "b", "c")
    assert task([[0, 1, 1], [0, 0, 0]] * 20).labels == ("0", "1", "2")


def test_rows_without_some_label_are_dropped_and_other_labels_contradict() -> None:
    cells = {"a": [1, -1, None, 0] * 10, "b": [0, 0, 1, 1] * 10}
    assert len(labels(task(columns=cells, label=["a", "b"]))) == without() == 20
    assert len(labels(task([["x"], None, ["y"], ["x", None]] * 10))) == without() == 20
    frame = pd.DataFrame({"text": [*TEXTS, TEXTS[0], TEXTS[1]], "label": [["a"], ["b"]] * 21})
    frame.at[COUNT, "label"] = ["a", "b"]
    task_from_frame("mine", frame)
    dropped = describe("mine")["dropped"]["mine"]
    assert (dropped["contradictory"], dropped["exact_duplicates"]) == (2, 1)


def test_numbers_are_a_regression() -> None:
    cells = [n / 7 - 1 for n in range(COUNT - 2)] + [None, math.nan]
    found = task(cells, kind="regression")
    assert (found.kind, found.labels, without()) == ("regression", (), 2)
    expected = dict(zip(TEXTS, cells[:-2], strict=False))
    assert labels(found) == expected and found.shown_label(0.5) == "0.5"
    assert len(labels(task([-1, 0, 1, 2] * 10, kind="regression"))) == COUNT
    assert len(labels(task([-1, 0, 1, 2] * 10, kind="regression", no_label=[-1]))) == 30


def test_other_numbers_of_one_text_contradict() -> None:
    frame = pd.DataFrame(
        {"text": [*TEXTS, TEXTS[0], TEXTS[1]], "label": [0.5] * COUNT + [0.6, 0.5]}
    )
    task_from_frame("mine", frame, kind="regression")
    dropped = describe("mine")["dropped"]["mine"]
    assert (dropped["contradictory"], dropped["exact_duplicates"]) == (2, 1)


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        ([[0, 0, 3, 0], [1, 2]], {}, "repeats a label; expected each once. A tag for each token"),
        ([{"text": ["a"], "answer_start": [3]}], {}, "question answering with spans"),
        ([{"score": 1}], {}, "is a mapping; expected a label, a list of labels or a number"),
        ([["a"], "b"], {}, "label 'b'; expected a list, as in other rows"),
        ([["a"], ["b"]], {"labels": ["a", "c"]}, "label 'b' is none of"),
        ([[0, 1], [1, 1]], {"labels": ["a", "b", "c"]}, "names 3 labels; the lists have 2 marks"),
        ([[["a"]], ["b"]], {}, "holds lists; expected a list of labels"),
        ([["a"]], {}, "has the labels .'a'"),
        (
            [["a"], ["b"]],
            {"kind": "classification"},
            "labels are lists; a classification takes one",
        ),
        ([["a"], ["b"]], {"kind": "regression"}, "labels are lists; a regression takes one"),
        (["a", "b"], {"kind": "multi_label"}, "holds a label a row; a multi_label task takes"),
        (["a", "b"], {"kind": "regression"}, "label 'a' is a str; expected finite numbers"),
        ([True, False], {"kind": "regression"}, "label True is a bool; expected finite numbers"),
        ([math.inf, 1.0], {"kind": "regression"}, "label inf is a float; expected finite numbers"),
        ([None], {"kind": "regression"}, "no row has a number. pandas"),
        ([1, 2], {"kind": "regression", "labels": [1, 2]}, "leave labels out"),
        ([0.5, 1.5], {}, "numbers with kind='regression'"),
        ([0, 1], {"no_label": [1], "labels": [0, 1]}, "1 is in labels and in no_label"),
    ],
)
def test_labels_that_make_no_task_get_a_sentence(
    values: list[Any], given: dict[str, Any], message: str
) -> None:
    cells = pd.Series((values * COUNT)[:COUNT], dtype=object)
    with pytest.raises(SpecError, match=message):
        task(cells, **given)


@pytest.mark.parametrize(
    ("cells", "given", "message"),
    [
        ([0, 2], {}, "column 'b' holds 2; expected 0 or 1"),
        (["x", "y"], {}, "column 'b' holds 'x'; expected 0 or 1"),
        ([0, 1], {"labels": ["b", "a"]}, "several label columns name the labels"),
        ([0, 1], {"kind": "classification"}, "the labels are 2 columns; a classification takes"),
        ([[0], [1]], {}, r"column 'b' holds \[0\]; expected 0 or 1"),
    ],
)
def test_several_columns_hold_0_and_1(
    cells: list[Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        task(columns={"a": [0, 1] * 20, "b": cells * 20}, label=["a", "b"], **given)


def test_tokens_with_tags_are_told() -> None:
    frame = pd.DataFrame({"tokens": [["EU", "rejects"]] * 9, "ner_tags": [[3, 0]] * 9})
    with pytest.raises(SpecError, match=r"'tokens' holds .*\(token classification\) are not supp"):
        task_from_frame("mine", frame, text="tokens", label="ner_tags")


def test_a_task_of_several_labels_may_be_all_test() -> None:
    marks = {"a": [k % 2 for k in range(COUNT)], "b": [k % 3 == 0 for k in range(COUNT)]}
    data = task(columns=marks, label=["a", "b"], validation=0, test=1.0)
    assert {split: len(rows) for split, rows in data.data.items()} == {
        "train": 0,
        "validation": 0,
        "test": COUNT,
    }
    assert sorted(map(tuple, data.split("test")["label"]))[0] == (0, 0)
