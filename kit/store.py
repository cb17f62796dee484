"""Artifacts and built things on disk: atomic, locked, content-addressed.

Under the store: `artifacts/RUN_ID/` (columns.npz, info.json), `partial/RUN_ID/` (finished parts of
a run that goes on), `failures/RUN_ID.json`, `built/HASH/`, `rows/KEY.json` (numbers computed from
artifacts, a cache), `locks/`, `damaged/RUN_ID/` (artifacts that could not be read), `tmp/` (what is
being written). The folders are the only index there is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kit import disk
from kit.disk import StoreError
from kit.spec import Run, SpecError, content_hash, to_json

__all__ = ["Artifact", "Damaged", "StoreError"]

SCHEMA = 1
"""Of the store's layout; raised when a newer kit could not read an older store."""


class Damaged(ValueError):
    """A run's artifact cannot be read: its files were cut off or changed by hand."""


@dataclass(frozen=True)
class Artifact:
    """What one run saved: raw columns of equal length, from which every number is computed.

    Attributes:
        run: what was run.
        run_id: hash of the run's content, its data's fingerprint and the code's versions.
        kind: `classification`, `tokens`, `timing`, `memory` or `cost`; fixes the columns.
        columns: arrays whose first dimension is the item, call or quantity.
        info: what else is known: seconds taken, machine, notes, protocol.
    """

    run: Run
    run_id: str
    kind: str
    columns: Mapping[str, np.ndarray]
    info: Mapping[str, Any] = field(default_factory=dict)


def store_root() -> Path:
    """Returns the store: `KIT_STORE`, else `runs/` under the nearest folder with `notebooks/`.

    Raises:
        SpecError: the store was written with another layout.
        StoreError: it cannot be made.
    """
    root = _place()
    mark = root / "schema"
    with _told():
        if not mark.exists():
            write_text(mark, f"{SCHEMA}\n")
    found = _read_mark(mark, mark.stat().st_mtime_ns)
    if found != str(SCHEMA):
        raise SpecError(
            f"the store {root} has schema {found}, this kit reads {SCHEMA}; "
            "set KIT_STORE to another folder or use the kit that wrote it"
        )
    return root


def _place() -> Path:
    given = os.environ.get("KIT_STORE")
    return Path(given) if given else project_root() / "runs"


@functools.lru_cache
def _read_mark(mark: Path, changed: int) -> str:
    """Reads the store's schema, once while unchanged: every look into the store asks."""
    del changed
    return mark.read_text(encoding="utf-8").strip()


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


def _write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of one artifact differ in length: {lengths}")
    objects = [name for name, values in columns.items() if values.dtype == object]
    if objects:
        raise ValueError(f"columns {objects} hold Python objects; use numbers or text arrays")
    np.savez_compressed(path, **columns)  # type: ignore[arg-type]


_UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading an archive raises that was cut off, or made by somebody else."""


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    """Reads what `_write_columns` wrote. `np.load` would offer to unpickle what is no archive."""
    columns = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            columns[name.removesuffix(".npy")] = array
    return columns


def save(artifact: Artifact) -> None:
    """Writes an artifact; an older one of the same run is replaced, a failure forgotten.

    Raises:
        StoreError: the disk is full, read-only or not ours.
    """
    about = {
        "kind": artifact.kind,
        "columns": sorted(artifact.columns),
        "run": to_json(artifact.run),
        "info": dict(artifact.info),
    }

    def write(folder: Path) -> None:
        _write_columns(folder / "columns.npz", artifact.columns)
        (folder / "info.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    with _told():
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
    about, path = _about(run_id), _artifact_folder(run_id) / "columns.npz"
    try:
        columns = _read_columns(path)
    except FileNotFoundError:
        raise _damaged(run_id, "columns.npz is missing") from None
    except _UNREADABLE as error:
        raise _damaged(run_id, f"columns.npz cannot be read ({error})") from error
    lost = [name for name in about.get("columns", ()) if name not in columns]
    if lost:
        raise _damaged(run_id, f"columns.npz has no column {lost[0]!r}")
    return Artifact(run, run_id, about["kind"], columns, about["info"])


def read_info(run_id: str) -> dict[str, Any]:
    """Reads what is known of a run beside its columns; empty when it is not done.

    Raises:
        Damaged: as `load`.
    """
    try:
        info: dict[str, Any] = _about(run_id)["info"]
    except FileNotFoundError:
        return {}
    return info


def _about(run_id: str) -> dict[str, Any]:
    try:
        about = json.loads((_artifact_folder(run_id) / "info.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(run_id, f"info.json is no JSON ({error})") from error
    if not isinstance(about, dict) or not isinstance(about.get("info"), dict):
        raise _damaged(run_id, "info.json does not say what the run was")
    if not isinstance(about.get("kind"), str):
        raise _damaged(run_id, "info.json does not say of what kind it is")
    return about


def _damaged(run_id: str, what: str) -> Damaged:
    return Damaged(f"the kept artifact of run {run_id} is damaged: {what}; run it again")


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

    def write(temporary: Path) -> None:
        _write_columns(temporary / "columns.npz", columns)

    with _told():
        disk.write_folder(folder, write, _temporaries())


def parts(run_id: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the finished parts of a run by name; a damaged one is left out, to be done again."""
    found = {}
    for path in sorted((store_root() / "partial" / run_id).glob("*/columns.npz")):
        with contextlib.suppress(*_UNREADABLE):
            found[path.parent.name] = _read_columns(path)
    return found


def memo(key: str, make: Callable[[], Any]) -> Any:
    """Returns the JSON value kept under a key of content, or makes and keeps it."""
    path = store_root() / "rows" / f"{key}.json"
    if (known := _read_json(path)) is not None:
        return known
    value = make()
    with contextlib.suppress(StoreError):  # a store that can only be read still gives its tables
        write_text(path, json.dumps(value))
    return value


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock between processes; says for whom it waits. A dead holder frees it.

    Raises:
        StoreError: the lock's folder cannot be written.
    """
    from kit.workers import report

    lock = FileLock(path, mode=0o666)
    holder = path.with_suffix(".holder")
    with disk.told(path.parent, "folder", "Free some space, or set KIT_STORE to another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            text = f"waiting for {_holder(holder)}"
            print(text, flush=True)
            report(text)  # a worker's prints go to its log
            lock.acquire()
    try:
        with contextlib.suppress(OSError):  # it is for the eye alone
            since = time.strftime("%H:%M:%S")
            holder.write_text(f"process {os.getpid()} ({what}, since {since})", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "another process"
    except (OSError, ValueError):
        return "another process"


def timing_lock() -> contextlib.AbstractContextManager[None]:
    """Returns the machine-wide lock that keeps other timings of the kit away."""
    return locked(Path(tempfile.gettempdir()) / "kit-timing.lock", "timing")


SECONDS = "seconds"
"""File of a built folder: how long the making took, since it was last interrupted."""


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
                write_text(unfinished / SECONDS, f"{time.perf_counter() - start:.3f}\n")
                disk.discard(unfinished / "checkpoint", _temporaries())
                write_text(unfinished / "spec.json", json.dumps(to_json(spec), indent=1))
                unfinished.replace(target)
        except BaseException:
            _keep_checkpoint(unfinished)
            with contextlib.suppress(OSError):
                unfinished.rmdir()  # unless a checkpoint is in it
            raise
    return target


def _keep_checkpoint(folder: Path) -> None:
    """Removes what an interrupted making left beside its checkpoint."""
    for left in folder.glob("*"):
        if left.name != "checkpoint":
            disk.remove(left)
