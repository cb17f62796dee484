"""What is made once: whole or not at all, shared by processes, gone on with after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from kit.spec.ref import Ref
from kit.store import built

pytestmark = pytest.mark.usefixtures("fresh_store")


def test_a_thing_is_built_once() -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "weights").write_text("w")

    spec = ["weights", Ref("net", width=8)]
    found = built.once(spec, make)
    assert built.once(list(spec), make) == found == built.path(spec)
    assert (found / "weights").read_text() == "w"
    assert json.loads((found / "spec.json").read_text())[0] == "weights"
    assert len(calls) == 1
    assert sorted(path.name for path in found.parent.iterdir()) == [found.name]


def test_a_failed_making_leaves_nothing_and_is_tried_again() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        built.once(["x"], fail)
    folder = built.path(["x"])
    assert not folder.exists()
    assert not folder.with_suffix(".partial").exists()
    found = built.once(["x"], lambda folder: (folder / "whole").touch())
    assert not (found / "half").exists()


@pytest.mark.parametrize("checkpoint", [True, False])
def test_what_a_killed_making_left_does_not_enter_the_next(checkpoint: bool) -> None:
    left = built.path(["x"]).with_suffix(".partial")
    for folder in (left / "deep", *([left / "checkpoint"] if checkpoint else [])):
        folder.mkdir(parents=True)
        (folder / "half").touch()
    seen: list[str] = []

    def make(folder: Path) -> None:
        seen.extend(path.name for path in folder.rglob("*"))
        (folder / "whole").touch()

    found = built.once(["x"], make)
    assert sorted(seen) == (["checkpoint", "half"] if checkpoint else [])
    assert not {"checkpoint", "deep", "half"} & {path.name for path in found.rglob("*")}
    assert [path.name for path in found.parent.iterdir()] == [found.name]


def test_a_making_with_a_checkpoint_goes_on() -> None:
    seen = []

    def train(folder: Path) -> None:
        kept = folder / "checkpoint" / "step"
        seen.append(int(kept.read_text()) if kept.exists() else 0)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(str(seen[-1] + 1))
        if seen[-1] == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built.once(["trained"], train)
    assert not built.path(["trained"]).exists()
    found = built.once(["trained"], train)
    assert seen == [0, 1]
    assert not (found / "checkpoint").exists()


def _build_slowly(folder: str) -> None:
    os.environ["KIT_STORE"] = folder

    def make(temporary: Path) -> None:
        time.sleep(0.5)
        (temporary / f"made-by-{os.getpid()}").touch()

    built.once(["slow"], make)


def test_two_processes_make_once(fresh_store: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_build_slowly, args=(str(fresh_store),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(list(built.path(["slow"]).glob("made-by-*"))) == 1
