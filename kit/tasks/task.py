"""A task: named data in splits, prepared once, kept in the store and read from there."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import registry, store
from kit.spec import Ref, SpecError
from kit.tasks.prepare import Prepared, content_id, pixels, split_names
from kit.values import shown, whole

if TYPE_CHECKING:
    import datasets
    import pandas as pd

FORMAT = 1
"""Of the prepared data on disk; raised when an older one could not be read."""


@dataclass(frozen=True)
class Task:
    """Named data, ready to be used.

    Attributes:
        ref: what it was loaded by.
        kind: `classification` or `language`.
        labels: class names in the order of the labels' numbers; empty for language.
        shifts: name of each shifted split and whether it is `near` or `far`.
        rule: how near and far were told apart.
        groups: columns whose slices are reported.
        data: split name -> rows sorted by content hash. Columns: `id` (16 hexadecimal digits of the
            normalised text's hash, or of the pixels'), `text` or `pixels` (c * h * w whole numbers
            of 0..255, row by row), `cluster`, and where they apply `label` (a number), `valence`
            and the group columns. Splits: `train`, `validation`, `test`, and for each shift
            `<shift>` (its test part) and `<shift>/validation`.
        image_shape: c, h, w of a task of images; None where items are texts.
    """

    ref: Ref
    kind: str
    labels: tuple[str, ...]
    shifts: Mapping[str, str]
    rule: str
    groups: tuple[str, ...]
    data: datasets.DatasetDict
    image_shape: tuple[int, ...] | None = None

    @property
    def modality(self) -> str:
        """What its items are: `text` or `image`."""
        return "text" if self.image_shape is None else "image"

    def examples(self, rows: datasets.Dataset) -> list[Any]:
        """Returns the raw examples of some rows, as runners read them and figures show them.

        Texts; or images, uint8 [h, w] of 0..255 ([c, h, w] where there are several channels).
        """
        if self.image_shape is None:
            return list(rows["text"])
        values = np.stack(rows.with_format("numpy")[:]["pixels"])
        shape = self.image_shape[1:] if self.image_shape[0] == 1 else self.image_shape
        return list(values.astype(np.uint8).reshape(-1, *shape))

    def split(self, name: str, limit: int | None = None) -> datasets.Dataset:
        """Returns one split, or its first `limit` items by content hash.

        Raises:
            SpecError: no such split, or a limit below 1.
        """
        if name not in self.data:
            raise SpecError(registry.suggest(name, self.data, f"split of task {self.ref.name}"))
        if limit is None:
            return self.data[name]
        whole(limit, f"limit={shown(limit)} for {self.ref.name}/{name}", 1)
        rows = self.data[name]
        return rows.select(range(min(limit, len(rows))))


_loaded: dict[Path, Task] = {}


def load(ref: Ref | str) -> Task:
    """Returns a task, preparing it on the first call.

    Raises:
        SpecError: no such task, or one whose function returned data that do not fit its promises.
    """
    import datasets

    ref = registry.tasks.canonical(ref)
    folder = _prepared(ref)
    if folder not in _loaded:
        traits = registry.tasks.get(ref.name).traits
        splits = _read_card(folder)["sizes"]
        data = {name: _read_split(folder / _file_name(place)) for place, name in enumerate(splits)}
        _loaded[folder] = Task(
            ref,
            traits["kind"],
            tuple(traits["labels"]),
            dict(traits["shifts"]),
            traits["rule"],
            tuple(traits["groups"]),
            datasets.DatasetDict(data),
            traits.get("image_shape"),
        )
    return _loaded[folder]


def modality(ref: Ref | str) -> str:
    """Returns what a task's items are, `text` or `image`, without reading its data.

    Raises:
        SpecError: no such task.
    """
    entry = registry.tasks.get(registry.tasks.canonical(ref).name)
    return "text" if entry.traits.get("image_shape") is None else "image"


def describe(ref: Ref | str) -> dict[str, Any]:
    """Returns what a study needs to know of a task without reading its data.

    Returns:
        `fingerprints` (split -> hash of all its rows in their order), `sizes` (split -> rows) and
        `dropped` (source -> reason -> how many texts did not get in).

    Raises:
        SpecError: as `load`.
    """
    return _read_card(_prepared(registry.tasks.canonical(ref)))


def _prepared(ref: Ref) -> Path:
    """Returns the folder of a task's prepared data, which is made where it is not there."""
    entry = registry.tasks.get(ref.name)
    spec = {"task": ref, "version": entry.version, "format": FORMAT}
    return store.built(spec, lambda folder: _write(folder, ref, entry))


def _read_card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def _file_name(place: int) -> str:
    """A file's name comes from its place: names of splits are the user's and never become paths."""
    return f"split-{place:02}.parquet"


def _read_split(path: Path) -> datasets.Dataset:
    """Reads one split into memory; `Dataset.from_parquet` would copy it to a second cache."""
    import datasets
    import pyarrow.parquet
    from datasets.table import InMemoryTable

    return datasets.Dataset(InMemoryTable(pyarrow.parquet.read_table(path)))


