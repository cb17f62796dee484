"""Kills the kit at random moments and counts what it loses: a measurement and its metrics.

Importing this module registers them; only `notebooks/91_chaos.ipynb` does.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import itertools
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from kit import disk, presets, results, store
from kit.analysis.statistics.intervals import Array
from kit.measurements.bench import Driver, Raw
from kit.ref import Ref, content_hash
from kit.registry import metrics, register_measurement
from kit.spec import Run, Variant
from kit.trust.episodes import COUNTS, Failed, Undisturbed, Work, episode, kill, undisturbed
from kit.trust.place import Place, processes
from kit.values import Undefined

Target = Literal["driver", "worker", "build", "publish", "fetch", "study"]
SIDE_BY_SIDE = 2
MOST_NAMED = 10
"""Rows or files of an episode that are named; all are counted."""
NOTEBOOKS = ("01_quickstart", "02_sentiment")
ASSET = "mnist"
"""The smallest that is fetched as a wheel."""
_VICTIM = [["-m", "kit.trust.victim"]]
_TABLE = ["99_victim"]
_NAMES = ("quantity", "condition", "episode", "value", "detail")
WORKS = {
    "driver": Work(_VICTIM, tables=_TABLE),
    "worker": Work(_VICTIM, whom="worker", tables=_TABLE),
    "build": Work(_VICTIM, whom="all", share=0.4, tables=_TABLE),
    "publish": Work(_VICTIM, after="publishing", tables=_TABLE),
    "fetch": Work([["-c", f"from kit import assets; assets.fetch({ASSET!r})"]]),
    "study": Work([["-m", "kit", "run", n] for n in NOTEBOOKS], "any", tables=NOTEBOOKS, kills=5),
}


def split(kills: int) -> dict[Target, int]:
    """Returns how many kills each target gets: a tenth the real studies, the others alike."""
    study = kills // 10
    tiny: tuple[Target, ...] = ("driver", "publish", "fetch", "build", "worker")
    share, more = divmod(kills - study, len(tiny))
    counts: dict[Target, int] = {name: share + (at < more) for at, name in enumerate(tiny)}
    return {name: count for name, count in {**counts, "study": study}.items() if count}


def runs(kills: int | None = None) -> list[Run]:
    """Returns a run for each target; `kills` in all, the preset's number where not given."""
    ours = Variant(Ref("majority"), name="kit")
    counts = split(kills or presets.preset()["kills"])
    return [Run(ours, Ref("chaos", target=name, kills=count)) for name, count in counts.items()]


_until_exit = contextlib.ExitStack()
atexit.register(_until_exit.close)


@functools.cache
def _workplace() -> Path:
    """Returns a folder for all episodes of this process; after a kill the next one removes it."""
    parent = Path(tempfile.gettempdir())
    disk.sweep(parent)
    return _until_exit.enter_context(disk.temporary_folder(parent))


def _place(target: str, name: str) -> Place:
    root = _workplace() / name
    place = Place(root, root / "cache" if target == "fetch" else None)
    if target == "study":
        for notebook in NOTEBOOKS:
            source = store.project_root() / "notebooks" / f"{notebook}.ipynb"
            (place.project / "notebooks").mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place.project / "notebooks")
    return place


@functools.cache
def _expected(target: str) -> Undisturbed:
    """Returns what the target's work leaves undisturbed; made once in this process."""
    if target in ("worker", "build"):
        return _expected("driver")
    place = _place(target, f"undisturbed-{target}")
    if target == "publish":
        shutil.copytree(_expected("driver").place.store, place.store)
    return undisturbed(WORKS[target], place)


def _put(target: str, number: int, place: Place) -> float:
    """Puts into a place what an episode starts from; returns the share of the work that is left."""
    if target == "publish":
        shutil.copytree(_expected(target).place.store, place.store)
    elif target in ("driver", "worker") and number % 2 == 0:  # trained, exported, not measured
        finished = _expected(target).place.store
        shutil.copytree(finished, place.store, ignore=shutil.ignore_patterns("artifacts", "rows"))
        return 0.6
    return 1.0


