"""Artifacts and built things on disk: atomic, locked, content-addressed.

Under the store: `artifacts/RUN_ID/` (columns.npz, info.json), `partial/RUN_ID/` (finished parts of
a run that goes on), `failures/RUN_ID.json`, `built/HASH/`, `rows/KEY.json` (numbers computed from
artifacts, a cache), `locks/`. The folders are the only index there is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kit.spec import Run, SpecError, content_hash, to_json

SCHEMA = 1
"""Of the store's layout; raised when a newer kit could not read an older store."""


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
    """
    given = os.environ.get("KIT_STORE")
    root = Path(given) if given else project_root() / "runs"
    mark = root / "schema"
    if not mark.exists():
        root.mkdir(parents=True, exist_ok=True)
        write_text(mark, f"{SCHEMA}\n")
    found = _read_mark(mark, mark.stat().st_mtime_ns)
    if found != str(SCHEMA):
        raise SpecError(
            f"the store {root} has schema {found}, this kit reads {SCHEMA}; "
            "set KIT_STORE to another folder or use the kit that wrote it"
        )
    return root


@functools.lru_cache
def _read_mark(mark: Path, changed: int) -> str:
    """Reads the store's schema, once while unchanged: every look into the store asks."""
    del changed
    return mark.read_text(encoding="utf-8").strip()


def project_root() -> Path:
    """Returns the nearest folder upwards that holds `notebooks/`, else the working directory."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "notebooks").is_dir()), here)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder beside `target`, then renames it into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
    try:
        write(temporary)
        temporary.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
            target.replace(old)
            temporary.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files}


def save(artifact: Artifact) -> None:
    """Writes an artifact; an older one of the same run is replaced, a failure forgotten."""

    def write(folder: Path) -> None:
        _write_columns(folder / "columns.npz", artifact.columns)
        info = {"kind": artifact.kind, "run": to_json(artifact.run), "info": dict(artifact.info)}
        (folder / "info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")

    _replace_folder(_artifact_folder(artifact.run_id), write)
    _failure_path(artifact.run_id).unlink(missing_ok=True)
    shutil.rmtree(store_root() / "partial" / artifact.run_id, ignore_errors=True)


def has(run_id: str) -> bool:
    """Says whether a run's artifact is there."""
    return (_artifact_folder(run_id) / "info.json").exists()


def load(run: Run, run_id: str) -> Artifact:
    """Reads the artifact of a run.

    Raises:
        FileNotFoundError: the run is not done.
    """
    folder = _artifact_folder(run_id)
    about = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    return Artifact(
        run, run_id, about["kind"], _read_columns(folder / "columns.npz"), about["info"]
    )


def read_info(run_id: str) -> dict[str, Any]:
    """Reads what is known of a run beside its columns; empty when it is not done."""
    path = _artifact_folder(run_id) / "info.json"
    return json.loads(path.read_text(encoding="utf-8"))["info"] if path.exists() else {}


def delete(run_id: str) -> None:
    """Forgets a run, so that it is done again."""
    for folder in ("artifacts", "partial"):
        shutil.rmtree(store_root() / folder / run_id, ignore_errors=True)
    _failure_path(run_id).unlink(missing_ok=True)


def _failure_path(run_id: str) -> Path:
    return store_root() / "failures" / f"{run_id}.json"


def save_failure(run_id: str, message: str, log: str, *, undefined: bool) -> None:
    """Keeps why a run has no artifact: one sentence and the traceback or log behind it."""
    content = {"message": message, "log": log, "undefined": undefined}
    write_text(_failure_path(run_id), json.dumps(content, indent=1))


def failure(run_id: str) -> dict[str, Any] | None:
    """Returns the kept failure of a run, or None."""
    path = _failure_path(run_id)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save_part(run_id: str, name: str, columns: Mapping[str, np.ndarray]) -> None:
    """Keeps a finished part (a launch) of a run that is not complete."""
    folder = store_root() / "partial" / run_id / name
    _replace_folder(folder, lambda temporary: _write_columns(temporary / "columns.npz", columns))


def parts(run_id: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the finished parts of a run by name."""
    found = sorted((store_root() / "partial" / run_id).glob("[!.]*/columns.npz"))
    return {path.parent.name: _read_columns(path) for path in found}


def memo(key: str, make: Callable[[], Any]) -> Any:
    """Returns the JSON value kept under a key of content, or makes and keeps it."""
    path = store_root() / "rows" / f"{key}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    value = make()
    write_text(path, json.dumps(value))
    return value


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock between processes; says for whom it waits. A dead holder frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o666)
    holder = path.with_suffix(".holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        print(f"waiting for {who.strip()}", flush=True)
        lock.acquire()
    try:
        write_text(holder, f"process {os.getpid()} ({what}, since {time.strftime('%H:%M:%S')})\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def timing_lock() -> contextlib.AbstractContextManager[None]:
    """Returns the machine-wide lock that keeps other timings of the kit away."""
    return locked(Path(tempfile.gettempdir()) / "kit-timing.lock", "timing")


def built_path(spec: Any) -> Path:
    """Returns where the thing made from `spec` is or would be kept."""
    return store_root() / "built" / content_hash(spec)


def built(spec: Any, make: Callable[[Path], None]) -> Path:
    """Returns the folder of a built thing (weights, an exported graph, prepared data).

    The folder appears whole or not at all. Two processes that ask at once share one making. A maker
    that keeps a `checkpoint` in its folder finds it again after it was interrupted.

    Args:
        spec: everything the thing depends on, versions of the code that makes it included.
        make: writes into the folder it is given.
    """
    target = built_path(spec)
    if target.exists():
        return target
    with locked(target.with_suffix(".lock"), f"building {target.name}"):
        if target.exists():
            return target
        temporary = target.with_suffix(".partial")
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            make(temporary)
        except BaseException:
            if not (temporary / "checkpoint").exists():
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(temporary / "checkpoint", ignore_errors=True)
        write_text(temporary / "spec.json", json.dumps(to_json(spec), indent=1))
        temporary.replace(target)
    target.with_suffix(".lock").unlink(missing_ok=True)
    return target