def _write(folder: Path, ref: Ref, entry: registry.Entry) -> None:
    """Calls a task's function, checks what it returns and writes a file a split and the card."""
    given = entry.function(**ref.args)
    prepared = given if isinstance(given, Prepared) else Prepared(given, {})
    if not isinstance(prepared.splits, Mapping):
        raise SpecError(
            f"task {ref.name} returned a {type(given).__name__}; "
            "expected a DatasetDict or a mapping of split names to frames"
        )
    expected = split_names(entry.traits["shifts"])
    for name in [*expected, *prepared.splits]:
        if name not in prepared.splits:
            raise SpecError(f"task {ref.name} returned no split {name!r}; it has {expected}")
        if name not in expected:
            raise SpecError(registry.suggest(name, expected, f"split from task {ref.name}"))
    frames = {name: finished(prepared.splits[name]) for name in expected}
    check(ref.name, frames, entry.traits)
    for place, frame in enumerate(frames.values()):
        frame.to_parquet(folder / _file_name(place), index=False)
    card = {
        "fingerprints": {name: fingerprint(frame) for name, frame in frames.items()},
        "sizes": {name: len(frame) for name, frame in frames.items()},
        "dropped": {name: dict(counts) for name, counts in prepared.dropped.items()},
    }
    store.write_text(folder / "card.json", json.dumps(card, indent=1))


def finished(rows: pd.DataFrame | datasets.Dataset) -> pd.DataFrame:
    """Returns rows with id and cluster filled in where they were not given, sorted by id."""
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
    for place, column in enumerate(frame.columns):
        if not isinstance(column, str) or column in frame.columns[:place]:
            raise SpecError(f"column {shown(column)} of a split: expected text, and each once")
    if "pixels" in frame:
        frame = frame.assign(pixels=frame["pixels"].map(pixels))
    content = "pixels" if "pixels" in frame else "text"
    if content in frame and "id" not in frame:
        frame = frame.assign(id=[content_id(example) for example in frame[content]])
    if "id" in frame and "cluster" not in frame:
        frame = frame.assign(cluster=frame["id"])
    first = [name for name in ("id", content, "cluster", "label") if name in frame]
    frame = frame[first + sorted(str(name) for name in frame if name not in first)]
    return frame.sort_values("id", kind="stable", ignore_index=True) if "id" in frame else frame


def check(name: str, frames: Mapping[str, pd.DataFrame], traits: Mapping[str, Any]) -> None:
    """Checks that splits are what a task of this kind promises.

    Args:
        name: the task's, for messages.
        frames: split name -> rows.
        traits: `kind`, `labels`, `groups` and, of images, `image_shape` as registered.

    Raises:
        SpecError: a missing column, an empty or one-class split, a label out of range, an image of
            another size, or an item that is in two splits.
    """
    classification = traits["kind"] == "classification"
    shape = traits.get("image_shape")
    content = "text" if shape is None else "pixels"
    columns = ["id", content, "cluster", *(["label"] if classification else []), *traits["groups"]]
    seen: dict[str, str] = {}
    for split, frame in frames.items():
        where = f"task {name}, split {split!r}"
        missing = [column for column in columns if column not in frame]
        if missing:
            raise SpecError(f"{where}: {registry.suggest(missing[0], map(str, frame), 'column')}")
        if frame.empty:
            sizes = ", ".join(f"{key} {len(rows)}" for key, rows in frames.items())
            raise SpecError(
                f"{where} is empty; rows in each: {sizes}. It needs more texts, "
                "other than the other splits' (duplicates were left out)"
            )
    for split, frame in frames.items():
        where = f"task {name}, split {split!r}"
        if classification:
            _check_labels(where, split, frame["label"], traits["labels"])
        if shape is not None:
            wrong = set(map(len, frame["pixels"])) - {math.prod(shape)}
            if wrong:
                size = f"{math.prod(shape)} for image_shape={shape}"
                raise SpecError(f"{where}: an image has {min(wrong)} pixels; expected {size}")
        for item in frame["id"]:
            if item in seen:
                raise SpecError(f"{where}: item {item} is also in {seen[item]!r}, or twice in it")
            seen[item] = split


def _check_labels(where: str, split: str, given: pd.Series[int], labels: tuple[str, ...]) -> None:
    present = set(given.tolist())
    wrong = sorted(present - set(range(len(labels))), key=str)
    names = dict(enumerate(labels))
    if wrong:
        raise SpecError(f"{where}: label {shown(wrong[0])} is none of {shown(names)}")
    needed = set(names) if split == "train" else set()
    if needed - present:
        absent = [names[place] for place in sorted(needed - present)]
        raise SpecError(
            f"{where} has no item of {shown(absent)}: every class needs some to learn from"
        )
    if split in ("validation", "test") and len(present) < 2:
        only = names[next(iter(present))]
        raise SpecError(f"{where} holds the one class {shown(only)}; it needs two, or more texts")


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
