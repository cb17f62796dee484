"""How busy others keep the machine, and a way to keep it busy on purpose."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC_STAT = Path("/proc/stat")
BUSY_SHARE = 0.1
"""Of all CPUs, taken by others; above it the machine is not called quiet."""
MIN_ROUNDS = 5
"""Quiet rounds that a launch needs."""
BUSY = "busy"
"""Marks a timing that lost launches to others, and asks for it anew: `study.run(redo="busy")`."""
LONGEST = 3600.0
"""Seconds after which a process that keeps a core busy ends whatever happens."""


class Load(NamedTuple):
    """Shares of the time of all CPUs, 0..1."""

    foreign: float  # taken by others than this process and its descendants, stolen time included
    stolen: float  # by the hypervisor, for other guests


class ForeignLoad:
    """Share of the machine's CPU time that others take: busy time less our own processes'.

    The clock starts when the object is made. Ours are this process and all its descendants, those
    that ended included. Time stolen by the hypervisor counts as foreign.

    Args:
        alone: this process without its descendants is what is ours: it is read in microseconds.

        load = ForeignLoad()
        ...                    # what is being timed
        load.share()           # 0.03: others used 3% of all CPUs since then
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._own = time.process_time if alone else _own_seconds
        self._start = self._read()

    def share(self) -> float | None:
        """Foreign share since the start, 0..1; None without `/proc` or when no time has passed."""
        load = self.load()
        return None if load is None else load.foreign

    def load(self) -> Load | None:
        """Foreign and stolen share since the start; None where `share` is."""
        now = self._read()
        if now is None or self._start is None:
            return None
        total, busy, own, stolen = (b - a for a, b in zip(self._start, now, strict=True))
        if total <= 0:
            return None
        return Load(min(max((busy - own) / total, 0.0), 1.0), max(stolen / total, 0.0))

    def _read(self) -> tuple[float, float, float, float] | None:
        """Seconds so far, summed over CPUs: all, busy, of our own processes, stolen."""
        try:
            words = PROC_STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
        except OSError:
            return None
        # user nice system idle iowait irq softirq steal; guest time is part of user
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in words[1:9]]
        return sum(ticks), sum(ticks) - ticks[3] - ticks[4], self._own(), ticks[7]


def _own_seconds() -> float:
    import psutil

    this, seconds = psutil.Process(), 0.0
    for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:4])  # user, system, and of ended children both
    return seconds


_BURN = """
import os, sys, time
driver, longest = int(sys.argv[1]), float(sys.argv[2])
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
ends = time.monotonic() + longest
while time.monotonic() < ends and os.path.exists(f"/proc/{driver}"):
    sum(range(100_000))
"""


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keeps some cores busy with processes that are nobody's children, as other users' are.

    They end with the block, with this process, or after an hour.
    """
    pids = []
    command = [sys.executable, "-c", _BURN, str(os.getpid()), str(LONGEST)]
    try:
        for _ in range(cores):
            told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            pids.append(int(told.stdout))
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
