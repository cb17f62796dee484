"""Your own data: every kind of bad input gets a sentence, the odd kinds of text get through."""

from __future__ import annotations

from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from texts import sentences

from kit.spec import registry
from kit.spec.checking import SpecError
from kit.tasks.content import content_id
from kit.tasks.own import task_from_frame, task_from_text
from kit.tasks.prepared import describe
from kit.tasks.task import load

pytestmark = pytest.mark.usefixtures("forget")
COUNT = 60


def reviews(count: int = COUNT, start: int = 0, **columns: Any) -> pd.DataFrame:
    texts = [f"{k * 7919} review number {k} of item {k * k}" for k in range(start, start + count)]
    given = {"text": texts, "label": [k % 2 for k in range(count)], **columns}
    return pd.DataFrame(given)


def rows(name: str) -> int:
    return sum(describe(name)["sizes"].values())


def test_a_frame_becomes_a_task_with_groups_clusters_and_shifts() -> None:
    places = [("de", "fr", "it")[k % 3] for k in range(COUNT)]
    frame = reviews(country=places, author=[k // 2 for k in range(COUNT)])
    frame = frame.rename(columns={"text": "body", "label": "positive"})
    new = frame.assign(body=[f"{text} in another year" for text in frame["body"]])
    shop = new.assign(body=[f"{k * k} bought in shop {k}" for k in range(COUNT)])
    columns: dict[str, Any] = {"text": "body", "label": "positive", "cluster": "author"}
    shifts = {"2025": new, "shop": shop}
    ref = task_from_frame(
        "reviews", frame, **columns, groups=["country"], shifts=shifts, far="shop"
    )
    task = load(ref)
    assert task.shifts == {"2025": "near", "shop": "far"} and task.rule
    assert task.labels == ("0", "1") and task.groups == ("country",)
    assert set(task.data["train"]["country"]) == {"de", "fr", "it"}
    assert len(set(task.data["train"]["cluster"])) == len(task.data["train"]) / 2
    label = dict(zip(frame["body"], frame["positive"], strict=True))
    assert all(label[row["text"]] == row["label"] for row in task.data["test"])


def test_running_again_replaces_and_other_data_are_another_version() -> None:
    task_from_frame("mine", reviews())
    first, version = describe("mine"), registry.tasks.get("mine").version
    task_from_frame("mine", reviews().sample(frac=1, random_state=1))
    assert (describe("mine"), registry.tasks.get("mine").version) == (first, version)
    task_from_frame("mine", reviews().assign(label=1 - reviews()["label"]))
    assert registry.tasks.get("mine").version != version
    assert describe("mine")["fingerprints"] != first["fingerprints"]


def test_the_function_goes_to_a_worker_by_value() -> None:
    task_from_frame("mine", reviews())
    function = cloudpickle.loads(cloudpickle.dumps(registry.tasks.get("mine").function))
    assert sum(map(len, function().splits.values())) == COUNT


def test_a_name_of_the_kits_own_tasks_is_taken() -> None:
    with pytest.raises(SpecError, match="another name"):
        task_from_frame("sentiment", reviews())


@pytest.mark.parametrize(
    ("values", "order", "labels"),
    [
        ([False, True], None, ("False", "True")),
        ([7, 3], None, ("3", "7")),
        ([1.0, 0.0], None, ("0", "1")),
        (["ham", "spam"], None, ("ham", "spam")),
        (["ham", "spam"], ["spam", "ham"], ("spam", "ham")),
        ([np.int64(2), np.int64(1)], [1, 2], ("1", "2")),
    ],
)
def test_labels(values: list[Any], order: list[Any] | None, labels: tuple[str, ...]) -> None:
    frame = reviews(label=values * (COUNT // 2))
    task = load(task_from_frame("mine", frame, labels=order))
    assert task.labels == labels
    text = dict(zip(frame["text"], frame["label"], strict=True))
    for row in task.data["train"]:
        value = text[row["text"]]
        shown = str(int(value)) if isinstance(value, float) else str(value)
        assert task.labels[row["label"]] == shown


def test_rows_without_label_or_text_are_dropped_and_counted() -> None:
    frame = reviews().astype({"label": object, "text": object})
    frame.loc[0, "label"] = None
    frame.loc[1, "label"] = float("nan")
    frame.loc[2, "text"] = "  \n "
    frame.loc[3, "text"] = None
    frame.loc[4, "text"] = frame.loc[6, "text"].upper()
    task_from_frame("mine", frame)
    dropped = describe("mine")["dropped"]["mine"]
    assert dropped["without_label"] == 2 and dropped["empty"] == 2
    assert dropped["exact_duplicates"] == 1
    assert rows("mine") == COUNT - 5


def test_odd_texts_get_through() -> None:
    odd = [
        "long " + " ".join(map(str, range(20_000)))[:100_000],
        b"caf\xe9 and \xff bytes",
        "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f emoji",
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643 \u05e9\u05dc\u05d5\u05dd",
        "lone \udc80 surrogate",
        "nul \x00 byte",
    ]
    frame = reviews().astype({"text": object})
    frame.loc[: len(odd) - 1, "text"] = pd.Series(odd)
    task = load(task_from_frame("mine", frame))
    texts = [text for split in task.data.values() for text in split["text"]]
    assert len(texts) == COUNT
    assert {odd[0], odd[2], odd[3], "caf\ufffd and \ufffd bytes", "lone \ufffd surrogate"} <= set(
        texts
    )
    assert describe("mine")["dropped"]["mine"]["replaced_characters"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "txt"}, "Did you mean 'text'"),
        ({"label": "lable"}, "Did you mean 'label'"),
        ({"groups": ["contry"]}, "Did you mean 'country'"),
        ({"cluster": "autor"}, "Did you mean 'author'"),
        ({"groups": ["label"]}, "may not be called 'label'"),
        ({"shifts": {"2025": reviews(start=100)}, "far": ["2026"]}, "Did you mean '2025'"),
        ({"shifts": {"test": reviews(start=100)}}, "may not be called 'test'"),
        ({"shifts": {"a/b": reviews(start=100)}}, "may not be called 'a/b'"),
        ({"shifts": {"new": {"text": []}}}, "expected a pandas DataFrame"),
        ({"shifts": {"new": pd.DataFrame({"txt": ["a"]})}}, "frame 'new'.*Did you mean 'txt'"),
        ({"labels": [0]}, "needs two or more"),
        ({"labels": [0, 0]}, "repeats one"),
        ({"labels": [0, 2]}, "label 1 is none of {'0': 0, '2': 1}"),
        ({"validation": 0.6, "test": 0.6}, "sum of at most 1"),
        ({"text": ("text", "author", "country")}, "names 3 columns; expected one, or two"),
        ({"text": ["text", "text"]}, "two others for pairs of texts"),
        ({"text": ["text", "athor"]}, "Did you mean 'author'"),
        ({"label": ["label"]}, "a list of two or more columns of 0 and 1"),
        ({"groups": ["text_pair"]}, "may not be called 'text_pair'"),
        ({"contradictory": "majority"}, "unknown contradictory= 'majority'"),
        ({"kind": "span"}, "unknown kind of labelled task for mine 'span'"),
    ],
)
def test_mistakes_get_a_sentence(arguments: dict[str, Any], message: str) -> None:
    frame = reviews(country="de", author="somebody")
    with pytest.raises(SpecError, match=message):
        task_from_frame("mine", frame, **arguments)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (reviews(label=1), "needs two or more"),
        (reviews().iloc[:0], "frame 'mine' has no rows"),
        (reviews(3).assign(text="the same", label=[0, 1, 0]), "is empty; rows in each"),
        (reviews(label=[k / 7 + 0.1 for k in range(COUNT)]), "expected booleans, whole numbers"),
    ],
)
def test_data_that_make_no_task(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        task_from_frame("mine", frame)


def test_all_rows_are_test_for_a_finished_model() -> None:
    shift = reviews(20, start=500)
    ref = task_from_frame("mine", reviews(), shifts={"new": shift}, validation=0, test=1.0)
    task = load(ref)
    assert describe(ref)["sizes"] == {
        "train": 0,
        "validation": 0,
        "test": COUNT,
        "new": 20,
        "new/validation": 0,
    }
    assert task.data["train"].features == task.data["test"].features
    assert len(task.split("test")) == COUNT
    with pytest.raises(SpecError, match="split 'train' of task mine is empty; items in each: .*60"):
        task.split("train")


def test_classes_may_be_absent_from_any_split() -> None:
    intents = reviews(200, label=[f"intent {k % 77}" for k in range(200)])
    assert len(load(task_from_frame("mine", intents, validation=0.1, test=0.8)).labels) == 77
    two = reviews(label=["negative", "positive"] * (COUNT // 2))
    order = ["negative", "neutral", "positive"]
    task = load(task_from_frame("mine", two, labels=order))
    assert task.labels == tuple(order) and task.absent == ["neutral"]
    assert set(task.data["test"]["label"]) == {0, 2}
    assert task.data["train"].features["label"].names == order
    one = reviews(label=[1] + [0] * (COUNT - 1))
    assert set(load(task_from_frame("mine", one)).data["test"]["label"]) <= {0, 1}


def test_pairs_of_texts_are_a_task() -> None:
    frame = reviews(COUNT).rename(columns={"text": "premise"})
    frame["hypothesis"] = [f"claim {k * 104729} of {k}" for k in range(COUNT)]
    task = load(task_from_frame("mine", frame, text=("premise", "hypothesis")))
    assert task.pairs and task.modality == "text"
    given = {(row.premise, row.hypothesis): row.label for row in frame.itertuples()}
    for split, rows in task.data.items():
        examples = task.examples(rows)
        assert [given[pair] for pair in examples] == list(rows["label"]), split
        assert [content_id(pair) for pair in examples] == list(rows["id"])
        assert rows.column_names[:3] == ["id", "text", "text_pair"]
    assert not load(task_from_frame("mine", reviews())).pairs


def test_a_contrast_pair_is_kept_on_one_side() -> None:
    base = sentences(40)
    frame = pd.DataFrame(
        {
            "text": [f"{text} {end}" for text in base for end in ("good", "bad")],
            "label": [1, 0] * 40,
        }
    )
    task = load(task_from_frame("mine", frame))
    assert describe("mine")["dropped"]["mine"]["near_duplicates"] == 0
    sides = {text: name for name, rows in task.data.items() for text in rows["text"]}
    assert len(sides) == 80
    assert all(sides[f"{text} good"] == sides[f"{text} bad"] for text in base)


def test_a_text_with_two_labels_is_counted_and_left_out_or_its_first_label_kept() -> None:
    twice = pd.concat([reviews(), reviews(20).assign(label=1)], ignore_index=True)
    task_from_frame("mine", twice)
    dropped = describe("mine")["dropped"]["mine"]
    assert (dropped["contradictory"], dropped["exact_duplicates"]) == (20, 10)
    task = load(task_from_frame("mine", twice, contradictory="first"))
    dropped = describe("mine")["dropped"]["mine"]
    assert (dropped["contradictory"], dropped["exact_duplicates"]) == (10, 10)
    label = dict(zip(reviews()["text"], reviews()["label"], strict=True))
    for rows in task.data.values():
        assert [label[text] for text in rows["text"]] == list(rows["label"])
    task_from_frame("mine", reviews())
    assert "contradictory" not in describe("mine")["dropped"]["mine"]


def test_a_shift_may_hold_one_class_but_no_unknown_label() -> None:
    shift = reviews(20, start=500, label=1)
    assert load(task_from_frame("mine", reviews(), shifts={"new": shift})).data["new"]["label"]
    with pytest.raises(SpecError, match="frame 'new': label 5 is none of"):
        task_from_frame("mine", reviews(), shifts={"new": shift.assign(label=5)})


def test_texts_become_a_language_task() -> None:
    texts = reviews()["text"].tolist()
    ref = task_from_text("notes", texts, shifts={"later": [f"{t} later on" for t in texts]})
    task = load(ref)
    assert task.kind == "language" and task.shifts == {"later": "near"}
    assert "label" not in task.data["train"].column_names
    assert rows("notes") <= 2 * COUNT


def test_one_text_is_no_list_of_documents() -> None:
    with pytest.raises(SpecError, match="give a list of documents"):
        task_from_text("notes", "one long text")
    with pytest.raises(SpecError, match="is empty"):
        task_from_text("notes", [])