@register_measurement(
    where="driver", artifacts=("chaos",), version=1, seconds=lambda args: 30 + 8.0 * args["kills"]
)
def chaos(
    driver: Driver,
    *,
    target: Target,
    kills: Annotated[int, Field(ge=1)],
    seed: int = 0,
) -> Raw:
    """Counts of what SIGKILL at random moments leaves behind, episode by episode.

    In an episode a piece of work is killed up to three times (a real study five times), each time
    followed by another try, the last of which completes; then it is compared with the same work
    undisturbed. The moments are seeded; what they hit is the machine's luck.

    Args:
        driver: keeps finished episodes.
        target: what is killed: the `driver` or a `worker` of a tiny study, all its processes in a
            `build`, its `publish`, the `fetch` of an asset, or any process of a real `study`.
        kills: in all.
        seed: of the moments.

    Raises:
        Undefined: a system without `/proc`, or an index that is not reached.
    """
    if not sys.platform.startswith("linux"):
        raise Undefined("orphans are found in /proc, which this system does not have")
    try:
        expected = _expected(target)
    except Failed as error:
        if target == "fetch" and "ConnectionError" in str(error):
            raise Undefined("the package index was not reached") from error
        raise
    _Bench(driver, target, seed, expected).run(kills)
    parts = driver.parts.values()
    columns = {name: np.concatenate([part[name] for part in parts]) for name in _NAMES}
    pairs = zip(columns["quantity"].tolist(), columns["detail"].tolist(), strict=True)
    notes = sorted({f"{name}: {text}" for name, text in pairs if text})
    return Raw("chaos", columns, {"notes": notes})


class _Bench:
    """The episodes of one run, some side by side."""

    def __init__(self, driver: Driver, target: str, seed: int, expected: Undisturbed) -> None:
        self._driver, self._target, self._seed = driver, target, seed
        self._expected = expected
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._numbers = itertools.count()
        self._places: set[Place] = set()

    def run(self, kills: int) -> None:
        """Makes episodes until so many kills have hit, those of an earlier call included."""
        done = [part["value"][part["quantity"] == "kills"] for part in self._driver.parts.values()]
        self._left, self._most = kills - int(sum(map(sum, done))), 3 * kills + 5
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            futures = [pool.submit(self._work) for _ in range(SIDE_BY_SIDE)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stopped.set()
                for place in self._places:
                    kill(processes(place))
                raise

    def _work(self) -> None:
        """Makes one episode after another."""
        work = WORKS[self._target]
        while not self._stopped.is_set():
            with self._lock:
                wanted = min(work.kills, self._left)
                if wanted <= 0:
                    return
                self._left -= wanted
                self._driver.progress(f"{self._left + wanted} kills of {self._target} to go")
                number = next(n for n in self._numbers if f"episode-{n}" not in self._driver.parts)
            if number > self._most:
                raise Failed(f"{number} episodes, and the kills still come too late")
            place = _place(self._target, f"{self._target}-{number}")
            self._places.add(place)
            share = work.share * _put(self._target, number, place)
            counts, found = episode(
                dataclasses.replace(work, kills=wanted, share=share),
                self._expected,
                place,
                int(content_hash(self._target, self._seed, number), 16),
                self._stopped.is_set,
            )
            if not self._stopped.is_set():
                columns = _columns(self._target, number, counts, found)
                with self._lock:
                    self._left += wanted - counts["kills"]
                    self._driver.parts[f"episode-{number}"] = columns
                    self._driver.save_part(f"episode-{number}", columns)
            shutil.rmtree(place.root, ignore_errors=True)


def _columns(
    target: str, number: int, counts: dict[str, int], found: dict[str, list[str]]
) -> dict[str, np.ndarray]:
    size = len(counts)
    return {
        "quantity": np.array(list(counts)),
        "condition": np.array([results.condition(target=target)] * size),
        "episode": np.full(size, number),
        "value": np.array(list(counts.values())),
        "detail": np.array([" | ".join(found.get(name, [])[:MOST_NAMED]) for name in counts]),
    }


def _count(name: str, about: str, better: bool | None = False) -> None:
    """Registers the sum over episodes of one count as a metric."""

    def count(value: Array) -> float:
        return float(value.sum())

    count.__doc__ = about
    metrics.register(
        count,
        name=name,
        version=1,
        owner=(__name__, name),
        artifacts=("chaos",),
        unit="count",
        interval=None,
        higher_is_better=better,
        where={"quantity": name},
        note="counted, not sampled: no interval",
    )


_ABOUT = {
    "kills": "Times that a process was killed.",
    "redone_runs": "Runs that were finished before a kill and done again after it.",
    "lost_rows": "Rows that the undisturbed table has and this one lacks.",
    "changed_rows": "Rows of quality that tell something else, and rows too many.",
    "stray_files": "Files that the undisturbed work does not leave.",
    "orphans": "Processes that outlived their driver by more than the time they are given.",
    "stale_locks": "Locks that are still held when all is over.",
}
for _name in COUNTS:
    _count(_name, _ABOUT[_name], None if _name == "kills" else False)
