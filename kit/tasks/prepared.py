"""What is known of a task before its data are read, and the data as they lie in the store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.spec import registry
from kit.spec.checking import SpecError, suggest
from kit.spec.ref import Ref
from kit.store import built, store
from kit.tasks.prepare import Prepared, split_names
from kit.tasks.splits import fingerprint, promised, write_splits

FORMAT = 1
"""Of the prepared data on disk; raised when an older one could not be read."""


def modality(ref: Ref | str) -> str:
    """Returns what a task's items are, `text` or `image`, without reading its data.

    Raises:
        SpecError: no such task.
    """
    entry = registry.tasks.get(registry.tasks.canonical(ref).name)
    return "text" if entry.traits.get("image_shape") is None else "image"


def check_split(ref: Ref, name: str) -> str:
    """Returns the name of a split of a task, whose data are not read.

    Raises:
        SpecError: it has no such split.
    """
    names = split_names(registry.tasks.get(ref.name).traits["shifts"])
    if name not in names:
        raise SpecError(suggest(name, names, f"split of task {ref.name}"))
    return name


def splits_of(ref: Ref, part: str | None = None) -> list[str]:
    """Returns the splits that hold items: all, or the `test` or `validation` part of each source.

    A task for finished models may have but a test split.
    """
    sizes = describe(ref)["sizes"]
    parts = {name: name.split("/")[-1] for name in sizes}
    own = {name: p if p in ("train", "validation") else "test" for name, p in parts.items()}
    return [name for name, size in sizes.items() if size and part in (None, own[name])]


def chosen_splits(refs: Sequence[Ref], names: Sequence[str] | None) -> dict[Ref, list[str]]:
    """Returns the splits of each task: those named that it has, or else its test splits.

    Raises:
        SpecError: no task has such a split.
    """
    if names is None:
        return {ref: splits_of(ref, "test") for ref in refs}
    names = [names] if isinstance(names, str) else list(names)
    held = {ref: splits_of(ref) for ref in refs}
    there = list(dict.fromkeys(itertools.chain(*held.values())))
    for name in names:
        if name not in there:
            raise SpecError(suggest(name, there, "split"))
    return {ref: [name for name in names if name in held[ref]] for ref in refs}


def describe(ref: Ref | str) -> dict[str, Any]:
    """Returns what a study needs to know of a task without reading its data.

    Returns:
        `fingerprints` (split -> hash of all its rows in their order), `sizes` (split -> rows) and
        `dropped` (source -> reason -> how many texts did not get in).

    Raises:
        SpecError: as `load`.
    """
    return read_card(folder_of(registry.tasks.canonical(ref)))


def folder_of(ref: Ref) -> Path:
    """Returns the folder of a task's prepared data, which is made where it is not there."""
    entry = registry.tasks.get(ref.name)
    spec = {"task": ref, "version": entry.version, "format": FORMAT}
    return built.once(spec, lambda folder: _write(folder, ref, entry))


def read_card(folder: Path) -> dict[str, Any]:
    """Returns what is known of prepared data."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def file_name(place: int) -> str:
    """A file's name comes from its place: names of splits are the user's and never become paths."""
    return f"split-{place:02}.parquet"


def _write(folder: Path, ref: Ref, entry: registry.Entry) -> None:
    """Calls a task's function, checks what it returns and writes a file a split and the card."""
    given = entry.function(**ref.args)
    prepared = given if isinstance(given, Prepared) else Prepared(given, {})
    frames = promised(ref.name, prepared.splits, entry.traits)
    write_splits([folder / file_name(place) for place in range(len(frames))], frames)
    card = {
        "fingerprints": {name: fingerprint(frame) for name, frame in frames.items()},
        "sizes": {name: len(frame) for name, frame in frames.items()},
        "dropped": {name: dict(counts) for name, counts in prepared.dropped.items()},
    }
    store.write_text(folder / "card.json", json.dumps(card, indent=1))
