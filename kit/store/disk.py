"""Writing so that no reader ever sees a part, and saying in a sentence why it did not work.

What is not finished has a name that tells the process that makes it, so that the next process on
this machine removes what a killed one left.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kit.machine.processes import lives
from kit.spec.checking import StoreError

_UNFINISHED = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-")
_WEEK = 7 * 86_400.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = 1 << 20
"""Free bytes below which a failed write of a library that gives no reason is the disk's fault."""
_REASONS = {
    errno.EROFS: "it is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENAMETOOLONG: "a file name is too long",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENOENT: "its folder cannot be made",
    errno.EIO: "the disk reports an error",
}


def trouble(error: BaseException, folder: Path, *, ours: bool) -> str | None:
    """Returns why a write below `folder` failed in words, or None if the disk is not the reason.

    Args:
        error: what was raised.
        folder: the store.
        ours: the write is known to go there. Otherwise it must name a file below `folder`, or the
            disk must be full now: a library that builds something reads and writes elsewhere too.
    """
    full = f"the disk is full ({_free(folder) / 1e6:.1f} MB free)"
    if isinstance(error, OSError):
        place = error.filename
        ours = ours or (isinstance(place, str) and Path(place).is_relative_to(folder))
        known = {**dict.fromkeys(_FULL, full), **_REASONS}
        if ours and error.errno in known:
            return known[error.errno]
    return full if _free(folder) < _NO_ROOM else None


def _free(folder: Path) -> float:
    for there in (folder, *folder.parents):
        with contextlib.suppress(OSError):  # it is not there yet, or its name is too long
            return float(shutil.disk_usage(there).free)
    return 0.0


@contextlib.contextmanager
def told(folder: Path, what: str, remedy: str, *, ours: bool = True) -> Iterator[None]:
    """Turns the failure of a write below `folder` into a sentence.

    Args:
        folder: what is named in the sentence.
        what: it is, such as `store`.
        remedy: what to do.
        ours: as in `trouble`.

    Raises:
        StoreError: the disk is the reason.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if (reason := trouble(error, folder, ours=ours)) is None:
            raise
        raise StoreError(
            f"the {what} {folder} cannot be written: {reason}. {remedy}; "
            "what was finished is kept, run it again to go on"
        ) from error


@functools.cache
def _host() -> str:
    """Returns 8 hexadecimal digits of this machine; containers count their processes apart."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _prefix() -> str:
    return f".tmp-{_host()}-{os.getpid()}-"


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Gives a new folder that is removed in the end, or after a kill by the next `sweep`."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=_prefix()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what killed processes of this machine left unfinished in a folder: one listing.

    What another machine left in a shared folder is removed after a week.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.match(entry.name)
            if found is None:
                continue
            if found[1] == _host():
                left = not lives(int(found[2]))
            else:
                left = time.time() - entry.stat(follow_symlinks=False).st_mtime > _WEEK
            if left:
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Removes a file or a folder as far as it can."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def write_file(path: Path, data: bytes, temporaries: Path) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file.
        data: its content.
        temporaries: a folder of the same file system for the unfinished file.
    """
    for folder in (path.parent, temporaries):
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=temporaries, prefix=_prefix())
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_folder(
    target: Path,
    fill: Callable[[Path], None],
    temporaries: Path,
    keep: Callable[[], bool] = lambda: False,
) -> None:
    """Makes a folder whole or not at all.

    Args:
        target: the folder.
        fill: writes into the folder it is given.
        temporaries: a folder of the same file system for the unfinished folder.
        keep: says whether one that stands there, or came meanwhile, stays. Else it is replaced, and
            for a moment there is none.
    """
    with temporary_folder(temporaries) as made:
        fill(made)
        made.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                made.replace(target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if keep():
                return
            discard(target, temporaries)


def discard(path: Path, temporaries: Path) -> None:
    """Removes a file or folder at once for every reader; nothing happens if it is not there."""
    if not path.exists():
        return
    with temporary_folder(temporaries) as folder, contextlib.suppress(FileNotFoundError):
        path.replace(folder / "old")
