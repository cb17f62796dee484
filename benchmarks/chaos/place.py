"""The folders and processes of a piece of work, and what a kill may have left in them.

Reads `/proc`, so it works on Linux alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import psutil
from filelock import FileLock, Timeout

from benchmarks.common import ROOT
from kit.spec.kinds import TASKS
from kit.spec.registry import counted, metrics
from kit.store import results

GRACE = 2.5
"""Seconds after a kill of the driver in which its workers have to end by themselves."""
EXACT = tuple(kind.artifact for kind in TASKS.values())
"""Kinds of artifacts whose numbers have to come out equal; those of a timing never do."""
_TOO_FEW = re.compile(r"\d+ calls; p\d+ needs \d+")
"""Why a percentile is undefined: how many calls a turn holds is the machine's load, no kill's."""
_CACHE = re.compile(r"project/runs/(memo/[0-9a-f]{16}\.json|inductor/.*)")

Process = tuple[int, float]
"""Its id and when it started."""


class Place:
    """The folders of one episode: a project with its store, a temporary folder, perhaps a cache.

    Args:
        root: holds them all and nothing else.
        fetches: assets go to a cache of its own, not to the user's.
    """

    def __init__(self, root: Path, *, fetches: bool = False) -> None:
        self.root, self.project, self.temporary = root, root / "project", root / "tmp"
        self.store = self.project / "runs"
        self._cache = root / "cache" if fetches else None
        for folder in (self.project / "notebooks", self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Returns the variables of its processes; the store's is also how they are found again."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        given = {"KIT_STORE": self.store, "TMPDIR": self.temporary, "KIT_PRESET": "smoke"}
        given |= {"PYTHONPATH": os.pathsep.join(paths)}
        given |= {"KIT_CACHE": self._cache} if self._cache else {}
        return {**os.environ, **{name: str(value) for name, value in given.items()}}

    def files(self) -> set[str]:
        """Returns the files there are, by their paths below the root."""
        there = {path for path in self.root.rglob("*") if not path.is_dir()}
        there -= {*self.temporary.rglob("*")}  # others' files are others'
        there |= {*self.temporary.glob(".tmp-*")}
        return {path.relative_to(self.root).as_posix() for path in there}


def processes(place: Place) -> set[Process]:
    """Returns every living process of a place, whoever started it."""
    mark = f"KIT_STORE={place.store}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if mark in entry.read_bytes().split(b"\0"):
                pid = int(entry.parent.name)
                found.add((pid, psutil.Process(pid).create_time()))
    return found


class Watch:
    """Counts what kills cost while an episode lasts.

    Attributes:
        orphans: processes that outlived their driver by more than `GRACE`.
        redone: runs that were finished before a kill and not kept.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._saved = place, _saved(place)
        self._dying: set[Process] = set()
        self._until = 0.0
        self.orphans = self.redone = 0

    def killed(self) -> None:
        """Notes who has to end by itself from now on."""
        self._dying, self._until = processes(self._place), time.monotonic() + GRACE

    def check(self) -> None:
        """Waits for those who have to end, and counts; each orphan once."""
        while (living := self._dying & processes(self._place)) and time.monotonic() < self._until:
            time.sleep(0.1)
        self.orphans += len(living)
        self._dying = set()
        now = _saved(self._place)
        self.redone += sum(now.get(run_id) != when for run_id, when in self._saved.items())
        self._saved |= now


def _saved(place: Place) -> dict[str, int]:
    """Returns when each finished run of a store was saved, by its id."""
    infos = (place.store / "artifacts").glob("*/info.json")
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))["info"]["saved"] for path in infos
    }


def held_locks(folder: Path) -> int:
    """Counts the lock files that nobody lives to free: all can be taken when all is over."""
    held = 0
    for path in folder.rglob("*.lock"):
        try:
            with FileLock(path, timeout=0.2):
                pass
        except Timeout:
            held += 1
    return held


def strays(place: Place, expected: Iterable[str]) -> list[str]:
    """Returns the files that the undisturbed work did not leave, whatever their names tell."""
    return sorted(file for file in place.files() - {*expected} if not _CACHE.fullmatch(file))


def compared(expected: pd.DataFrame, found: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Returns the rows that are lost, and those that are new or tell something else, in words.

    Of a timing the key has to be there and the status the same, unless a percentile had too few
    calls in one of them; all else has to be equal.
    """
    old, new = (_by_key(table) for table in (expected, found))
    lost = [_words(key) for key in old if key not in new]
    changed = [
        f"{_words(key)}: {_difference(old.get(key, {}), row)}"
        for key, row in new.items()
        if old.get(key) != row
    ]
    return lost, changed


def _by_key(table: pd.DataFrame) -> dict[tuple[str, ...], dict[str, str]]:
    rows = {}
    for row in table.astype(str).fillna("").to_dict("records"):  # two NaN are never equal
        exact = _is_exact(row["metric"])
        kept = results.COLUMNS if exact else ("status", "unit", "run_id")
        if not exact and _TOO_FEW.match(row["note"]):
            row["status"] = "ok"
        rows[tuple(row[name] for name in results.KEY)] = {name: row[name] for name in kept}
    return rows


def _is_exact(metric: str) -> bool:
    """Says whether a row has to come out equal; flips and distances are no metrics and have to."""
    name = metric.removesuffix("_change")
    if name in metrics:
        return metrics.get(name).traits["artifacts"][0] in EXACT
    return name not in counted()


def _words(key: tuple[str, ...]) -> str:
    return " ".join(part for part in key if part)


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if not old:
        return "is new"
    return ", ".join(f"{n} {old[n]!r} -> {new[n]!r}" for n in new if old[n] != new[n])
