"""What is made once and kept by what it was made from: weights, exported graphs, prepared data."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.spec.checking import SpecError
from kit.spec.ref import content_hash, to_json
from kit.store import disk, store
from kit.store.locks import locked

CHANGED = "the model's folder changed while it was being used; nothing of it is kept, run it again"


def path(spec: Any) -> Path:
    """Returns where the thing made from `spec` is or would be kept."""
    return store.store_root() / "built" / content_hash(spec)


def once(spec: Any, make: Callable[[Path], None]) -> Path:
    """Returns the folder of a built thing (weights, an exported graph, prepared data).

    The folder appears whole or not at all. Two processes that ask at once share one making. A maker
    that keeps a `checkpoint` in its folder finds it again, and nothing else, after it was
    interrupted or killed.

    Args:
        spec: everything the thing depends on, versions of the code that makes it included.
        make: writes into the folder it is given.

    Raises:
        StoreError: the disk is full, read-only or not ours.
        SpecError: the files that the spec locates changed meanwhile.
    """
    target = path(spec)
    if target.exists():
        return target
    lock = store.store_root() / "locks" / f"{target.name}.lock"
    with locked(lock, f"building {target.name}"):
        if target.exists():
            return target
        unfinished = target.with_suffix(".partial")
        try:
            with store.told(ours=False):
                unfinished.mkdir(parents=True, exist_ok=True)
                _keep_checkpoint(unfinished)
                start = time.perf_counter()
                make(unfinished)
                if path(spec) != target:
                    raise SpecError(CHANGED)
                store.write_text(unfinished / "seconds", f"{time.perf_counter() - start:.3f}\n")
                store.write_text(unfinished / "spec.json", json.dumps(to_json(spec), indent=1))
                disk.discard(unfinished / "checkpoint", store.temporaries())
                unfinished.replace(target)
        except BaseException:
            _keep_checkpoint(unfinished)
            with contextlib.suppress(OSError):
                unfinished.rmdir()  # unless a checkpoint is in it
            raise
    return target


def seconds(folder: Path) -> float | None:
    """Returns how long the making of a built thing took, since it was last interrupted."""
    known: float | None = store.read_json(folder / "seconds")
    return known


def _keep_checkpoint(folder: Path) -> None:
    """Removes what an interrupted making left beside its checkpoint."""
    for left in folder.glob("*"):
        if left.name != "checkpoint":
            disk.remove(left)
