"""An episode: work is started, killed at random moments, started again, and compared.

What is compared are the folder, the tables and the processes of the episode with those of the same
work that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import pandas as pd
import psutil

from kit import results
from kit.trust.place import (
    Place,
    Process,
    compared,
    held_locks,
    orphans,
    processes,
    redone,
    stamps,
    strays,
)

GRACE = 2.5
"""Seconds after a kill of the driver in which its workers have to end by themselves."""
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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What the work leaves when nobody kills it.

    Attributes:
        place: its folders.
        seconds: that it took, those before `after` left out.
        files: it left.
        tables: it published.
    """

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
        return self.seconds

    @property
    def seconds(self) -> float:
        """Seconds since it said `after`."""
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

    def _targets(self, whom: str) -> list[tuple[int, float]]:
        found = processes(self._place)
        driver = {one for one in found if one[0] == self._process.pid}
        return sorted({"driver": driver, "worker": found - driver}.get(whom, found))

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
    place.prepare()
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
    rng = random.Random(seed)
    place.prepare()
    counts = dict.fromkeys(COUNTS, 0)
    left, known = expected.seconds * work.share, stamps(place)
    dying: tuple[set[Process], float] = set(), 0.0

    def check() -> None:
        nonlocal dying
        counts["orphans"] += orphans(place, *dying)
        dying = set(), 0.0  # each is counted once
        now = stamps(place)
        counts["redone_runs"] += redone(known, now)
        known.update(now)

    for command in work.commands:
        while not stop():
            one = Try(command, place, work.after)
            if counts["kills"] == work.kills:
                one.finish()
                break
            delay = rng.uniform(0.0, max(left, SHORTEST))
            hit = one.kill(delay, work.whom, rng)
            check()
            if not hit:
                break
            counts["kills"] += 1
            left -= 0.7 * delay  # most of what was done then is not done again
            dying = processes(place), time.monotonic() + GRACE
            if rng.random() < 0.5:  # else the next try meets what still ends
                check()
    dying = processes(place), time.monotonic() + GRACE
    check()
    found: dict[str, list[str]] = {"lost_rows": [], "changed_rows": []}
    for name, table in _tables(work, place).items():
        lost, changed = compared(expected.tables[name], table)
        found["lost_rows"] += lost
        found["changed_rows"] += changed
    found["stray_files"] = strays(place, expected.files)
    counts |= {name: len(what) for name, what in found.items()}
    counts["stale_locks"] = held_locks([place.root])
    return counts, found
