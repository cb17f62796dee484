"""The kill bench itself: each of its checks finds what was planted for it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

import kit
from benchmarks.chaos import bench, episodes, page, place
from benchmarks.chaos.bench import KILLS, Bench, Episode, split
from benchmarks.chaos.episodes import COUNTS, Try, Work
from benchmarks.chaos.place import Place, Watch, compared, held_locks, processes, strays
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import results, store

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SLEEP = ["-c", "import time; time.sleep(60)"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(place, "GRACE", 0.3)
    monkeypatch.setattr(episodes, "SHORTEST", 0.3)
    return Place(tmp_path / "place")


def test_a_stray_file_is_found(here: Place) -> None:
    def plant(*names: str) -> None:
        for path in (here.root / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    plant("project/runs/artifacts/a/info.json", "project/runs/memo/0123456789abcdef.json")
    expected = here.files()
    planted = ["project/results/.tmp-x", "project/runs/built/b.partial/x", "tmp/.tmp-sockets"]
    plant(*planted, "project/runs/memo/fedcba9876543210.json", "tmp/of-another-program")
    assert strays(here, expected) == planted


def test_an_orphan_is_found(here: Place) -> None:
    watch = Watch(here)
    child = subprocess.Popen([sys.executable, *SLEEP], env=here.environment())
    try:
        while not (found := processes(here)):
            time.sleep(0.01)
        assert {pid for pid, _ in found} == {child.pid}
        watch.killed()
        watch.check()
        watch.check()
        assert watch.orphans == 1, "each is counted once"
    finally:
        child.kill()
        child.wait()
    watch.killed()
    watch.check()
    assert watch.orphans == 1


def test_a_held_lock_is_found(here: Place) -> None:
    with FileLock(here.project / "free.lock"):
        pass
    with FileLock(here.project / "held.lock"):
        assert held_locks(here.root) == 1
    assert held_locks(here.root) == 0


def test_a_run_done_again_is_found(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_STORE", str(here.store))

    def save(key: str, when: int) -> None:
        run = Run(Variant(Ref("majority")), Ref("cost"))
        store.save(store.Artifact(run, key, "cost", {"value": np.ones(1)}, {"saved": when}))

    save("a", 1)
    watch = Watch(here)
    save("b", 2)
    watch.check()
    assert watch.redone == 0
    save("b", 3)
    store.delete("a")
    watch.check()
    assert watch.redone == 2


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    common = {"study": "s", "variant": "v", "seed": 0}
    return results.to_frame([results.row(**common, **row) for row in rows])


ACCURACY = {"metric": "accuracy", "value": 0.5, "n": 8}
FLIPS = {"metric": "flips_lost", "value": 3.0}
LATENCY = {"metric": "latency", "value": 0.1, "run_id": "a"}
UNDEFINED = {"value": None, "status": "undefined"}


@pytest.mark.parametrize(
    ("place", "change", "says"),
    [
        (0, {"value": 0.25}, "s v 0 accuracy: value '0.5' -> '0.25'"),
        (0, {"n": 9}, "s v 0 accuracy: n '8' -> '9'"),
        (1, {"value": 4.0}, "s v 0 flips_lost: value '3.0' -> '4.0'"),
        (2, {"value": 0.2}, None),
        (2, {"run_id": "b"}, "s v 0 latency: run_id 'a' -> 'b'"),
        (2, {**UNDEFINED, "note": "55 calls; p90 needs 64; others"}, None),
        (2, {**UNDEFINED, "note": "no calls"}, "s v 0 latency: status 'ok' -> 'undefined'"),
    ],
)
def test_changed_rows_are_found(place: int, change: dict[str, Any], says: str | None) -> None:
    rows = [ACCURACY, FLIPS, LATENCY]
    old = table(*rows)
    rows[place] = {**rows[place], **change}
    assert compared(old, table(*rows)) == ([], [says] if says else [])


def test_lost_and_new_rows_are_found() -> None:
    lost, changed = compared(table(ACCURACY, LATENCY), table(ACCURACY, FLIPS))
    assert (lost, changed) == (["s v 0 latency"], ["s v 0 flips_lost: is new"])


@pytest.mark.parametrize("whom", ["driver", "worker", "all"])
def test_a_kill_hits_whom_it_should(here: Place, whom: str) -> None:
    code = f"import subprocess, sys; child = subprocess.Popen([sys.executable, *{SLEEP}])"
    one = Try(["-c", f"{code}; print('ready', flush=True); child.wait()"], here, "ready")
    watch = Watch(here)
    assert one.kill(0.3, whom, random.Random(0))
    watch.killed()
    watch.check()
    assert watch.orphans == (1 if whom == "driver" else 0)
    episodes.kill(processes(here))


def test_kills_are_split_over_the_targets() -> None:
    assert split(4) == {"driver": 1, "publish": 1, "fetch": 1, "build": 1}
    for kills in (1, 5, 10, 1003, *KILLS.values()):
        assert sum(split(kills).values()) == kills
    assert split(200)["study"] == 20


LITTER = """
import pathlib, time
print("ready", flush=True)
for step in range(10):
    done = pathlib.Path(f"step-{step}")
    if not done.exists():
        time.sleep(0.1)
        done.touch()
