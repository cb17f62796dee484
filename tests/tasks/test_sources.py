"""Data sets of Hugging Face's `datasets` as tasks, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from helpers import toy_frame

import kit
from kit.spec.checking import SpecError
from kit.tasks import describe, load

pytestmark = pytest.mark.usefixtures("forget")

CLASSES = ("unhappy", "happy")  # sorted, they would stand the other way round


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and no way to the hub."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()


def data_set(count: int = 80, start: int = 0) -> datasets.Dataset:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "country": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_pandas(toy_frame(count, start), features=features)


def saved(folder: Path, kind: str) -> str:
    """Writes data as somebody would; returns how a task is told."""
    data = data_set()
    if kind == "disk":
        data.save_to_disk(folder)
    elif kind == "parts":
        datasets.DatasetDict({"train": data}).save_to_disk(folder)
    elif kind == "parquet":
        folder.mkdir()
        data.to_parquet(folder / "train.parquet")
    else:
        folder.mkdir()
        toy_frame(80).to_csv(folder / "train.csv", index=False)
    return f"hf:{folder}"


def test_a_data_set_is_a_task_as_its_frame_is() -> None:
    given: dict[str, Any] = {"groups": ["country"], "far": ["later"]}
    mine = load(kit.task_from_frame("mine", data_set(), shifts={"later": data_set(60, 1)}, **given))
    other = load(
        kit.task_from_frame("other", toy_frame(80), shifts={"later": toy_frame(60, 1)}, **given)
    )
    assert (mine.labels, other.labels) == (CLASSES, ("0", "1"))
    assert mine.shifts == {"later": "far"} and mine.groups == ("country",)
    for split, rows in other.data.items():
        assert mine.data[split].to_dict() == rows.to_dict()


def test_parts_are_pooled_and_what_has_no_label_is_dropped() -> None:
    parts = datasets.DatasetDict({"train": data_set(150), "test": data_set(50, 1)})
    parts["unsupervised"] = data_set(10, 2).map(lambda row: {"label": -1})
    ref = kit.task_from_frame("mine", parts)
    assert describe(ref)["dropped"]["mine"]["without_label"] == 10
    assert sum(describe(ref)["sizes"].values()) >= 190
    apart = kit.task_from_frame("apart", parts["train"], shifts={"official": parts["test"]})
    assert set(load(apart).shifts) == {"official"}


@pytest.mark.parametrize("kind", ["disk", "parts", "parquet", "csv"])
def test_a_folder_is_read_without_the_hub(kind: str, tmp_path: Path) -> None:
    task = load(kit.task_from_frame("mine", saved(tmp_path / "data", kind)))
    assert task.labels == (("0", "1") if kind == "csv" else CLASSES)
    assert sum(map(len, task.data.values())) >= 75


def test_texts_of_a_data_set_are_a_language_task() -> None:
    assert load(kit.task_from_text("notes", data_set()["text"])).kind == "language"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "reviews.csv",
            "is a str; expected a pandas DataFrame, .*give its folder as 'hf:./folder'",
        ),
        ("hf:", "'' could not be read: there is no name"),
        ("hf:./nowhere", "'./nowhere' could not be read: .*save_to_disk.*hf:./folder"),
        ("hf:nobody/nothing", "'nobody/nothing' could not be read"),
        ([{"text": "a"}], "is a list; expected a pandas DataFrame"),
        (data_set().to_iterable_dataset(), "is a IterableDataset; expected"),
        (datasets.DatasetDict(), "its parts do not go together"),
        (data_set().rename_column("text", "body"), "unknown column 'text'"),
        (
            data_set().rename_column("label", "lable"),
            "unknown column 'label'. Did you mean 'lable'",
        ),
    ],
)
def test_mistakes_get_a_sentence(given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        kit.task_from_frame("mine", given)


def test_parts_of_other_columns_do_not_go_together() -> None:
    other = datasets.Dataset.from_pandas(pd.DataFrame({"text": [1, 2], "label": ["a", "b"]}))
    with pytest.raises(SpecError, match="its parts do not go together"):
        kit.task_from_frame("mine", datasets.DatasetDict({"a": data_set(), "b": other}))


@pytest.mark.parametrize(
    ("encoding", "text", "message"),
    [
        ("latin-1", "caf\u00e9 ", "byte 0xe9 at offset 14, row 2.*'train.csv', encoding='latin-1'"),
        ("utf-16", "", "byte 0xff at offset 0, row 1.*encoding='utf-16'"),
    ],
)
def test_a_file_that_is_not_utf8_is_named_with_byte_and_row(
    encoding: str, text: str, message: str, tmp_path: Path
) -> None:
    frame = toy_frame(9)[["text", "label"]]
    frame.assign(text=text + frame["text"]).to_csv(
        tmp_path / "train.csv", index=False, encoding=encoding, lineterminator="\n"
    )
    with pytest.raises(SpecError, match=message):
        kit.task_from_frame("mine", f"hf:{tmp_path}")


def test_labels_that_are_read_as_missing_are_told(tmp_path: Path) -> None:
    frame = toy_frame(20).assign(label=["NA", "yes"] * 10)
    frame.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(SpecError, match="10 of 20 rows have no label.*keep_default_na=False"):
        kit.task_from_frame("mine", f"hf:{tmp_path}")
    table = pd.read_csv(tmp_path / "train.csv", keep_default_na=False)
    assert load(kit.task_from_frame("mine", table)).labels == ("NA", "yes")


def test_an_unlabelled_part_of_a_folder_is_dropped_and_counted(tmp_path: Path) -> None:
    toy_frame(60).to_csv(tmp_path / "train.csv", index=False)
    toy_frame(20, 1).assign(label=-1).to_csv(tmp_path / "test.csv", index=False)
    with pytest.warns(UserWarning, match="-1 is taken for no label"):
        ref = kit.task_from_frame("mine", f"hf:{tmp_path}")
    assert load(ref).labels == ("0", "1")
    assert describe(ref)["dropped"]["mine"]["without_label"] == 20
