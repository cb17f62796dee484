"""What a run that is not done yet has so far, so that an interrupt or a kill costs little of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from kit.store import store

SECONDS = 2.0
"""Least time between two savings; a slow disk makes it longer."""

Columns = Mapping[str, np.ndarray]


class Unfinished:
    """The parts of one run, under its id in the store until the run is saved.

    A measurement asks for what it had by a name of its own, and hands over what it has as it goes
    on. Without an id, as where a runner is used by itself, nothing is found and nothing kept.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self._run_id = run_id
        self._found = {} if run_id is None else store.parts(run_id)
        self._wait, self._saved = SECONDS, time.monotonic()

    def find(self, name: str) -> Columns | None:
        """Returns what was kept under a name, None where nothing was."""
        return self._found.get(name)

    def keep(self, name: str, columns: Callable[[], Columns]) -> None:
        """Keeps columns under a name, if the last time is long enough ago.

        Args:
            name: a word.
            columns: makes them, all of one length.

        Raises:
            StoreError: the disk is full, read-only or not ours.
        """
        start = time.monotonic()
        if self._run_id is None or start - self._saved < self._wait:
            return
        store.save_part(self._run_id, name, columns())
        self._saved = time.monotonic()
        self._wait = max(SECONDS, 20 * (self._saved - start))
