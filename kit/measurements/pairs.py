"""Two processes alive together, taking turns: how every time is measured.

A process differs from its twin for as long as it lives, so the launch is the unit of replication
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013); turns between living
processes take the machine's drift out of the ratio. What was measured of this: results/90_selftest.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from kit.machine import environment
from kit.machine.load import BUSY_SHARE, MIN_ROUNDS, ForeignLoad, busy
from kit.measurements.interface import Columns, Driver, Positive
from kit.measurements.timer import Timer, Turn
from kit.spec.checking import Undefined
from kit.spec.presets import Preset
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.store import results

if TYPE_CHECKING:
    from kit.analysis.stopping import Stopping

BUSY_TURNS = 0.2
"""Share of turns from which the machine is said to be busy while it goes on."""
MOST_TIMES = 3
"""Times the seconds asked for, after which a launch ends, settled and quiet or not."""
AT_ONCE = 3
"""Launches from which on both sides start at once; in those before, a start is measured alone."""
SIDES = ("variant", "baseline")

BatchSizes = Annotated[
    tuple[Positive, ...], Field(min_length=1), Preset(smoke=(1, 8), default=(1, 32), full=(1, 32))
]
Wait = Annotated[float, Field(ge=0), Preset(smoke=1.0, default=30.0, full=120.0)]


@dataclass(frozen=True)
class Pairing:
    """What a launch does, whichever it is.

    Attributes:
        sides: the variant and its baseline, by the names in `SIDES`.
        task: whose examples are timed.
        examples: at most `POOL` of them.
        calls: what is timed, all in one launch.
        baseline_calls: what the baseline does in their place; the same where not given.
        threads: of each process.
        seconds: timed a launch, call and side, in at least `MIN_ROUNDS` quiet rounds.
        wait: seconds that a launch waits for a quiet machine.
        stopping: tells how many launches there should be, and when a launch has settled.
        busy_cores: kept busy by processes that count as others'.
    """

    sides: Mapping[str, Variant]
    task: Ref
    examples: Sequence[Any]
    calls: Sequence[Any]
    threads: int
    seconds: float
    wait: float
    stopping: Stopping
    busy_cores: int = 0
    baseline_calls: Sequence[Any] = ()

    def __post_init__(self) -> None:
        """Refuses (Undefined) more threads than a process may use CPUs."""
        most = environment.machine()["threads"]
        if self.threads > most:
            raise Undefined(
                f"threads={self.threads}: this machine gives a process {most}; expected 1..{most}"
            )

    def names(self) -> list[str]:
        """Returns the condition of each call, as rows have it."""
        return [
            results.condition(
                **call.condition(), threads=self.threads, busy_cores=self.busy_cores or None
            )
            for call in self.calls
        ]


def launches(driver: Driver, pairing: Pairing) -> tuple[dict[str, np.ndarray], list[str]]:
    """Does the launches that are not done yet, one after another, and keeps each.

    Args:
        driver: opens the workers and keeps finished launches; another machine's do not count.
        pairing: what a launch does.

    Returns:
        Columns launch, side, condition, turn, phase, seconds, foreign, stolen, switches (of the
        call's turn) and wall (of the launch); and notes.
    """
    columns: dict[str, np.ndarray] = {}
    for number in itertools.count():
        if number >= (count := pairing.stopping.wanted(columns)):
            break
        part = f"launch-{number:03d}-{environment.machine_key()}"
        if part not in driver.parts:
            driver.progress(f"launch {number + 1} of {count}{_outlook(columns, count - number)}")
            made = _one_launch(driver, pairing, number)
            driver.parts[part] = made
            driver.save_part(part, made)
        new = driver.parts[part]
        columns = {
            name: np.concatenate([columns[name], new[name]]) if columns else new[name]
            for name in new
        }
    calls = columns["phase"] == "call"
    share = float((columns["foreign"][calls] > BUSY_SHARE).mean())
    busiest = float(columns["foreign"].max())
    note = f"in {share:.0%} of the calls others used more than {BUSY_SHARE:.0%} of the cores"
    return columns, [f"{note}, up to {busiest:.0%}"] if share >= 0.005 else []


def _outlook(columns: Columns, left: int) -> str:
    """Returns how long launches take where others kept the machine busy, and what would help."""
    if not columns or np.mean(columns["foreign"] > BUSY_SHARE) < BUSY_TURNS:
        return ""
    minutes = left * float(np.mean(columns["wall"])) / 60
    return f" (others use the cores: about {minutes:.0f} min for this run; quicker without them)"


def spent(columns: Columns) -> dict[str, float]:
    """Returns what seconds of launches went into: `timing`, `starting`, and the rest, `waiting`."""
    phase, seconds = columns["phase"], columns["seconds"]
    start = columns["condition"] == ""
    walls = columns["wall"][np.unique(columns["launch"], return_index=True)[1]]
    timing = float(seconds[~start].sum())
    starting = float(seconds[start & np.isin(phase, ("import", "load"))].sum())
    return {
        "timing": timing,
        "starting": starting,
        "waiting": float(walls.sum()) - timing - starting,
    }


def _one_launch(driver: Driver, pairing: Pairing, number: int) -> dict[str, np.ndarray]:
    """Starts both sides, then gives them turns until each condition was timed enough."""
    began = time.perf_counter()
    _wait_for_quiet(driver, pairing.wait)
    sides = list(pairing.sides)
    if number % 2:  # who starts second finds warmer files: each side is first as often
        sides.reverse()
    alone = number < AT_ONCE
    records: list[_Record] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(busy(pairing.busy_cores))
        workers = {}
        for side in sides:
            theirs = pairing.baseline_calls if side == "baseline" else ()
            workers[side] = stack.enter_context(
                driver.worker(
                    Timer,
                    pairing.sides[side],
                    pairing.task,
                    pairing.threads,
                    theirs or pairing.calls,
                    pairing.examples,
                    threads=pairing.threads,
                    freed="process",
                )
            )
            if alone:
                records += _started(workers[side], side, pairing.names())
        for side in [] if alone else sides:
            workers[side].call("warm_up")
        order = random.Random(number)
        for at, name in enumerate(pairing.names()):
            records += _turns(workers, pairing, at, name, order)
    names = _Record._fields
    made = dict(zip(names, map(np.array, zip(*records, strict=True)), strict=True))
    size = len(records)
    wall = np.full(size, time.perf_counter() - began)
    return {"launch": np.full(size, number), **made, "wall": wall}


class _Record(NamedTuple):
    side: str
    condition: str
    turn: int
    phase: str
    seconds: float
    foreign: float = 0.0
    stolen: float = 0.0
    switches: float = 0.0


def _started(worker: Any, side: str, names: Sequence[str]) -> Iterator[_Record]:
    """Warms a worker up; yields what its start was made of, and each kind's first calls."""
    began, phases, warm = worker.call("warm_up")
    phases["import"] += began - worker.started
    yield from (_Record(side, "", 0, phase, seconds) for phase, seconds in phases.items())
    for name, (first, others) in zip(names, warm, strict=True):
        yield _Record(side, name, 0, "first_call", first)
        yield _Record(side, name, 0, "warm_up", others)


def _turns(
    workers: Mapping[str, Any], pairing: Pairing, at: int, name: str, order: random.Random
) -> Iterator[_Record]:
    """Yields the calls of one condition, in rounds of a turn a side.

    Rounds go on until each side was timed long enough in quiet ones and their ratios have settled;
    busy ones are kept, and counted as busy.
    """
    sides, ratios, spent, quiet = list(workers), [], 0.0, 0.0
    for number in itertools.count(1):
        order.shuffle(sides)
        turns: dict[str, Turn] = {side: workers[side].call("turn", at) for side in sides}
        for side, turn in turns.items():
            for one in turn.seconds:
                yield _Record(side, name, number, "call", one, *turn[1:])
        least = min(sum(turn.seconds) for turn in turns.values())
        spent += least
        if max(turn.foreign for turn in turns.values()) <= BUSY_SHARE:
            quiet += least
            variant, baseline = (median(turns[side].seconds) for side in SIDES)
            ratios.append(math.log(baseline / variant))
        if quiet >= pairing.seconds and pairing.stopping.settled(ratios):
            return
        if number >= MIN_ROUNDS and spent >= MOST_TIMES * pairing.seconds:
            return


def _wait_for_quiet(driver: Driver, limit: float) -> None:
    """Waits until others leave the cores alone, or for `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        foreign = ForeignLoad()
        time.sleep(0.5)
        share = foreign.share()
        if share is None or share <= BUSY_SHARE:
            return
        left = max(0.0, deadline - time.monotonic())
        driver.progress(f"waiting for quiet: others use {share:.0%}, {left:.0f} s left")
    driver.progress("timing beside others: what they disturb will not count")
