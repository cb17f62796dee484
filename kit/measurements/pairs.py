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
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from kit import environment, registry, results
from kit.analysis.metrics.timing import MIN_ROUNDS, median_error
from kit.busyness import BUSY_SHARE, ForeignLoad, busy
from kit.measurements.bench import Columns, Driver
from kit.ref import Ref
from kit.runner import Runner
from kit.spec import Variant
from kit.values import Undefined

TURN_SECONDS = 0.15
SHORT_CALL_SECONDS = 0.05
"""Where calls are shorter, the first of a turn is discarded: caches and threads wake up in it."""
REST_SECONDS = 0.01
"""After a turn, outside of what is timed: threads that still spin (OpenMP's, up to 4 ms) stop."""
WARM_SECONDS = 2.0
"""After which a warm-up ends, though not every call was made: on a busy machine calls take long."""
SETTLED = 0.02
"""Standard error of a launch's log ratio, below which it is left to the spread between launches."""
BUSY_TURNS = 0.2
"""Share of turns from which the machine is said to be busy while it goes on."""
MOST_TIMES = 3
"""Times the seconds asked for, after which a launch ends, settled and quiet or not."""
AT_ONCE = 3
"""Launches from which on both sides start at once; in those before, a start is measured alone."""
POOL = 64
"""Examples that the calls of a condition go through, in turn."""
SIDES = ("variant", "baseline")


@dataclass(frozen=True)
class Call:
    """One kind of call that is timed.

    Attributes:
        batch_size: examples a call.
        length: `"task"` for the examples as they are, or a number of tokens that texts are filled
            up to.
    """

    batch_size: int
    length: int | str


@dataclass(frozen=True)
class Pairing:
    """What a launch does, whichever it is.

    Attributes:
        sides: the variant and its baseline, by the names in `SIDES`.
        task: whose examples are timed.
        examples: at most `POOL` of them.
        calls: what is timed, all in one launch.
        threads: of each process.
        seconds: timed a launch, call and side, in at least `MIN_ROUNDS` quiet rounds.
        wait: seconds that a launch waits for a quiet machine.
        busy_cores: kept busy by processes that count as others'.
    """

    sides: Mapping[str, Variant]
    task: Ref
    examples: Sequence[Any]
    calls: Sequence[Call]
    threads: int
    seconds: float
    wait: float
    busy_cores: int = 0

    def names(self) -> list[str]:
        """Returns the condition of each call, as rows have it."""
        return [
            results.condition(
                batch_size=call.batch_size,
                length=call.length,
                threads=self.threads,
                busy_cores=self.busy_cores or None,
            )
            for call in self.calls
        ]


def check_threads(threads: int) -> None:
    """Raises Undefined where a process would have more threads than it may use CPUs."""
    most = environment.machine()["threads"]
    if threads > most:
        raise Undefined(
            f"threads={threads}: this machine gives a process {most}; expected 1..{most}"
        )


class Turn(NamedTuple):
    """What a turn of one side was: its calls, and what others did to it meanwhile.

    Attributes:
        seconds: of each call.
        foreign: share of all CPUs that others took, stolen time included.
        stolen: share that the hypervisor gave to other guests.
        switches: how often a second a thread of this side lost its CPU to another process.
    """

    seconds: list[float]
    foreign: float
    stolen: float
    switches: float


