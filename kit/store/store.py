"""Artifacts on disk: atomic, locked, content-addressed; built things are in `kit.store.built`.

Under the store: `artifacts/RUN_ID/` (columns.npz, info.json), `partial/RUN_ID/` (finished parts of
a run that goes on), `failures/RUN_ID.json`, `built/HASH/`, `memo/KEY.json` (what took seconds to
find out, a cache), `locks/`, `damaged/RUN_ID/` (artifacts that could not be read), `tmp/` (what is
being written). The folders are the only index there is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.checking import SpecError, StoreError
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


def temporaries() -> Path:
    """Returns the folder of what is being written."""
    return _place() / "tmp"


def told(*, ours: bool = True) -> contextlib.AbstractContextManager[None]:
    """Raises what the disk refuses inside the block as a `StoreError`, with what helps."""
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
        with told():
            disk.write_file(path, data, temporaries())
        return
    with disk.told(path.parent, "folder", "Free some space, or make it writable"):
        disk.sweep(path.parent)
        disk.write_file(path, data, path.parent)


def sweep() -> None:
    """Removes what processes that were killed left: unfinished files, and what outlived its run."""
    root = store_root()
    disk.sweep(temporaries())
    with contextlib.suppress(OSError):  # where nothing can be removed, nothing needs to be
        for left in [*(root / "partial").glob("*"), *(root / "failures").glob("*.json")]:
            if has(left.stem):
                disk.discard(left, temporaries())


def _artifact_folder(run_id: str) -> Path:
    return store_root() / "artifacts" / run_id


def save(artifact: Artifact, *, over: bool = True) -> None:
    """Writes an artifact and forgets a failure of the run.

    Args:
        artifact: what the run gave.
        over: whether an older one of the same run is replaced; else that stays, which another
            process may have saved, and be reading, meanwhile.

    Raises:
        StoreError: the disk is full, read-only or not ours.
    """
    with told():
        write = partial(artifacts.write, artifact)
        stays = partial(_stays, artifact.run_id, over)
        disk.write_folder(_artifact_folder(artifact.run_id), write, temporaries(), stays)
        _forget(artifact.run_id, "failures", "partial")


def _stays(run_id: str, over: bool) -> bool:
    return not over and has(run_id)


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
    with told(), contextlib.suppress(FileNotFoundError):  # another process did it meanwhile
        disk.discard(root / "damaged" / run_id, temporaries())
        (root / "damaged").mkdir(exist_ok=True)
        _artifact_folder(run_id).replace(root / "damaged" / run_id)
    save_failure(run_id, reason, "", undefined=False)


def delete(run_id: str) -> None:
    """Forgets a run, so that it is done again."""
    with told():
        _forget(run_id, "artifacts", "partial", "failures")


def _forget(run_id: str, *kinds: str) -> None:
    for kind in kinds:
        name = f"{run_id}.json" if kind == "failures" else run_id
        disk.discard(store_root() / kind / name, temporaries())


def _failure_path(run_id: str) -> Path:
    return store_root() / "failures" / f"{run_id}.json"


def save_failure(run_id: str, message: str, log: str, *, undefined: bool) -> None:
    """Keeps why a run has no artifact: one sentence and the traceback or log behind it."""
    content = {"message": message, "log": log, "undefined": undefined}
    write_text(_failure_path(run_id), json.dumps(content, indent=1))


def failure(run_id: str) -> dict[str, Any] | None:
    """Returns the kept failure of a run, or None."""
    known = read_json(_failure_path(run_id))
    return known if isinstance(known, dict) and {"message", "undefined"} <= known.keys() else None


def read_json(path: Path) -> Any:
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

    with told():
        disk.write_folder(folder, partial(artifacts.write_columns, columns), temporaries())


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
    if (known := read_json(path)) is not None:
        return known
    value = make()
    with contextlib.suppress(StoreError):  # a store that can only be read still gives its tables
        write_text(path, json.dumps(value))
    return value
