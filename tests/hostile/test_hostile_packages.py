"""Archives and a cache from strangers: nothing leaves its folder, nothing swells without end."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from attacks import NAMES, attempt, cases, contents
from hypothesis import given
from hypothesis import strategies as st

from kit import assets
from kit.packages import Recipe, unpack

LIMIT = 100_000
RECIPE = Recipe(("pkg/data/*",), root="pkg/data/")
KINDS = {
    "file": tarfile.REGTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
}


def tar(path: Path, members: list[tuple[str, str, bytes]], goal: str = "../../precious") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = KINDS[kind], goal
            member.size = len(data) if kind == "file" else 0
            archive.addfile(member, io.BytesIO(data))
    return path


def wheel(path: Path, members: list[tuple[str, bytes, int]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


@pytest.fixture
def folder(world: Path) -> Path:
    """Where an archive is unpacked."""
    target = world / "a/b/project/cache/unpacked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_any_kind(kind: str, folder: Path) -> None:
    archive = tar(folder.with_name("x.tar.gz"), [("pkg/data/x", kind, b"data")])
    done = attempt(lambda: unpack(archive, RECIPE, folder, LIMIT) or True)
    assert (done is not None) == (kind in ("file", "sparse"))
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666])
def test_wheels_with_links_and_devices(mode: int, folder: Path) -> None:
    archive = wheel(folder.with_name("x.whl"), [("pkg/data/x", b"../../precious", mode)])
    with pytest.raises(ValueError, match="a link or an unsafe path"):
        unpack(archive, RECIPE, folder, LIMIT)
    assert contents(folder) == {}


def test_a_link_and_a_file_below_it(folder: Path) -> None:
    members = [("pkg/data/up", "link", b""), ("pkg/data/up/precious", "file", b"taken")]
    archive = tar(folder.with_name("x.tar.gz"), members, goal="../../../..")
    with pytest.raises(ValueError, match="a link or an unsafe path"):
        unpack(archive, RECIPE, folder, LIMIT)


paths = st.lists(
    st.sampled_from(["..", ".", "a", "pkg", "data", "", "b\\c", *NAMES[:14]]), max_size=6
)


@cases(60, 1_500)
@given(st.lists(paths, min_size=1, max_size=3), st.booleans(), st.sampled_from(["", "pkg/data/"]))
def test_members_of_any_path(members: list[list[str]], whole: bool, root: str) -> None:
    folder = Path("cache/paths")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = ["/".join(("pkg/data", *parts)) for parts in members]
    given = [name for name in names if "\0" not in name and len(name) < 50_000]
    made = wheel if whole else None
    archive = Path("cache/x.whl" if made else "cache/x.tar.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of doubled names
        if made:
            wheel(archive, [(name, b"data", 0) for name in given])
        else:
            tar(archive, [(name, "file", b"data") for name in given])
    attempt(lambda: unpack(archive, Recipe(("*",), root=root), folder, LIMIT), OSError)


@pytest.mark.parametrize("size", [LIMIT + 1, 50_000_000])
@pytest.mark.parametrize("form", ["whl", "tar.gz"])
def test_a_bomb_stops_at_the_limit(size: int, form: str, folder: Path) -> None:
    path = folder.with_name(f"x.{form}")
    if form == "whl":
        wheel(path, [("pkg/data/x", b"\0" * size, 0)])
    else:
        tar(path, [("pkg/data/x", "file", b"\0" * size)])
    with pytest.raises(ValueError, match="unpacks to more than 0.1 MB"):
        unpack(path, RECIPE, folder, LIMIT)
    assert sum(file.stat().st_size for file in folder.rglob("*")) <= LIMIT


def test_many_small_members_are_a_bomb_too(folder: Path) -> None:
    members = [(f"pkg/data/{number}", b"\0" * 1_000, 0) for number in range(200)]
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpack(wheel(folder.with_name("x.whl"), members), RECIPE, folder, LIMIT)


def test_a_declared_size_that_is_a_lie(folder: Path) -> None:
    path = wheel(folder.with_name("x.whl"), [("pkg/data/x", b"\0" * 1_000_000, 0)])
    data = path.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    attempt(lambda: unpack(path, RECIPE, folder, LIMIT))
    assert sum(file.stat().st_size for file in folder.rglob("*")) <= LIMIT


@pytest.mark.parametrize("form", ["whl", "tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_an_archive_cut_off(share: float, form: str, folder: Path) -> None:
    path = folder.with_name(f"x.{form}")
    data = bytes(range(256)) * 40
    if form == "whl":
        wheel(path, [("pkg/data/x", data, 0)])
    else:
        tar(path, [("pkg/data/x", "file", data)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert attempt(lambda: unpack(path, RECIPE, folder, LIMIT) or True) is None


@pytest.mark.parametrize("kind", ["link", "pipe", "file"])
def test_a_nested_archive_that_is_none(kind: str, folder: Path) -> None:
    path = tar(folder.with_name("x.tar.gz"), [("inner.tar.gz", kind, b"no archive")], goal="none")
    recipe = Recipe(("*",), source=True, nested="inner.tar.gz")
    assert attempt(lambda: unpack(path, recipe, folder, LIMIT) or True) is None
    other = Recipe(("*",), source=True, nested="not_there.tar.gz")
    assert attempt(lambda: unpack(path, other, folder, LIMIT) or True) is None


def test_two_members_for_one_file(folder: Path) -> None:
    members = [("a/x.txt", b"1", 0), ("b/x.txt", b"2", 0)]
    with pytest.raises(ValueError, match=r"holds 'b/x.txt' twice"):
        unpack(wheel(folder.with_name("x.whl"), members), Recipe(("*",)), folder, LIMIT)


@pytest.fixture
def cached(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An asset's folder in the cache, whole."""
    table = world / "a/b/project/cache/table.toml"
    table.write_text(
        '[toy]\npackage = "toy"\nversion = "1"\nsha256 = "00"\norigin = "here"\nlicence = "MIT"\n'
        'size = 10\ncontents = "c"\nflaws = "f"\n[toy.files]\nmembers = ["*"]\n'
    )
    monkeypatch.setattr(assets, "TABLE", table)
    folder = assets._folder("toy")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("data")
    manifest = {"x.txt": [4, "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"]}
    (folder / ".asset.json").write_text(json.dumps(manifest))
    assert assets.path("toy") == folder
    return folder


