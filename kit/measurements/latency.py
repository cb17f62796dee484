"""A timing is a pair: a variant and its baseline, alive together, taking turns.

Why, and what it was measured to bring: a process differs from its twin for as long as it lives, so
the launch is the unit of replication (Kalibera and Jones, "Rigorous benchmarking in reasonable
time", ISMM 2013); turns between living processes take the machine's drift out of the ratio.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SkipValidation

from kit import environment, presets, results, tasks
from kit.measurements.bench import Bench, Columns, Raw, TaskRef
from kit.registry import register_measurement
from kit.runner import Runner
from kit.spec import Ref, SpecError, Variant

TURN_SECONDS = 0.15
SHORT_CALL_SECONDS = 0.05
"""Where calls are shorter, the first of a turn is discarded: caches and threads wake up in it."""
MIN_ROUNDS = 5
POOL = 64
"""Texts that the calls of a condition go through, in turn."""
BUSY_SHARE = 0.1
"""Of all cores; above it the machine is not called quiet."""
SIDES = ("variant", "baseline")


def Latency(
    task: str | Ref,
    *,
    batch_sizes: Sequence[int] | None = None,
    lengths: Sequence[int | str] | None = None,
    threads: int | None = None,
    launches: int | None = None,
    seconds: float | None = None,
    against: Variant | None = None,
) -> Ref:
    """Asks for paired timings; what is not given comes from the preset.

    Args:
        task: whose texts are timed.
        batch_sizes: texts a call.
        lengths: `"task"` for the texts as they are, or a number of tokens they are filled up to.
        threads: of each process; all cores where not given.
        launches: pairs of processes; the interval is over these.
        seconds: timed a launch, condition and side.
        against: the other side of the pair; the study's baseline where not given.
    """
    preset = presets.preset()
    return Ref(
        "latency",
        task=task,
        batch_sizes=batch_sizes or preset["batch_sizes"],
        lengths=lengths or preset["lengths"],
        threads=threads or environment.machine()["threads"],
        launches=preset["launches"] if launches is None else launches,
        seconds=preset["seconds"] if seconds is None else seconds,
        wait=preset["wait"],
        against=against,
    )


class Timer:
    """The target of one side's worker: a runner and the inputs of every condition."""

    def __init__(
        self,
        variant: Variant,
        task: Ref,
        threads: int,
        conditions: Sequence[tuple[int, int | str]],
        texts: Sequence[str],
    ) -> None:
        self._runner = Runner(variant, threads, task)
        self._calls = [self._cycle(batch, length, texts) for batch, length in conditions]

    def _cycle(
        self, batch_size: int, length: int | str, texts: Sequence[str]
    ) -> list[Callable[[], Any]]:
        """Returns calls over the pool of texts, `batch_size` at a time."""
        pool = list(itertools.islice(itertools.cycle(texts), max(POOL, batch_size)))
        batches = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        if self._runner.model.kind == "predictor":
            return [lambda b=batch: self._runner.predict(b) for batch in batches]  # type: ignore[misc]
        if length == "task":
            inputs = [self._runner.inputs(batch) for batch in batches]
        else:
            inputs = [self._runner.pad(self._filled(batch, int(length))) for batch in batches]
        return [self._runner.timed(i) for i in inputs if len(i["input_ids"]) == batch_size]

    def _filled(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Returns token ids of exactly `length`: each text followed by itself."""
        assert self._runner.model.tokenizer is not None
        encoded = self._runner.model.tokenizer.encode(list(texts), length)
        return [list(itertools.islice(itertools.cycle(ids), length)) for ids in encoded]

    def warm_up(self) -> tuple[float, list[float]]:
        """Returns seconds to load, and of each condition's first call; runs every call once."""
        first = []
        for calls in self._calls:
            start = time.perf_counter()
            calls[0]()
            first.append(time.perf_counter() - start)
            for call in calls[1:]:
                call()
        self._cycles = [itertools.cycle(calls) for calls in self._calls]
        return self._runner.load_seconds, first

    def turn(self, condition: int) -> list[float]:
        """Returns the seconds of the calls of one turn."""
        cycle = self._cycles[condition]
        seconds: list[float] = []
        start = now = time.perf_counter()
        while not seconds or now - start < TURN_SECONDS:
            before = now
            next(cycle)()
            now = time.perf_counter()
            seconds.append(now - before)
        if len(seconds) > 1 and min(seconds) < SHORT_CALL_SECONDS:
            return seconds[1:]
        return seconds


@dataclass
class Driver:
    """What a measurement that starts its own processes gets from the study.

    Attributes:
        variant: what is measured.
        worker: opens a worker: `with driver.worker(Factory, *args, threads=n) as worker`.
        parts: finished launches by name, from an earlier call that was stopped.
        save_part: keeps a finished launch.
        progress: shows a text beside the bar.
    """

    variant: Variant
    worker: Callable[..., contextlib.AbstractContextManager[Any]]
    parts: dict[str, dict[str, np.ndarray]]
    save_part: Callable[[str, Columns], None]
    progress: Callable[[str], None]


def _guess(args: Mapping[str, Any]) -> float:
    """Returns about how many seconds a latency run takes."""
    timed = 2.4 * len(args["batch_sizes"]) * len(args["lengths"]) * args["seconds"]
    return float(args["launches"] * (12 + timed))


@register_measurement(where="driver", artifacts=("timing",), version=1, seconds=_guess)
def latency(
    driver: Driver,
    *,
    task: TaskRef,
    split: str = "test",
    batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 32),
    lengths: tuple[Annotated[int, Field(ge=1)] | Literal["task"], ...] = ("task",),
    threads: Annotated[int, Field(ge=1)] = 1,
    launches: Annotated[int, Field(ge=1)] = 4,
    seconds: Annotated[float, Field(gt=0)] = 1.5,
    wait: Annotated[float, Field(ge=0)] = 30.0,
    against: SkipValidation[Variant] | None = None,
) -> Raw:
    """Seconds a call of a variant and of its baseline, taking turns in several launches.

    Args:
        driver: opens the workers and keeps finished launches.
        task: whose texts are timed; tokenization is outside.
        split: which part of it.
        batch_sizes: texts a call.
        lengths: `"task"`, or tokens that each text is filled up to.
        threads: of each process.
        launches: pairs of processes.
        seconds: timed a launch, condition and side, in at least 5 rounds.
        wait: seconds that a launch waits for a quiet machine.
        against: the other side; the study fills it in.
    """
    if against is None:
        raise SpecError("a timing is a pair: give Latency(against=...) or a study's baseline")
    texts = list(tasks.load(task).split(split, POOL)["text"])
    conditions = list(itertools.product(batch_sizes, lengths))
    names = [
        results.condition(batch_size=batch, length=length, threads=threads)
        for batch, length in conditions
    ]
    pair = {"variant": driver.variant, "baseline": against}
    difference = 0.0
    if driver.variant.runtime.name != "eager":
        with driver.worker(Bench, threads=threads) as worker:
            difference = worker.call("verify", driver.variant, texts[:4], threads, task)
    notes, loads = [], []
    if difference:
        notes.append(f"output within {difference:.2g} of eager's largest logit")
    for launch in range(launches):
        part = f"launch-{launch}-{environment.machine_key()}"
        if part in driver.parts:
            continue
        driver.progress(f"launch {launch + 1} of {launches}")
        _wait_for_quiet(driver, wait)
        load = environment.ForeignLoad()
        with contextlib.ExitStack() as stack:
            workers = {
                side: stack.enter_context(
                    driver.worker(Timer, variant, task, threads, conditions, texts, threads=threads)
                )
                for side, variant in pair.items()
            }
            columns = _launch(workers, names, launch, seconds)
        busy = load.share()
        loads.append(busy)
        driver.parts[part] = dict(columns)
        driver.save_part(part, columns)
    busiest = max((value for value in loads if value is not None), default=0.0)
    if busiest > BUSY_SHARE:
        notes.append(f"others used up to {busiest:.0%} of the cores")
    mine = [c for name, c in driver.parts.items() if name.endswith(environment.machine_key())]
    columns = {name: np.concatenate([part[name] for part in mine]) for name in mine[0]}
    return Raw("timing", columns, {"notes": notes})


