"""Hashes of large files, such as weights, each read once for as long as it stays as it is."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from kit.spec.ref import content_hash
from kit.store import store

BLOCK = 1 << 24


def digest(file: Path) -> str:
    """Returns the hash of a file, kept while its size, time and inode stay."""
    about = file.stat()
    return _kept_digest(file, (about.st_size, about.st_mtime_ns, about.st_ino))


@functools.cache
def _kept_digest(file: Path, about: tuple[int, ...]) -> str:
    key = content_hash("file", str(file.resolve()), about)
    return str(store.memo(key, lambda: _hashed(file)))


def _hashed(file: Path) -> str:
    """Returns the SHA-256 of a file's blocks' SHA-256s: blocks can be hashed side by side."""
    from concurrent.futures import ThreadPoolExecutor

    def block(start: int) -> bytes:
        with file.open("rb") as stream:
            stream.seek(start)
            return hashlib.sha256(stream.read(BLOCK)).digest()

    starts = range(0, file.stat().st_size, BLOCK)
    with ThreadPoolExecutor() as pool:
        return hashlib.sha256(b"".join(pool.map(block, starts))).hexdigest()[:32]
