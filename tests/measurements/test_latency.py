"""Paired timing on a tiny model: columns, conditions, both sides, launches that are kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import measure, toy_variant

import kit
from kit.analysis.metrics import timing
from kit.analysis.score import score
from kit.analysis.stopping import Stopping
from kit.machine.load import BUSY_SHARE, busy
from kit.machine.workers import Worker, inline
from kit.measurements import Latency, pairs, timer
from kit.measurements.interface import Driver
from kit.measurements.timer import Call, Timer
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

CONDITIONS = {
    f"batch_size={batch};length={length};threads=1" for batch in (1, 4) for length in ("task", 16)
}
pytestmark = pytest.mark.usefixtures("short_turns")
SIZES = {"batch_sizes": (1, 4), "lengths": ("task", 16), "seconds": 0.05, "wait": 0.0, "threads": 1}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, short_turns: None) -> None:
    """A machine whose load counts."""
    monkeypatch.setattr(pairs, "BUSY_SHARE", BUSY_SHARE)
    monkeypatch.setattr(timing, "BUSY_SHARE", BUSY_SHARE)


def latency(driver: Driver, **asked: Any) -> Any:
    return measure(driver, Latency(**asked))


def driver(variant: Variant, worker: Any = inline, parts: Any = None) -> tuple[Driver, list[str]]:
    saved: list[str] = []
    parts = {} if parts is None else parts

    def save(name: str, columns: Any) -> None:
        saved.append(name)

    return Driver(variant, worker, parts, save, lambda text: None, Stopping), saved


def test_two_launches_of_a_model_against_itself(toys: Ref) -> None:
    base = toy_variant(toys)
    drive, saved = driver(base)
    raw = latency(drive, task=toys, against=base, launches=2, **SIZES)
    columns = {name: np.asarray(values) for name, values in raw.columns.items()}
    assert raw.kind == "timing"
    assert set(columns) == {
        *("launch", "side", "condition", "turn", "phase", "seconds"),
        *("foreign", "stolen", "switches", "wall"),
    }
    assert len({len(values) for values in columns.values()}) == 1
    assert (columns["seconds"][columns["phase"] != "import"] > 0).all()
    calls = columns["phase"] == "call"
    for launch in (0, 1):
        for side in ("variant", "baseline"):
            mine = (columns["launch"] == launch) & (columns["side"] == side)
            assert set(columns["condition"][mine & calls]) == CONDITIONS
            start = mine & (columns["condition"] == "")
            assert sorted(columns["phase"][start]) == ["first_call", "import", "load"]
            firsts = columns["condition"][mine & (columns["phase"] == "first_call")]
            assert sorted(firsts) == sorted([*CONDITIONS, ""])
            for condition in CONDITIONS:
                chosen = mine & calls & (columns["condition"] == condition)
                assert len(set(columns["turn"][chosen])) >= 5
                assert columns["seconds"][chosen].sum() >= 0.05
    assert len(saved) == 2


def test_launches_that_are_there_are_not_done_again(toys: Ref) -> None:
    base = toy_variant(toys)
    drive, saved = driver(base)
    args = {"task": toys, "against": base, **SIZES, "batch_sizes": (1,), "lengths": ("task",)}
    first = latency(drive, launches=1, **args)
    resumed, more = driver(base, parts=drive.parts)
    both = latency(resumed, launches=2, **args)
    assert (len(saved), len(more)) == (1, 1)
    size = len(first.columns["seconds"])
    np.testing.assert_array_equal(both.columns["seconds"][:size], first.columns["seconds"])
    assert set(both.columns["launch"]) == {0, 1}


def test_a_launch_of_another_machine_does_not_count(toys: Ref) -> None:
    base = toy_variant(toys)
    drive, _ = driver(base)
    args = {"task": toys, "against": base, **SIZES, "batch_sizes": (1,), "lengths": ("task",)}
    latency(drive, launches=1, **args)
    elsewhere = {"launch-0-elsewhere": next(iter(drive.parts.values()))}
    moved, saved = driver(base, parts=elsewhere)
    raw = latency(moved, launches=1, **args)
    assert len(saved) == 1
    assert (raw.columns["phase"] == "load").sum() == 2


def test_worker_processes_give_the_same_columns(toys: Ref) -> None:
    base = toy_variant(toys)
    drive, _ = driver(base.replace(runtime="onnx"), partial(Worker, timeout=60))
    sizes = {**SIZES, "batch_sizes": (4,), "lengths": ("task",)}
    raw = latency(drive, task=toys, against=base, launches=1, **sizes)
    sides = raw.columns["side"][raw.columns["phase"] == "call"]
    assert set(sides) == {"variant", "baseline"}
    assert raw.info["notes"][0].startswith("output within ")


def test_texts_are_filled_to_a_length(toys: Ref) -> None:
    base = toy_variant(toys)
    texts = ["super 1", "awful 2 3 4 5 6 7 8 9 10"]
    side = Timer(base, toys, 1, [Call(2, 24), Call(1, "task")], texts)
    assert [call.args[0]["input_ids"].shape[1] for call in side._ready[0].calls] == [24] * 32
    assert all(int(call.args[0]["attention_mask"].min()) == 1 for call in side._ready[0].calls)
    assert [call.args[0]["input_ids"].shape for call in side._ready[1].calls][:2] == [
        (1, 7),
        (1, 24),
    ]


def test_a_side_has_come_to_rest_when_its_turn_ends(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Timer(toy_variant(toys), toys, 1, [Call(1, "task")], ["super 1"])
    side.warm_up()
    rests: list[float] = []
    monkeypatch.setattr(timer.time, "sleep", rests.append)
    turn = side.turn(0)
    assert sum(turn.seconds) > 0 and 0 <= turn.foreign <= 1 and turn.switches >= 0
    assert rests == [timer.REST_SECONDS]


def test_what_answers_wrongly_is_not_timed(toys: Ref, registries: None) -> None:
    def wrong(model: Any) -> Any:
        model.eval()
        return lambda inputs: -model(**inputs).detach()

    kit.register_runtime(version=1)(wrong)
    base = toy_variant(toys)
    drive, saved = driver(base.replace(runtime="wrong"))
    with pytest.raises(Undefined, match="differs from eager by 2 of the largest logit"):
        latency(drive, task=toys, against=base, launches=1, **SIZES)
    assert saved == []


def test_a_timing_alone_is_refused(toys: Ref) -> None:
    drive, _ = driver(toy_variant(toys))
    with pytest.raises(SpecError, match="a timing is a pair: give Latency"):
        latency(drive, task=toys, launches=1)
    with pytest.raises(SpecError, match="launches is 0; Input should be greater than or equal"):
        registry.measurements.canonical(Latency(toys, launches=0))
    assert Latency(toys).args["launches"] == 1


def made_up(
    number: int, baseline: float, condition: str, foreign: float = 0.0
) -> dict[str, np.ndarray]:
    """A launch of five rounds, a call a side, whose variant takes 0.1 s."""
    return {
        "launch": np.full(10, number),
        "side": np.tile(["variant", "baseline"], 5),
        "condition": np.full(10, condition),
        "turn": np.repeat(np.arange(1, 6), 2),
        "phase": np.full(10, "call"),
        "seconds": np.tile([0.1, baseline], 5),
        "foreign": np.full(10, foreign),
        "stolen": np.zeros(10),
        "switches": np.zeros(10),
        "wall": np.full(10, 5.0),
    }


@pytest.mark.usefixtures("judged")
def test_busy_launches_do_not_count_and_are_made_up_for(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others keep the machine busy in every second launch, and then in all of them."""
    base = toy_variant(toys)
    busy_in = lambda number: number % 2  # noqa: E731

    def launch(driver: Driver, pairing: Any, number: int) -> dict[str, np.ndarray]:
        slow = 0.5 * busy_in(number)
        return made_up(number, 0.2 * (1 + slow), pairing.names()[0], foreign=slow)

    monkeypatch.setattr(pairs, "_one_launch", launch)
    args = {"task": toys, "against": base, "batch_sizes": (1,), "threads": 1, "wait": 0.0}
    run = Run(base, Latency(toys, against=base))

    def speedup(raw: Any) -> dict[str, Any]:
        rows = score(Artifact(run, "run", "timing", raw.columns, raw.info))
        (row,) = [row for row in rows if row["metric"] == "speedup"]
        return row

    raw = latency(driver(base)[0], launches=6, **args)
    assert len(set(raw.columns["launch"])) == 9 and raw.info["busy"]
    row = speedup(raw)
    assert row["value"] == pytest.approx(2) and row["n"] == 5
    busy_in = lambda number: 1  # noqa: E731
    assert len(set(latency(driver(base)[0], launches=4, until=0.1, **args).columns["launch"])) == 6
    row = speedup(latency(driver(base)[0], launches=4, **args))
    assert row["status"] == "undefined"
    assert "in 100% of the rounds" in row["note"] and "study.run(redo='busy')" in row["note"]