pathlib.Path(f"left-{time.time_ns()}").touch()
"""


def test_the_bench_kills_keeps_and_goes_on(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work leaves a file of another name each time, and nothing else goes wrong."""
    work = Work([["-c", LITTER]], after="ready", kills=2)
    lost = Work([["-c", "raise ConnectionError('no index')"]])
    monkeypatch.setattr(bench, "WORKS", {"build": work, "fetch": lost, "driver": work})
    monkeypatch.setattr(bench, "split", lambda kills: {"build": kills, "fetch": 1})
    folder, kept = tmp_path / "folder", tmp_path / "kept.json"
    folder.mkdir()
    first = Bench(3, kept, folder)
    first.run()
    assert first.kills == 3 and len(first.episodes) >= 2
    assert list(first.undefined) == ["fetch"]
    again = Bench(4, kept, folder)
    assert again.episodes == first.episodes
    again.run()
    assert again.kills == 4 and again.episodes[: len(first.episodes)] == first.episodes
    rows = page.table(again.episodes, again.undefined)
    counts = page.counted(rows)["build"].to_dict()
    assert counts.pop("kills") == 4 and counts.pop("stray_files") == len(again.episodes)
    assert set(counts.values()) == {0}
    assert "fetch" not in page.counted(rows)


def test_the_page_tells_what_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    clean = dict.fromkeys(COUNTS, 0) | {"kills": 3}
    harmless = [Episode("driver", 0, clean, {}), Episode("driver", 1, clean, {})]
    rows = page.table(harmless, {"fetch": "the package index was not reached"})
    assert "6 kills at random moments (driver): no run" in page.verdict(page.counted(rows))
    assert "at most 50.0%" in page.verdict(page.counted(rows))
    left = Episode("study", 0, clean | {"stray_files": 1}, {"stray_files": ["tmp/.tmp-x"]})
    text = page.publish(page.table([*harmless, left], {}), {"cpu": "X", "cores": 2}).read_text()
    assert "9 kills at random moments (driver, study) left this behind: 1 stray files." in text
    assert "| stray_files | 0 | 1 |" in text
    written = kit.load("91_chaos", tmp_path / "results" / "smoke")
    (row,) = written[(written.metric == "stray_files") & (written.target == "study")].itertuples()
    assert (row.value, row.unit, row.n, row.machine) == (1, "count", 1, 0)
    assert row.note == "counted, not sampled: no interval | tmp/.tmp-x"
    assert (tmp_path / "results/smoke/figures/91_chaos_kills.png").stat().st_size > 1000


@pytest.mark.slow
def test_it_kills_the_kit_at_smoke(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    root = Path(__file__).parents[2]
    given = {"KIT_STORE": str(tmp_path / "runs"), "KIT_PRESET": "smoke", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "benchmarks.chaos"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 kills at random moments" in done.stdout
    assert not list((tmp_path / "runs").glob("chaos-*.json")), "the next call starts anew"
