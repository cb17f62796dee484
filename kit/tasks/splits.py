"""The splits of a task: completed, checked for what they promise, hashed, written and read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.checking import SpecError, shown, suggest, unboxed
from kit.spec.kinds import TASKS
from kit.tasks.content import content_id, examples_in, lone_clusters
from kit.tasks.prepare import pixels, split_names

if TYPE_CHECKING:
    import datasets
    import pandas as pd


def finished(rows: pd.DataFrame | datasets.Dataset) -> pd.DataFrame:
    """Returns rows with id and cluster filled in where they were not given, sorted by id."""
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
    for place, column in enumerate(frame.columns):
        if not isinstance(column, str) or column in frame.columns[:place]:
            raise SpecError(f"column {shown(column)} of a split: expected text, and each once")
    if "pixels" in frame:
        frame = frame.assign(pixels=frame["pixels"].map(pixels))
    if "id" not in frame and ("pixels" in frame or "text" in frame):
        frame = frame.assign(id=[content_id(example) for example in examples_in(frame)])
    if "id" in frame and "cluster" not in frame:
        frame = frame.assign(cluster=lone_clusters(frame))
    content = ("pixels",) if "pixels" in frame else ("text", "text_pair", "choices")
    first = [name for name in ("id", *content, "cluster", "label") if name in frame]
    frame = frame[first + sorted(str(name) for name in frame if name not in first)]
    return frame.sort_values("id", kind="stable", ignore_index=True) if "id" in frame else frame


def may_be_empty(split: str) -> bool:
    """Says whether a split may hold nothing: what is tested on may not, what is learned from may.

    A finished model learns nothing from a task.
    """
    return split == "train" or split.rsplit("/", maxsplit=1)[-1] == "validation"


def promised(name: str, given: Any, traits: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Returns the splits that a task's function gave, completed, in their order.

    Raises:
        SpecError: another thing than its splits, or data that do not fit its promises.
    """
    if not isinstance(given, Mapping):
        raise SpecError(
            f"task {name} returned a {type(given).__name__}; "
            "expected a DatasetDict or a mapping of split names to frames"
        )
    expected = split_names(traits["shifts"])
    for split in [*expected, *given]:
        if split not in given:
            raise SpecError(f"task {name} returned no split {split!r}; it has {expected}")
        if split not in expected:
            raise SpecError(suggest(split, expected, f"split from task {name}"))
    frames = {split: finished(given[split]) for split in expected}
    check(name, frames, traits)
    return frames


def check(name: str, frames: Mapping[str, pd.DataFrame], traits: Mapping[str, Any]) -> None:
    """Checks that splits are what a task of this kind promises.

    Args:
        name: the task's, for messages.
        frames: split name -> rows.
        traits: `kind`, `labels`, `groups` and, of images, `image_shape` as registered.

    Raises:
        SpecError: a missing column, no item to test on, a label that is none of this kind, an image
            of another size, or an item that is in two splits.
    """
    shape = traits.get("image_shape")
    content = ["text" if shape is None else "pixels"]
    content += ["text_pair"] if any("text_pair" in frame for frame in frames.values()) else []
    content += TASKS[traits["kind"]].content
    label = [] if TASKS[traits["kind"]].label is None else ["label"]
    columns = ["id", *content, "cluster", *label, *traits["groups"]]
    if len(set(traits["labels"])) < len(traits["labels"]):
        raise SpecError(f"task {name}: two of its labels are one: {shown(traits['labels'])}")
    seen: dict[str, str] = {}
    for split, frame in frames.items():
        where = f"task {name}, split {split!r}"
        if frame.empty and not may_be_empty(split):
            sizes = ", ".join(f"{key} {len(rows)}" for key, rows in frames.items())
            raise SpecError(
                f"{where} is empty; rows in each: {sizes}. It needs more texts, "
                "other than the other splits' (duplicates were left out), in more clusters"
            )
        missing = [column for column in columns if column not in frame and not frame.empty]
        if missing:
            raise SpecError(f"{where}: {suggest(missing[0], map(str, frame), 'column')}")
    for split, frame in frames.items():
        where = f"task {name}, split {split!r}"
        if frame.empty:
            continue
        _check_labels(where, frame, traits)
        if shape is not None:
            wrong = set(map(len, frame["pixels"])) - {math.prod(shape)}
            if wrong:
                size = f"{math.prod(shape)} for image_shape={shape}"
                raise SpecError(f"{where}: an image has {min(wrong)} pixels; expected {size}")
        for item in frame["id"]:
            if item in seen:
                raise SpecError(f"{where}: item {item} is also in {seen[item]!r}, or twice in it")
            seen[item] = split