class Timer:
    """The target of one side's worker: a runner and the inputs of every call.

    Args:
        variant: this side.
        task: gives labels to a pretrained classifier.
        threads: of the process.
        calls: what is timed.
        examples: that the calls go through.
    """

    def __init__(
        self,
        variant: Variant,
        task: Ref,
        threads: int,
        calls: Sequence[Call],
        examples: Sequence[Any],
    ) -> None:
        self._began = time.perf_counter()
        self._runner = Runner(variant, threads, task)
        self._calls = [(call, self._cycle(call, examples)) for call in calls]

    def _cycle(self, call: Call, examples: Sequence[Any]) -> list[Callable[[], Any]]:
        """Returns calls over the pool of examples, `batch_size` at a time."""
        size = call.batch_size
        pool = list(itertools.islice(itertools.cycle(examples), max(POOL, size)))
        batches = [pool[i : i + size] for i in range(0, len(pool) - size + 1, size)]
        tokens = None if call.length == "task" else int(call.length)
        return [self._runner.timed(self._runner.inputs(batch, tokens)) for batch in batches]

    def warm_up(self) -> tuple[float, dict[str, float], list[tuple[float, float]]]:
        """Runs every call once, or as many as fit the warm-up.

        Returns:
            When this process began with the variant (`time.perf_counter`); seconds of imports, of
            loading without them, of compiling (where the runtime compiles: what the first call took
            beyond the next ones) and of the first call; seconds of the first call of each kind, and
            of the other calls of its warm-up.
        """
        phases = {"import": self._runner.import_seconds, "load": self._runner.load_seconds}
        runtime = registry.runtimes.get(self._runner.variant.runtime.name)
        warm = []
        for _, calls in self._calls:
            first = _seconds(calls[0])
            if "first_call" not in phases:
                phases["first_call"] = first
                if runtime.traits.get("compiles"):
                    phases["first_call"] = min(first, median(_seconds(calls[0]) for _ in "abc"))
                    phases["compile"] = first - phases["first_call"]
            others, spent = calls[1:], 0.0
            while others and spent < WARM_SECONDS:
                spent += _seconds(others.pop(0))
            warm.append((first, spent))
        self._cycles = [itertools.cycle(calls) for _, calls in self._calls]
        return self._began, phases, warm

    def turn(self, number: int) -> Turn:
        """Makes the calls of one turn, at whose end this side has come to rest."""
        cycle = self._cycles[number]
        seconds: list[float] = []
        lost, foreign = _switches(), ForeignLoad(alone=True)
        start = now = time.perf_counter()
        while not seconds or now - start < TURN_SECONDS:
            before = now
            next(cycle)()
            now = time.perf_counter()
            seconds.append(now - before)
        load, lost = foreign.load(), _switches() - lost
        time.sleep(REST_SECONDS)
        if len(seconds) > 1 and min(seconds) < SHORT_CALL_SECONDS:
            seconds = seconds[1:]
        return Turn(seconds, *(load or (0.0, 0.0)), lost / (now - start))


def _switches() -> int:
    """Returns how often a thread of this process lost its CPU to another process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def launches(
    driver: Driver, pairing: Pairing, wanted: Callable[[Columns], int]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Does the launches that are not done yet, one after another, and keeps each.

    Args:
        driver: opens the workers and keeps finished launches; another machine's do not count.
        pairing: what a launch does.
        wanted: tells from the columns so far (none at first) how many launches there should be.

    Returns:
        Columns launch, side, condition, turn, phase, seconds, foreign, stolen, switches (of the
        call's turn) and wall (of the launch); and notes.
    """
    columns: dict[str, np.ndarray] = {}
    for number in itertools.count():
        if number >= (count := wanted(columns)):
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
            workers[side] = stack.enter_context(
                driver.worker(
                    Timer,
                    pairing.sides[side],
                    pairing.task,
                    pairing.threads,
                    pairing.calls,
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
            records += _turns(workers, pairing.seconds, at, name, order)
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
    workers: Mapping[str, Any], seconds: float, at: int, name: str, order: random.Random
) -> Iterator[_Record]:
    """Yields the calls of one condition, in rounds of a turn a side.

    Rounds go on until each side was timed `seconds` in quiet ones and their ratios have settled;
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
        timed = (
            len(ratios) >= MIN_ROUNDS
            and quiet >= seconds
            and median_error(np.array(ratios)) <= SETTLED
        )
        if timed or (number >= MIN_ROUNDS and spent >= MOST_TIMES * seconds):
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