def test_a_link_in_the_cache_is_damage(cached: Path, world: Path) -> None:
    (cached / "x.txt").unlink()
    (world / "a/b/project/cache/other").write_text("data")
    (cached / "x.txt").symlink_to(world / "a/b/project/cache/other")
    with pytest.raises(ValueError, match="leads out of its folder. Run `kit fetch toy`"):
        assets.path("toy")


MANIFESTS: list[Any] = [
    *(
        {"../../x": [1, "0"]},
        {"/etc/passwd": [1, "0"]},
        {"x.txt": [1]},
        {"x.txt": "x"},
        {"x.txt": 3},
    ),
    *(
        [],
        3,
        None,
        "x",
        {"": [4, "0"]},
        {"a\0b": [1, "0"]},
        {"x" * 9_999: [1, "0"]},
        {".": [1, "0"]},
    ),
]


@pytest.mark.parametrize("place", range(len(MANIFESTS)))
def test_a_manifest_of_somebody_else(place: int, cached: Path) -> None:
    (cached / ".asset.json").write_text(json.dumps(MANIFESTS[place]))
    assert attempt(lambda: assets.path("toy")) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_manifest_of_noise(data: bytes, cached: Path) -> None:
    (cached / ".asset.json").write_bytes(data)
    assert attempt(lambda: assets.path("toy")) is None


def test_links_where_a_killed_fetch_left_its_folder(
    cached: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cached / "x.txt").write_text("damaged")
    (cached.parent / ".toy-link").symlink_to(world / "a")

    def no_network(*_: Any) -> None:
        raise ConnectionError("the package index was not reached here")

    monkeypatch.setattr(assets, "download", no_network)
    with pytest.raises(ConnectionError):
        assets.fetch("toy")
    assert (world / "a/b").is_dir(), "the link went, not what it named"
    assert not (cached.parent / ".toy-link").is_symlink()