def _check_labels(where: str, frame: pd.DataFrame, traits: Mapping[str, Any]) -> None:
    if traits["kind"] == "choices":
        for offer, right in zip(frame["choices"], frame["label"], strict=True):
            check_choices(where, list(offer), list(right))
    elif traits["kind"] == "generation":
        for answers in frame["label"]:
            if not len(answers) or not all(isinstance(a, str) and a.strip() for a in answers):
                raise SpecError(
                    f"{where}: {shown(list(answers))} for the right answers; expected texts, at "
                    "least one and none of them empty"
                )
    elif TASKS[traits["kind"]].label is not None:
        for value in frame["label"].tolist():
            _check_label(where, traits["kind"], value, traits["labels"])


def check_choices(where: str, offer: Sequence[Any], right: Sequence[Any]) -> None:
    """Checks the answers on offer and the places of those that count as right.

    Raises:
        SpecError: fewer than two answers, an empty one or one twice, none that is right, or a place
            beyond them.
    """
    texts = [each.strip() if isinstance(each, str) else "" for each in offer]
    if len(texts) < 2 or "" in texts or len(set(texts)) < len(texts):
        raise SpecError(
            f"{where}: the choices {shown(list(offer))}; expected two or more texts, each once and "
            "none of them empty"
        )
    if not right or any(place not in range(len(texts)) for place in right):
        raise SpecError(
            f"{where}: {shown(list(right))} for the right ones of {len(texts)} choices; expected "
            f"places from 0 to {len(texts) - 1}"
        )


def _check_label(where: str, kind: str, value: Any, labels: tuple[str, ...]) -> None:
    value = unboxed(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "regression":
        if not number or not math.isfinite(value):
            raise SpecError(f"{where}: label {shown(value)}; expected a number for a regression")
    elif kind == "multi_label":
        given = np.asarray(value).tolist()
        marks = given if isinstance(given, list) else [given]
        if len(marks) != len(labels) or not all(mark in (0, 1) for mark in marks):
            raise SpecError(
                f"{where}: label {shown(given)}; expected a 0 or 1 for each of {shown(labels)}"
            )
    elif not number or value not in range(len(labels)):
        known = shown(dict(enumerate(labels)))
        raise SpecError(f"{where}: label {shown(value)} is none of {known}")


def fingerprint(frame: pd.DataFrame) -> str:
    """Returns 16 hexadecimal digits over all columns of all rows in their order."""
    digest = hashlib.sha256(json.dumps(list(frame)).encode())
    for column in frame:
        values = json.dumps(frame[column].tolist(), ensure_ascii=True, default=_plain)
        digest.update(values.encode())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Returns an array as a list: its text would leave numbers out."""
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def write_splits(paths: Sequence[Path], frames: Mapping[str, pd.DataFrame]) -> None:
    """Writes each split to its file."""
    import pyarrow

    schema = pyarrow.Schema.from_pandas(frames["test"], preserve_index=False)
    for path, frame in zip(paths, frames.values(), strict=True):
        if frame.empty:  # it has no types of its own
            empty = frame.reindex(columns=schema.names).astype(object)
            empty.to_parquet(path, index=False, schema=schema)
        else:
            frame.to_parquet(path, index=False)


def read_split(path: Path, labels: tuple[str, ...]) -> datasets.Dataset:
    """Reads one split into memory; `Dataset.from_parquet` would copy it to a second cache.

    What learns from it can ask its features how many classes there are, seen or not.
    """
    import datasets
    import pyarrow.parquet
    from datasets.table import InMemoryTable

    table = pyarrow.parquet.read_table(path)
    features = datasets.Features.from_arrow_schema(table.schema)
    if labels:
        features["label"] = datasets.ClassLabel(names=list(labels))
        table = table.cast(features.arrow_schema)
    return datasets.Dataset(InMemoryTable(table), info=datasets.DatasetInfo(features=features))
