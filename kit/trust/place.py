"""The folders and processes of a piece of work, and what a kill may have left in them.

Reads `/proc`, so it works on Linux alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import psutil
from filelock import FileLock, Timeout

from kit import results
from kit.registry import QUALITY, metrics

EXACT = (*QUALITY.values(), "features")
"""Kinds of artifacts whose numbers have to come out equal; those of a timing never do."""
_TOO_FEW = re.compile(r"\d+ calls; p\d+ needs \d+")
"""Why a percentile is undefined: how many calls a turn holds is the machine's load, no kill's."""
_CACHE = re.compile(r"rows/[0-9a-f]{16}\.json|inductor/.*")

Process = tuple[int, float]
"""Its id and when it started."""


@dataclasses.dataclass(frozen=True)
class Place:
    """The folders of one episode: a project with its store, a cache and a temporary folder.

    Attributes:
        root: holds them all and nothing else.
        cache: of the assets; the user's own where None.
    """

    root: Path
    cache: Path | None = None

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def store(self) -> Path:
        return self.project / "runs"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    def prepare(self) -> None:
        """Makes the folders that a project has."""
        for folder in (self.project / "notebooks", self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Returns the variables of its processes; the store's is also how they are found again."""
        given = {"KIT_STORE": self.store, "TMPDIR": self.temporary, "KIT_PRESET": "smoke"}
        if self.cache is not None:
            given["KIT_CACHE"] = self.cache
        return {**os.environ, **{name: str(value) for name, value in given.items()}}

    def files(self) -> set[str]:
        """Returns the files there are, by their paths below the root."""
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if not path.is_dir() and not path.is_relative_to(self.temporary)
        } | {
            path.relative_to(self.root).as_posix()
            for path in self.temporary.glob(".tmp-*")  # the kit's own; others' are others'
        }


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


def orphans(place: Place, old: Iterable[Process], until: float) -> int:
    """Counts the processes of a killed driver that live on after a time of `time.monotonic`."""
    while (living := set(old) & processes(place)) and time.monotonic() < until:
        time.sleep(0.1)
    return len(living)


def stamps(place: Place) -> dict[str, int]:
    """Returns when each finished run of a store was saved, by its id."""
    found = {}
    for path in (place.store / "artifacts").glob("*/info.json"):
        found[path.parent.name] = int(json.loads(path.read_text("utf-8"))["info"]["saved"])
    return found


def redone(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Counts the runs that were finished before a kill and not kept."""
    return sum(after.get(run_id) != saved for run_id, saved in before.items())


def held_locks(folders: Iterable[Path]) -> int:
    """Counts the lock files that nobody lives to free: all can be taken when all is over."""
    held = 0
    for path in (path for folder in folders for path in folder.rglob("*.lock")):
        try:
            with FileLock(path, timeout=0.2):
                pass
        except Timeout:
            held += 1
    return held


def strays(place: Place, expected: Iterable[str]) -> list[str]:
    """Returns the files that the undisturbed work did not leave, whatever their names tell."""
    prefix = place.store.relative_to(place.root).as_posix() + "/"
    unexpected = place.files() - set(expected)
    return sorted(f for f in unexpected if not _CACHE.fullmatch(f.removeprefix(prefix)))


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
        exact = _artifact(row["metric"]) in EXACT
        kept = results.COLUMNS if exact else ("status", "unit", "run_id")
        if not exact and _TOO_FEW.match(row["note"]):
            row["status"] = "ok"
        rows[tuple(row[name] for name in results.KEY)] = {name: row[name] for name in kept}
    return rows


def _words(key: tuple[str, ...]) -> str:
    return " ".join(part for part in key if part)


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if not old:
        return "is new"
    return ", ".join(f"{n} {old[n]!r} -> {new[n]!r}" for n in new if old[n] != new[n])


def _artifact(metric: str) -> str:
    """Returns the kind of artifact that a row was computed from."""
    name = metric.removesuffix("_change")
    if name in metrics.names():
        return str(metrics.get(name).traits["artifacts"][0])
    return EXACT[0]  # flips and distances
