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


class Ready(NamedTuple):
    """Calls of one kind, ready to be made.

    Attributes:
        calls: gone through in turn; preparing them is not timed.
        begin, end: called before and after each turn, untimed.
    """

    calls: Sequence[Callable[[], Any]]
    begin: Callable[[], Any] = tuple
    end: Callable[[], Any] = tuple


class Call(NamedTuple):
    """Answering examples: so many a call, `"task"` or the tokens of each.

    Each kind of call says its `condition` and makes itself `ready`.
    """

    batch_size: int
    length: int | str

    def condition(self) -> dict[str, Any]:
        """Returns what tells it from the other calls of a launch, as rows have it."""
        return {"batch_size": self.batch_size, "length": self.length}

    def ready(self, runner: Runner, examples: Sequence[Any]) -> Ready:
        """Returns calls over the pool of examples, `batch_size` at a time."""
        size = self.batch_size
        pool = list(itertools.islice(itertools.cycle(examples), max(POOL, size)))
        batches = [pool[i : i + size] for i in range(0, len(pool) - size + 1, size)]
        tokens = None if self.length == "task" else int(self.length)
        return Ready([runner.timed(runner.inputs(batch, tokens)) for batch in batches])


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
        self._ready = [call.ready(self._runner, examples) for call in calls]

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
        for calls, begin, end in self._ready:
            begin()
            first = _seconds(calls[0])
            if "first_call" not in phases:
                phases["first_call"] = first
                if runtime.traits.get("compiles"):
                    phases["first_call"] = min(first, median(_seconds(calls[0]) for _ in "abc"))
                    phases["compile"] = first - phases["first_call"]
            others, spent = list(calls[1:]), 0.0
            while others and spent < WARM_SECONDS:
                spent += _seconds(others.pop(0))
            warm.append((first, spent))
            end()
        self._cycles = [itertools.cycle(ready.calls) for ready in self._ready]
        return self._began, phases, warm

    def turn(self, number: int) -> Turn:
        """Makes the calls of one turn, at whose end this side has come to rest."""
        cycle = self._cycles[number]
        self._ready[number].begin()
        seconds: list[float] = []
        lost, foreign = _switches(), ForeignLoad(alone=True)
        start = now = time.perf_counter()
        while not seconds or now - start < TURN_SECONDS:
            before = now
            next(cycle)()
            now = time.perf_counter()
            seconds.append(now - before)
        load, lost = foreign.load(), _switches() - lost
        self._ready[number].end()
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
