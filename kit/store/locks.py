"""Locks between processes, which say for whom they wait and which a dead holder frees."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from kit.machine.progress import report
from kit.store import disk


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock between processes; says for whom it waits. A dead holder frees it.

    Raises:
        StoreError: the lock's folder cannot be written.
    """
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
