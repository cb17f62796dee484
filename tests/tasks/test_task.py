"""Loading, describing and checking tasks; what holds of every task that the kit brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer

import kit
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.tasks.content import content_id, normalize
from kit.tasks.duplicates import near_duplicates
from kit.tasks.prepare import split_names
from kit.tasks.prepared import describe
from kit.tasks.splits import check, fingerprint, finished
from kit.tasks.task import Task, _loaded, load

TRAITS = {"kind": "classification", "labels": ("no", "yes"), "groups": (), "shifts": {}}


def frames(**changes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    texts = {name: [f"{name} {k}" for k in range(4)] for name in ("train", "validation", "test")}
    made = {key: pd.DataFrame({"text": rows, "label": [0, 1] * 2}) for key, rows in texts.items()}
    return {name: finished(frame) for name, frame in {**made, **changes}.items()}


def test_splits_have_what_they_promise(own_task: Task) -> None:
    assert list(own_task.data) == split_names(own_task.shifts)
    for rows in own_task.data.values():
        frame = rows.to_pandas()
        assert frame["id"].is_monotonic_increasing
        assert (frame["id"] == frame["text"].map(content_id)).all()
        assert set(own_task.groups) <= set(frame)
        assert not frame.isna().any().any()
        assert (frame["text"].str.strip() == frame["text"]).all() and (frame["text"] != "").all()


def test_no_text_and_no_cluster_is_in_two_splits(own_task: Task) -> None:
    for column in ("id", "cluster"):
        seen: set[str] = set()
        for rows in own_task.data.values():
            values = set(rows[column])
            assert not values & seen
            seen |= values


def test_no_text_is_nearly_the_same_as_a_training_text(sentiment: Task) -> None:
    """By scikit-learn's n-grams and all pairs: neither our hashes nor our candidates."""
    grams = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False)
    train = grams.fit_transform([normalize(text) for text in sentiment.data["train"]["text"]])
    for name in ("test", "amazon", "tweets", "nyt"):
        texts = [normalize(text) for text in sentiment.split(name, 600)["text"]]
        sizes = np.array([len({t[k : k + 5] for k in range(len(t) - 4)}) for t in texts])
        shared = (grams.transform(texts) @ train.T).tocoo()
        union = sizes[shared.row] + train.sum(axis=1).A1[shared.col] - shared.data
        assert len(shared.data) > 10_000 and (shared.data / union).max() < 0.8


def test_near_duplicates_are_gone_within_and_across_splits(own_task: Task) -> None:
    texts = [text for rows in own_task.data.values() for text in rows["text"][:300]]
    assert not near_duplicates(texts).duplicates.any()


def test_description_is_read_without_datasets(own_task: Task) -> None:
    code = (
        "import sys; from kit.tasks.prepared import describe; "
        f"print(describe({own_task.ref.name!r})['sizes']['train']); "
        "print(sorted({'datasets', 'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(len(own_task.data["train"])), "[]"]


def test_description_fits_the_data(own_task: Task) -> None:
    about = describe(own_task.ref)
    for name, rows in own_task.data.items():
        assert about["sizes"][name] == len(rows)
        assert about["fingerprints"][name] == fingerprint(rows.to_pandas())


def test_preparing_in_another_process_gives_the_same(sentiment: Task, tmp_path: Path) -> None:
    code = "import json, kit.tasks as tasks; print(json.dumps(tasks.describe('sentiment')))"
    environment = {**os.environ, "KIT_STORE": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == describe(sentiment.ref)


def test_limit_takes_the_first_by_content(own_task: Task) -> None:
    assert own_task.split("test", 7)["id"][:] == own_task.data["test"]["id"][:7]
    assert len(own_task.split("test", 10**9)) == len(own_task.data["test"])
    assert own_task.split("test") is own_task.data["test"]
    with pytest.raises(SpecError, match="limit=0"):
        own_task.split("test", 0)
    with pytest.raises(SpecError, match="Did you mean 'validation'"):
        own_task.split("validatoin")


def test_loading_again_is_free(own_task: Task) -> None:
    assert load(own_task.ref.name) is load(own_task.ref)
    assert own_task.ref == registry.tasks.canonical(own_task.ref.name)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'sentiment'"):
        load("sentimnt")


@pytest.mark.usefixtures("forget")
def test_a_task_registered_in_a_cell() -> None:
    @kit.register_task(kind="classification", labels=("no", "yes"))
    def cell(*, extra: int = 0) -> dict[str, pd.DataFrame]:
        """Data as frames; ids, clusters and the order are made."""
        made = frames()
        return {name: frame[["text", "label"]].iloc[::-1] for name, frame in made.items()}

    task = load(Ref("cell", extra=2))
    assert task.labels == ("no", "yes") and task.ref == Ref("cell", extra=2)
    assert task.data["train"]["cluster"][:] == task.data["train"]["id"][:]
    assert describe("cell")["dropped"] == {}
    _loaded.clear()
    assert load(Ref("cell", extra=2)).data["train"].to_dict() == task.data["train"].to_dict()


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": frames()["train"]}, "no split 'validation'"),
        ({**frames(), "tset": frames()["test"]}, "unknown split .* 'tset'.*'test'"),
        (None, "returned a NoneType"),
    ],
)
def test_a_task_that_returns_the_wrong_thing(given: object, message: str) -> None:
    def wrong() -> object:
        return given

    kit.register_task(kind="classification", labels=("no", "yes"), version=1)(wrong)
    with pytest.raises(SpecError, match=message):
        load("wrong")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": pd.DataFrame({"text": ["a"], "lable": [0]})}, "Did you mean 'lable'"),
        (
            {"test": pd.DataFrame({"text": [], "label": []})},
            "'test' is empty; rows in each: .*train 4",
        ),
        (
            {"test": pd.DataFrame({"text": ["a", "b"], "text_pair": ["x", "y"], "label": [0, 1]})},
            "unknown column 'text_pair'",
        ),
        ({"test": pd.DataFrame({"text": ["a", "b"], "label": [0, 2]})}, "label 2 is none of"),
        ({"test": pd.DataFrame({"text": ["train 1", "b"], "label": [0, 1]})}, "also in 'train'"),
    ],
)
def test_splits_that_break_a_promise(changed: dict[str, pd.DataFrame], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check("mine", frames(**changed), TRAITS)


def test_fingerprint_sees_every_column() -> None:
    frame = frames()["train"]
    prints = {
        fingerprint(frame),
        fingerprint(frame.assign(label=1)),
        fingerprint(frame.assign(text="x")),
        fingerprint(frame.iloc[::-1]),
        fingerprint(frame.assign(group="a")),
    }
    assert len(prints) == 5
    assert fingerprint(frame.copy()) == fingerprint(frame)
