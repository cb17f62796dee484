"""The test bench itself: each of its checks finds what was planted for it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from helpers import restored

import kit
from kit import results, store
from kit.measurements.bench import Driver
from kit.ref import Ref
from kit.spec import Run, Variant
from kit.trust import episodes
from kit.trust.episodes import Failed, Try, Work, episode, undisturbed
from kit.trust.place import Place, compared, held_locks, orphans, processes, redone, stamps, strays
from kit.values import SpecError, Undefined

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "place")
    made.prepare()
    return made


@pytest.fixture(scope="module")
def chaos() -> Iterator[ModuleType]:
    """The measurement and its metrics are registered while this module's tests run."""
    with restored():
        from kit.trust import chaos as module

        yield module


def test_a_stray_file_is_found(place: Place) -> None:
    kept = ("artifacts/a/info.json", "rows/0123456789abcdef.json", "schema")
    for name in kept:
        path = place.store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    expected = place.files()
    planted = [
        *("built/b.partial/x", "built/c/.tmp-x", "tmp/.tmp-0-1-x", "failures/a.json"),
        *("locks/a.holder", "rows/key.tmp", "damaged/a/info.json", "partial/a/l/columns.npz"),
    ]
    for name in (*planted, "rows/fedcba9876543210.json"):  # the last is a cache like another
        path = place.store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (place.project / "results").mkdir()
    (place.project / "results" / ".tmp-x").touch()
    (place.temporary / ".tmp-sockets").mkdir()
    (place.temporary / "of-another-program").touch()
    found = strays(place, expected)
    assert found == sorted(
        [f"project/runs/{name}" for name in planted]
        + ["project/results/.tmp-x", "tmp/.tmp-sockets"]
    )


@linux
def test_an_orphan_is_found(place: Place) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(command, env=place.environment())
    try:
        while not (found := processes(place)):
            time.sleep(0.01)
        assert {pid for pid, _ in found} == {child.pid}
        assert orphans(place, found, until=0.0) == 1
        assert orphans(place, {(child.pid, 0.0)}, until=0.0) == 0, "another one with its id"
    finally:
        child.kill()
        child.wait()
    assert orphans(place, found, until=0.0) == 0


def test_a_held_lock_is_found(place: Place) -> None:
    held, free = (FileLock(place.store / f"{name}.lock") for name in ("held", "free"))
    place.store.mkdir()
    with free:
        pass
    with held:
        assert held_locks([place.root]) == 1
    assert held_locks([place.root]) == 0


def test_a_run_done_again_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_STORE", str(place.store))
    run = Run(Variant(Ref("majority")), Ref("cost"))
    for key, saved in (("a", 1), ("b", 2)):
        columns = {"value": np.ones(1)}
        store.save(store.Artifact(run, key, "cost", columns, {"saved": saved}))
    before = stamps(place)
    assert before == {"a": 1, "b": 2}
    assert redone(before, {"a": 1, "b": 2, "c": 3}) == 0
    assert redone(before, {"a": 1, "b": 3}) == 1
    assert redone(before, {"a": 1}) == 1, "a run that was lost"


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    common = {"study": "s", "variant": "v", "seed": 0}
    return results.to_frame([results.row(**common, **row) for row in rows])


ACCURACY = {"metric": "accuracy", "value": 0.5, "n": 8}
FLIPS = {"metric": "flips_lost", "value": 3.0}
LATENCY = {"metric": "latency", "value": 0.1, "run_id": "a"}
UNDEFINED = LATENCY | {"value": None, "status": "undefined"}


@pytest.mark.parametrize(
    ("found", "lost", "changed"),
    [
        ([ACCURACY, FLIPS, LATENCY], 0, 0),
        ([ACCURACY, FLIPS, LATENCY | {"value": 0.2}], 0, 0),
        ([ACCURACY, FLIPS], 1, 0),
        ([ACCURACY | {"value": 0.500001}, FLIPS, LATENCY], 0, 1),
        ([ACCURACY | {"n": 9}, FLIPS, LATENCY], 0, 1),
        ([ACCURACY, FLIPS | {"value": 4.0}, LATENCY], 0, 1),
        ([ACCURACY, FLIPS, LATENCY | {"value": None, "status": "error", "note": "n"}], 0, 1),
        ([ACCURACY, FLIPS, LATENCY | {"run_id": "b"}], 0, 1),
        ([ACCURACY, FLIPS, UNDEFINED | {"note": "55 calls; p90 needs 64; others"}], 0, 0),
        ([ACCURACY, FLIPS, UNDEFINED | {"note": "no launch has calls of both sides"}], 0, 1),
        ([ACCURACY | {"value": None, "status": "undefined", "note": "no"}, FLIPS, LATENCY], 0, 1),
        ([ACCURACY, FLIPS, LATENCY, LATENCY | {"condition": "batch_size=1"}], 0, 1),
    ],
)
def test_lost_and_changed_rows_are_found(
    found: list[dict[str, Any]], lost: int, changed: int
) -> None:
    gone, other = compared(table(ACCURACY, FLIPS, LATENCY), table(*found))
    assert (len(gone), len(other)) == (lost, changed)