def test_launches_are_added_until_the_interval_is_narrow(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stein's rule on launches whose ratios are known: 1, 1.1, 1.2 ask for more than three."""
    base = toy_variant(toys)

    def launch(driver: Driver, pairing: Any, number: int) -> dict[str, np.ndarray]:
        return made_up(number, 0.1 * (1 + number % 3 / 10), pairing.names()[0])

    monkeypatch.setattr(pairs, "_one_launch", launch)
    logs = np.log([1.0, 1.1, 1.2])
    needed = int(np.ceil((4.302653 * logs.std(ddof=1) / np.log1p(0.1)) ** 2))
    args = {"task": toys, "against": base, "batch_sizes": (1,), "threads": 1, "wait": 0.0}
    raw = latency(driver(base)[0], launches=3, until=0.1, **args)
    assert 3 < needed < 32 and len(set(raw.columns["launch"])) == needed
    assert raw.info["notes"] == [] and raw.info["first_launches"] == 3
    timed = raw.columns["seconds"].sum()
    assert raw.info["spent"]["waiting"] == pytest.approx(5 * needed - timed)
    raw = latency(driver(base)[0], launches=3, until=0.001, most=5, **args)
    assert len(set(raw.columns["launch"])) == 5
    (note,) = raw.info["notes"]
    assert "(half-width 0.001) would need about" in note and "5 were made" in note
    run = Run(base, Latency(toys, against=base))
    rows = score(Artifact(run, "run", "timing", raw.columns, raw.info))
    (row,) = [row for row in rows if row["metric"] == "speedup"]
    assert row["n"] == 5 and row["ci_low"] < row["value"] < row["ci_high"]


def test_what_until_cannot_plan_is_refused(toys: Ref) -> None:
    base = toy_variant(toys)
    with pytest.raises(SpecError, match="until=0.02 with launches=2 and most=32: expected 3 <="):
        latency(driver(base)[0], task=toys, against=base, launches=2, until=0.02)
    with pytest.raises(SpecError, match="until is -1"):
        registry.measurements.canonical(Latency(toys, until=-1))


def test_more_threads_than_cpus_are_refused(toys: Ref) -> None:
    base = toy_variant(toys)
    with pytest.raises(Undefined, match="threads=4096: this machine gives a process"):
        latency(driver(base)[0], task=toys, against=base, threads=4096)


@pytest.mark.usefixtures("judged")
def test_a_busy_machine_is_waited_for_and_noted(toys: Ref) -> None:
    """With a real process on one core."""
    base = toy_variant(toys)
    said: list[str] = []
    drive = Driver(base, inline, {}, lambda *_: None, said.append, Stopping)
    sizes = {**SIZES, "batch_sizes": (1,), "lengths": ("task",), "wait": 1.2}
    with busy(1):
        raw = latency(drive, task=toys, against=base, launches=1, **sizes)
    assert any(text.startswith("waiting for quiet: others use ") for text in said)
    assert "of the calls others used more than 10% of the cores" in raw.info["notes"][0]
    assert raw.columns["foreign"].max() > BUSY_SHARE and raw.info["busy"]
