"""One side of a timing: a process that makes calls when it is its turn."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from kit.build.runner import Runner
from kit.machine.load import ForeignLoad
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Variant

TURN_SECONDS = 0.15
SHORT_CALL_SECONDS = 0.05
"""Where calls are shorter, the first of a turn is discarded: caches and threads wake up in it."""
REST_SECONDS = 0.01
"""After a turn, outside of what is timed: threads that still spin (OpenMP's, up to 4 ms) stop."""
WARM_SECONDS = 2.0
"""After which a warm-up ends, though not every call was made: on a busy machine calls take long."""
POOL = 64
"""Examples that the calls of a condition go through, in turn."""


class Call(NamedTuple):
    """One kind of call that is timed: examples a call, and `"task"` or the tokens of each."""

    batch_size: int
    length: int | str


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
    """The target of one side's worker: a runner and the inputs of every call."""

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
