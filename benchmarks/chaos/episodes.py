"""An episode: work is started, killed at random moments, started again, and compared.

What is compared are the folder, the tables and the processes of the episode with those of the same
work that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import psutil

from benchmarks.chaos.place import Place, Process, Watch, compared, held_locks, processes, strays
from kit.store import results

LIMIT = 900.0
"""Seconds after which a try is given up."""
SHORTEST = 1.5
"""Least seconds of the interval from which the moment of a kill is drawn."""
COUNTS = (
    *("kills", "redone_runs", "lost_rows", "changed_rows"),
    *("stray_files", "orphans", "stale_locks"),
)


class Failed(RuntimeError):
    """A try that nobody disturbed did not end well: nothing can be compared."""


@dataclass(frozen=True)
class Work:
    """What is done and killed.

    Attributes:
        commands: arguments of Python, one process after another.
        whom: a kill hits the `driver`, a `worker` (one of its descendants), `any` of them, or
            `all` (as a power cut does).
        after: what the process says before the time begins in which kills fall.
        share: of that time, from its start, in which kills fall.
        tables: stems of the tables it publishes.
        kills: at most so many in one episode.
    """

    commands: Sequence[Sequence[str]]
    whom: Literal["driver", "worker", "any", "all"] = "driver"
    after: str = ""
    share: float = 1.0
    tables: Sequence[str] = ()
    kills: int = 3


@dataclass(frozen=True)
class Undisturbed:
    """What the work leaves when nobody kills it, and the seconds that it took since `after`."""

    place: Place
    seconds: float
    files: frozenset[str]
    tables: Mapping[str, pd.DataFrame]


class Try:
    """One process of the work, from its start to its end or a kill."""

    def __init__(self, command: Sequence[str], place: Place, after: str) -> None:
        self._place, self._after = place, after
        self._output = place.temporary / "output.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=place.project,
                env=place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._begun = time.monotonic()

    def finish(self) -> float:
        """Waits for the end; returns the seconds since it said `after`.

        Raises:
            Failed: it did not end well, or not in time.
        """
        self._start_clock()
        try:
            code = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            kill(processes(self._place))
            raise Failed(f"not done after {LIMIT:g} s") from None
        if code:
            raise Failed(f"exit code {code}: {self._output.read_text(errors='replace')[-2000:]}")
        return time.monotonic() - self._begun

    def kill(self, delay: float, whom: str, rng: random.Random) -> bool:
        """Kills after `delay` seconds; returns False if it had ended well before.

        A driver whose worker was killed goes on to its own end.
        """
        self._start_clock()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, self._begun + delay - time.monotonic()))
        while self._process.poll() is None:
            targets = self._targets(whom)
            if kill(targets if whom == "all" else rng.sample(targets, min(1, len(targets)))):
                self._process.wait(LIMIT)
                return True
            time.sleep(0.05)  # until there is a worker
        self.finish()
        return False

    def _targets(self, whom: str) -> list[Process]:
        there = processes(self._place)
        driver = {one for one in there if one[0] == self._process.pid}
        return sorted({"driver": driver, "worker": there - driver}.get(whom, there))

    def _start_clock(self) -> None:
        """Waits until the process has said `after`, or ended."""
        while self._after and self._process.poll() is None:
            if self._after in self._output.read_text(errors="replace"):
                self._begun = time.monotonic()
                return
            time.sleep(0.01)


def kill(chosen: Iterable[Process]) -> int:
    """Kills processes at once and returns how many were still there."""
    hit = 0
    for pid, started in chosen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.create_time() == started:
                process.kill()
                hit += 1
    return hit


def undisturbed(work: Work, place: Place) -> Undisturbed:
    """Does the work once, from what the place holds.

    Raises:
        Failed: it did not end well.
    """
    seconds = sum(Try(command, place, work.after).finish() for command in work.commands)
    return Undisturbed(place, seconds, frozenset(place.files()), _tables(work, place))


def _tables(work: Work, place: Place) -> dict[str, pd.DataFrame]:
    folder = place.project / "results" / "smoke"
    return {name: results.read_table(folder / f"{name}.csv") for name in work.tables}


def episode(
    work: Work, expected: Undisturbed, place: Place, seed: int, stop: Callable[[], bool]
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Does the work under kills, then to its end, and counts what is not as it should be.

    Args:
        work: what is done.
        expected: what it leaves undisturbed.
        place: holds what the work starts from.
        seed: of the moments, of whom a kill hits and of how soon the next try follows.
        stop: says that the whole test is to end.

    Returns:
        A count by each name of `COUNTS`, and what the lost, changed and stray ones are.

    Raises:
        Failed: a try that nobody disturbed did not end well.
    """
    rng, kills, left = random.Random(seed), 0, expected.seconds * work.share
    watch = Watch(place)
    for command in work.commands:
        while not stop():
            one = Try(command, place, work.after)
            if kills == work.kills:
                one.finish()
                break
            delay = rng.uniform(0.0, max(left, SHORTEST))
            hit = one.kill(delay, work.whom, rng)
            watch.check()
            if not hit:
                break
            kills += 1
            left -= 0.7 * delay  # most of what was done then is not done again
            watch.killed()
            if rng.random() < 0.5:  # else the next try meets what still ends
                watch.check()
    watch.killed()
    watch.check()
    found: dict[str, list[str]] = {"lost_rows": [], "changed_rows": []}
    for name, table in _tables(work, place).items():
        lost, changed = compared(expected.tables[name], table)
        found["lost_rows"] += lost
        found["changed_rows"] += changed
    found["stray_files"] = strays(place, expected.files)
    numbers = [kills, watch.redone, *map(len, found.values()), watch.orphans]
    return dict(zip(COUNTS, [*numbers, held_locks(place.root)], strict=True)), found
