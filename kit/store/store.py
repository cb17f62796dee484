"""Artifacts and built things on disk: atomic, locked, content-addressed.

Under the store: `artifacts/RUN_ID/` (columns.npz, info.json), `partial/RUN_ID/` (finished parts of
a run that goes on), `failures/RUN_ID.json`, `built/HASH/`, `memo/KEY.json` (what took seconds to
find out, a cache), `locks/`, `damaged/RUN_ID/` (artifacts that could not be read), `tmp/` (what is
being written). The folders are the only index there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.checking import SpecError, StoreError
from kit.spec.ref import content_hash, to_json
from kit.store import artifacts, disk
from kit.store.artifacts import Artifact, Damaged
from kit.store.locks import locked, timing_lock

if TYPE_CHECKING:
    from kit.spec.spec import Run

__all__ = ["Artifact", "Damaged", "StoreError", "locked", "timing_lock"]  # with what is here

LAYOUT = 2
"""Of the store; raised when what an older kit kept would not be found again."""


def store_root() -> Path:
    """Returns the store: `KIT_STORE`, else `runs/` under the nearest folder with `notebooks/`.

    Raises:
        SpecError: the store has another layout.
        StoreError: it cannot be made.
    """
    root = _place()
    mark = root / "schema"
    try:
        found = mark.read_text(encoding="utf-8").strip()
    except OSError:
        write_text(mark, f"{LAYOUT}\n")
        return root
    if found != str(LAYOUT):
        raise SpecError(
            f"the store {root} has layout {found}, this kit has {LAYOUT} and changed nothing in "
            "it; move it away, or set KIT_STORE to another folder, and run again"
        )
    return root


def _place() -> Path:
    given = os.environ.get("KIT_STORE")
    return Path(given).expanduser() if given else project_root() / "runs"


def project_root() -> Path:
    """Returns the nearest folder upwards that holds `notebooks/`, else the working directory."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "notebooks").is_dir()), here)


def _temporaries() -> Path:
    return _place() / "tmp"


def _told(*, ours: bool = True) -> contextlib.AbstractContextManager[None]:
    remedy = "Free some space, or set KIT_STORE to a folder that can be written"
    return disk.told(_place(), "store", remedy, ours=ours)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    Raises:
        StoreError: the disk is full, read-only or not ours.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file as `write_text` does, in the store or elsewhere."""
    if path.is_relative_to(_place()):
        with _told():
            disk.write_file(path, data, _temporaries())
        return
    with disk.told(path.parent, "folder", "Free some space, or make it writable"):
        disk.sweep(path.parent)
        disk.write_file(path, data, path.parent)


def sweep() -> None:
    """Removes what processes that were killed left: unfinished files, and what outlived its run."""
    root = store_root()
    disk.sweep(_temporaries())
    with contextlib.suppress(OSError):  # where nothing can be removed, nothing needs to be
        for left in [*(root / "partial").glob("*"), *(root / "failures").glob("*.json")]:
            if has(left.stem):
                disk.discard(left, _temporaries())


def _artifact_folder(run_id: str) -> Path:
    return store_root() / "artifacts" / run_id


def save(artifact: Artifact) -> None:
    """Writes an artifact; an older one of the same run is replaced, a failure forgotten.

    Raises:
        StoreError: the disk is full, read-only or not ours.
    """
    with _told():
        write = partial(artifacts.write, artifact)
        disk.write_folder(_artifact_folder(artifact.run_id), write, _temporaries())
        _forget(artifact.run_id, "failures", "partial")


def has(run_id: str) -> bool:
    """Says whether a run's artifact is there."""
    return (_artifact_folder(run_id) / "info.json").exists()


def load(run: Run, run_id: str) -> Artifact:
    """Reads the artifact of a run.

    Raises:
        FileNotFoundError: the run is not done.
        Damaged: it is, but its files were cut off or changed; see `set_aside`.
    """
    return artifacts.read(_artifact_folder(run_id), run, run_id)


def read_info(run_id: str) -> dict[str, Any]:
    """Reads what is known of a run beside its columns; empty when it is not done.

    Raises:
        Damaged: as `load`.
    """
    try:
        info: dict[str, Any] = artifacts.about(_artifact_folder(run_id))["info"]
    except FileNotFoundError:
        return {}
    return info


