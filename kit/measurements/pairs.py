"""Two processes alive together, taking turns: how every time is measured.

A process differs from its twin for as long as it lives, so the launch is the unit of replication
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013); turns between living
processes take the machine's drift out of the ratio. What was measured of this: results/90_selftest.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from kit import environment, registry, results
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
MIN_ROUNDS = 5
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
        planted: share by which the variant's side is slowed down on purpose, by a busy wait.
    """

    batch_size: int
    length: int | str
    planted: float = 0.0


@dataclass(frozen=True)
class Pairing:
    """What a launch does, whichever it is.

    Attributes:
        sides: the variant and its baseline, by the names in `SIDES`.
        task: whose examples are timed.
        examples: at most `POOL` of them.
        calls: what is timed, all in one launch.
        threads: of each process.
        seconds: timed a launch, call and side, in at least `MIN_ROUNDS` rounds.
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
                planted=call.planted or None,
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


class Timer:
    """The target of one side's worker: a runner and the inputs of every call.

    Args:
        variant: this side.
        task: gives labels to a pretrained classifier.
        threads: of the process.
        calls: what is timed; a planted share slows this side down.
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
        made: list[Callable[[], Any]]
        if self._runner.model.kind == "predictor":
            made = [lambda b=batch: self._runner.predict(b) for batch in batches]  # type: ignore[misc]
        else:
            made = [self._runner.timed(self._inputs(call, batch)) for batch in batches]
        return [_slower(one, call.planted) for one in made] if call.planted else made

    def _inputs(self, call: Call, batch: Sequence[Any]) -> Mapping[str, Any]:
        """Returns a batch of the examples as they are, or filled up to a number of tokens."""
        if call.length == "task":
            return self._runner.inputs(batch)
        preprocessor = self._runner.model.preprocessor
        return preprocessor.collate(preprocessor.filled(batch, int(call.length)))

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
        for call, calls in self._calls:
            first = _seconds(calls[0])
            if "first_call" not in phases:
                phases["first_call"] = first
                if runtime.traits.get("compiles"):
                    phases["first_call"] = min(first, median(_seconds(calls[0]) for _ in "abc"))
                    phases["compile"] = first - phases["first_call"]
            others, spent = calls[1:], 0.0
            while others and spent < WARM_SECONDS and not call.planted:  # that one is warm by then
                spent += _seconds(others.pop(0))
            warm.append((first, spent))
        self._cycles = [itertools.cycle(calls) for _, calls in self._calls]
        return self._began, phases, warm

    def turn(self, number: int) -> list[float]:
        """Returns the seconds of the calls of one turn, at whose end this side has come to rest."""
        cycle = self._cycles[number]
        seconds: list[float] = []
        start = now = time.perf_counter()
        while not seconds or now - start < TURN_SECONDS:
            before = now
            next(cycle)()
            now = time.perf_counter()
            seconds.append(now - before)
        time.sleep(REST_SECONDS)
        if len(seconds) > 1 and min(seconds) < SHORT_CALL_SECONDS:
            return seconds[1:]
        return seconds

    def switches(self) -> int:
        """Returns how often a thread of this process lost its CPU to another process so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _slower(call: Callable[[], Any], share: float) -> Callable[[], Any]:
    """Returns the call followed by a busy wait of a share of what it took."""

    def slow() -> Any:
        start = time.perf_counter()
        answer = call()
        ends = start + (time.perf_counter() - start) * (1 + share)
        while time.perf_counter() < ends:
            pass
        return answer

    return slow


def launches(
    driver: Driver, pairing: Pairing, wanted: Callable[[Columns], int]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Does the launches that are not done yet, one after another, and keeps each.

    Args:
        driver: opens the workers and keeps finished launches; another machine's do not count.
        pairing: what a launch does.
        wanted: tells from the columns so far (none at first) how many launches there should be.

    Returns:
        Columns launch, side, condition, round, phase, seconds, foreign, stolen, switches and wall
        (of the launch); and notes.
    """
    columns: dict[str, np.ndarray] = {}
    for number in itertools.count():
        if number >= (count := wanted(columns)):
            break
        part = f"launch-{number:03d}-{environment.machine_key()}"
        if part not in driver.parts:
            driver.progress(f"launch {number + 1} of {count}")
            made = _one_launch(driver, pairing, number)
            driver.parts[part] = made
            driver.save_part(part, made)
        new = driver.parts[part]
        columns = {
            name: np.concatenate([columns[name], new[name]]) if columns else new[name]
            for name in new
        }
    busiest = float(columns["foreign"].max())
    note = f"others used up to {busiest:.0%} of the cores"
    return columns, [note] if busiest > BUSY_SHARE else []


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
    """Starts both sides one after the other, then gives them turns in random order."""
    began = time.perf_counter()
    _wait_for_quiet(driver, pairing.wait)
    order, sides = random.Random(number), list(pairing.sides)
    if number % 2:  # who starts second finds warmer files: each side is first as often
        sides.reverse()
    records: list[_Record] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(busy(pairing.busy_cores))
        foreign = ForeignLoad()
        workers = {}
        for side in sides:
            calls = pairing.calls
            if side != "variant":
                calls = [replace(call, planted=0.0) for call in calls]
            worker = driver.worker(
                Timer, pairing.sides[side], pairing.task, pairing.threads, calls, pairing.examples,
                threads=pairing.threads,
            )  # fmt: skip
            workers[side] = stack.enter_context(worker)
            records += _started(workers[side], side, pairing.names())
        before = {side: worker.call("switches") for side, worker in workers.items()}
        start = time.perf_counter()
        records += _turns(workers, pairing, order)
        taken = time.perf_counter() - start
        load = foreign.load()
        after = {side: worker.call("switches") for side, worker in workers.items()}
    switches = {side: (after[side] - before[side]) / taken for side in workers}
    names = ("side", "condition", "round", "phase", "seconds")
    made = dict(zip(names, map(np.array, zip(*records, strict=True)), strict=True))
    size = len(records)
    return {
        "launch": np.full(size, number),
        **made,
        "foreign": np.full(size, load.foreign if load else 0.0),
        "stolen": np.full(size, load.stolen if load else 0.0),
        "switches": np.array([switches[side] for side in made["side"]]),
        "wall": np.full(size, time.perf_counter() - began),
    }


_Record = tuple[str, str, int, str, float]
"""Side, condition, round, phase, seconds."""


def _started(worker: Any, side: str, names: Sequence[str]) -> Iterator[_Record]:
    """Warms a worker up; yields what its start was made of, and each kind's first calls."""
    began, phases, warm = worker.call("warm_up")
    phases["import"] += began - worker.started
    yield from ((side, "", 0, phase, seconds) for phase, seconds in phases.items())
    for name, (first, others) in zip(names, warm, strict=True):
        yield side, name, 0, "first_call", first
        yield side, name, 0, "warm_up", others


def _turns(workers: Mapping[str, Any], pairing: Pairing, order: random.Random) -> Iterator[_Record]:
    names = pairing.names()
    spent = dict.fromkeys(itertools.product(range(len(names)), workers), 0.0)
    for number in itertools.count(1):
        short = {
            at
            for (at, _), total in spent.items()
            if total < pairing.seconds or number <= MIN_ROUNDS
        }
        due = [key for key in spent if key[0] in short]
        if not due:
            return
        order.shuffle(due)
        for at, side in due:
            calls = workers[side].call("turn", at)
            spent[at, side] += sum(calls)
            yield from ((side, names[at], number, "call", seconds) for seconds in calls)


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