def test_a_changed_row_says_what_changed() -> None:
    lost, changed = compared(table(ACCURACY, LATENCY), table(ACCURACY | {"value": 0.25}, FLIPS))
    assert lost == ["s v 0 latency"]
    assert changed == ["s v 0 accuracy: value '0.5' -> '0.25'", "s v 0 flips_lost: is new"]


STEPS = """
import pathlib, sys, time
print("ready", flush=True)
for step in range(10):
    done = pathlib.Path(f"step-{step}")
    if not done.exists():
        time.sleep(0.1)
        done.touch()
"""
LITTER = STEPS + "\npathlib.Path(f'left-{time.time_ns()}').touch()\n"


@linux
@pytest.mark.parametrize(("script", "clean"), [(STEPS, True), (LITTER, False)])
def test_an_episode_kills_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, clean: bool
) -> None:
    monkeypatch.setattr(episodes, "SHORTEST", 0.3)
    work = Work([["-c", script]], after="ready", kills=2)
    expected = undisturbed(work, Place(tmp_path / "undisturbed"))
    assert expected.seconds >= 1.0
    place = Place(tmp_path / "place")
    counts, found = episode(work, expected, place, seed=3, stop=lambda: False)
    assert counts.pop("kills") == 2
    strays_found = counts.pop("stray_files")
    assert set(counts.values()) == {0}
    assert (strays_found, len(found["stray_files"])) == ((0, 0) if clean else (1, 1))
    assert (place.project / "step-9").exists()


@linux
@pytest.mark.parametrize("whom", ["driver", "worker", "all"])
def test_a_kill_hits_whom_it_should(place: Place, whom: str) -> None:
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    code = f"import subprocess, sys; child = subprocess.Popen({child})"
    one = Try(["-c", f"{code}; print('ready', flush=True); child.wait()"], place, "ready")
    assert one.kill(0.3, whom, random.Random(0))
    left = orphans(place, processes(place), until=time.monotonic() + 1.0)
    assert left == (1 if whom == "driver" else 0)
    episodes.kill(processes(place))


@linux
def test_a_try_that_fails_undisturbed_says_why(place: Place) -> None:
    with pytest.raises(Failed, match="exit code 3: the reason"):
        Try(["-c", "print('the reason'); raise SystemExit(3)"], place, "").finish()


def test_kills_are_split_over_the_targets(chaos: ModuleType) -> None:
    assert chaos.split(4) == {"driver": 1, "publish": 1, "fetch": 1, "build": 1}
    for kills in (1, 5, 10, 200, 1003):
        assert sum(chaos.split(kills).values()) == kills
    assert chaos.split(200)["study"] == 20
    assert [run.measurement.args["kills"] for run in chaos.runs(4)] == [1, 1, 1, 1]
    assert len(chaos.runs()) == 3, "the number of the smoke preset"
    with pytest.raises(SpecError, match="kills"):
        Run(Variant(Ref("majority")), Ref("chaos", target="driver", kills=0))
    with pytest.raises(SpecError, match="target"):
        Run(Variant(Ref("majority")), Ref("chaos", target="diver", kills=1))


@linux
def test_a_chaos_run_is_saved_by_episode_and_gives_rows(
    chaos: ModuleType, monkeypatch: pytest.MonkeyPatch, fresh_store: Path
) -> None:
    monkeypatch.setattr(episodes, "SHORTEST", 0.3)
    work = Work([["-c", LITTER]], after="ready", kills=2)
    monkeypatch.setitem(chaos.WORKS, "fetch", work)
    chaos._expected.cache_clear()
    saved: dict[str, Any] = {}
    driver = Driver(Variant(Ref("majority")), None, saved, saved.__setitem__, lambda text: None)  # type: ignore[arg-type]
    raw = chaos.chaos(driver, target="fetch", kills=3)
    assert raw.columns["value"][raw.columns["quantity"] == "kills"].sum() == 3
    assert len(saved) == raw.columns["episode"].max() + 1 >= 2
    assert raw.info["notes"] and all(note.startswith("stray_files: ") for note in raw.info["notes"])
    again = chaos.chaos(driver, target="fetch", kills=3)
    for name, values in raw.columns.items():
        np.testing.assert_array_equal(values, again.columns[name])
    run = Run(Variant(Ref("majority"), name="kit"), Ref("chaos", target="fetch", kills=3))
    study = kit.Study("crashes", [run], run.variant)
    rows = study.run().set_index("metric")
    assert set(rows.index) == set(episodes.COUNTS)
    assert set(rows.status) == {"ok"}
    assert set(rows.condition) == {"target=fetch"}
    assert rows.value["kills"] == 3
    assert rows.value["stray_files"] >= 1
    assert rows.value["orphans"] == 0


def test_an_index_that_is_not_reached_is_no_result(
    chaos: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work([["-c", "raise ConnectionError('the package index was not reached')"]])
    monkeypatch.setitem(chaos.WORKS, "fetch", work)
    chaos._expected.cache_clear()
    with pytest.raises(Undefined, match="the package index was not reached"):
        chaos.chaos(None, target="fetch", kills=1)