def _wait_for_quiet(driver: Driver, limit: float) -> None:
    """Waits until others leave the cores alone, or for `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        load = environment.ForeignLoad()
        time.sleep(0.5)
        busy = load.share()
        if busy is None or busy <= BUSY_SHARE:
            return
        driver.progress(f"waiting for quiet: others use {busy:.0%} of the cores")


def _launch(
    workers: dict[str, Any], conditions: Sequence[str], launch: int, seconds: float
) -> dict[str, np.ndarray]:
    """Returns the columns of one launch: turns of both sides and all conditions in random order."""
    rows: list[tuple[int, str, str, int, str, float]] = []
    for side, worker in workers.items():
        load, first_calls = worker.call("warm_up")
        rows.append((launch, side, "", 0, "load", load))
        rows += [
            (launch, side, condition, 0, "first_call", first)
            for condition, first in zip(conditions, first_calls, strict=True)
        ]
    order = random.Random(launch)
    spent = dict.fromkeys(itertools.product(range(len(conditions)), workers), 0.0)
    for number in itertools.count():
        due = [key for key, total in spent.items() if total < seconds or number < MIN_ROUNDS]
        due = [key for key in spent if key[0] in {condition for condition, _ in due}]
        if not due:
            break
        order.shuffle(due)
        for condition, side in due:
            calls = workers[side].call("turn", condition)
            spent[condition, side] += sum(calls)
            name = conditions[condition]
            rows += [(launch, side, name, number, "call", value) for value in calls]
    names = ("launch", "side", "condition", "round", "phase", "seconds")
    return {
        name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