def set_aside(run_id: str, reason: str) -> None:
    """Moves a damaged artifact to `damaged/`, so that the run counts as failed and is done again.

    Args:
        run_id: of the run.
        reason: a sentence, kept as the run's failure.
    """
    root = store_root()
    with _told(), contextlib.suppress(FileNotFoundError):  # another process did it meanwhile
        disk.discard(root / "damaged" / run_id, _temporaries())
        (root / "damaged").mkdir(exist_ok=True)
        _artifact_folder(run_id).replace(root / "damaged" / run_id)
    save_failure(run_id, reason, "", undefined=False)


def delete(run_id: str) -> None:
    """Forgets a run, so that it is done again."""
    with _told():
        _forget(run_id, "artifacts", "partial", "failures")


def _forget(run_id: str, *kinds: str) -> None:
    for kind in kinds:
        name = f"{run_id}.json" if kind == "failures" else run_id
        disk.discard(store_root() / kind / name, _temporaries())


def _failure_path(run_id: str) -> Path:
    return store_root() / "failures" / f"{run_id}.json"


def save_failure(run_id: str, message: str, log: str, *, undefined: bool) -> None:
    """Keeps why a run has no artifact: one sentence and the traceback or log behind it."""
    content = {"message": message, "log": log, "undefined": undefined}
    write_text(_failure_path(run_id), json.dumps(content, indent=1))


def failure(run_id: str) -> dict[str, Any] | None:
    """Returns the kept failure of a run, or None."""
    known = _read_json(_failure_path(run_id))
    return known if isinstance(known, dict) and {"message", "undefined"} <= known.keys() else None


def _read_json(path: Path) -> Any:
    """Returns a file's content; None where it is not there or damaged: it is then made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def save_part(run_id: str, name: str, columns: Mapping[str, np.ndarray]) -> None:
    """Keeps a finished part (a launch) of a run that is not complete.

    Raises:
        StoreError: the disk is full, read-only or not ours.
    """
    folder = store_root() / "partial" / run_id / name

    with _told():
        disk.write_folder(folder, partial(artifacts.write_columns, columns), _temporaries())


def parts(run_id: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the finished parts of a run by name; a damaged one is left out, to be done again."""
    found = {}
    for path in sorted((store_root() / "partial" / run_id).glob("*/columns.npz")):
        with contextlib.suppress(artifacts.Damaged):
            found[path.parent.name] = artifacts.read_columns(path.parent)
    return found


def memo(key: str, make: Callable[[], Any]) -> Any:
    """Returns the JSON value kept under a key of content, or makes and keeps it."""
    path = store_root() / "memo" / f"{key}.json"
    if (known := _read_json(path)) is not None:
        return known
    value = make()
    with contextlib.suppress(StoreError):  # a store that can only be read still gives its tables
        write_text(path, json.dumps(value))
    return value


CHANGED = "the model's folder changed while it was being used; nothing of it is kept, run it again"


def built_path(spec: Any) -> Path:
    """Returns where the thing made from `spec` is or would be kept."""
    return store_root() / "built" / content_hash(spec)


def built(spec: Any, make: Callable[[Path], None]) -> Path:
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
    target = built_path(spec)
    if target.exists():
        return target
    lock = store_root() / "locks" / f"{target.name}.lock"
    with locked(lock, f"building {target.name}"):
        if target.exists():
            return target
        unfinished = target.with_suffix(".partial")
        try:
            with _told(ours=False):
                unfinished.mkdir(parents=True, exist_ok=True)
                _keep_checkpoint(unfinished)
                start = time.perf_counter()
                make(unfinished)
                if built_path(spec) != target:
                    raise SpecError(CHANGED)
                write_text(unfinished / "seconds", f"{time.perf_counter() - start:.3f}\n")
                write_text(unfinished / "spec.json", json.dumps(to_json(spec), indent=1))
                disk.discard(unfinished / "checkpoint", _temporaries())
                unfinished.replace(target)
        except BaseException:
            _keep_checkpoint(unfinished)
            with contextlib.suppress(OSError):
                unfinished.rmdir()  # unless a checkpoint is in it
            raise
    return target


def seconds(folder: Path) -> float | None:
    """Returns how long the making of a built thing took, since it was last interrupted."""
    known: float | None = _read_json(folder / "seconds")
    return known


def _keep_checkpoint(folder: Path) -> None:
    """Removes what an interrupted making left beside its checkpoint."""
    for left in folder.glob("*"):
        if left.name != "checkpoint":
            disk.remove(left)
