"""How long imports took and how much memory they hold, wherever in the work they happen.

Libraries import lazily, in the middle of loading a model. A cold start has to be split, and a
model's memory told from its libraries', so the imports are watched instead of guessed.
"""

from __future__ import annotations

import time
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Self

import psutil


class Imports:
    """Counts what the imports inside a `with` block cost this process.

    Attributes:
        seconds: spent in the outermost imports; modules written in Python and what they import.
        resident_bytes: by which the process grew in them.
    """

    def __init__(self) -> None:
        self.seconds, self.resident_bytes = 0.0, 0
        self._inside = False

    def __enter__(self) -> Self:
        self._original = original = SourceFileLoader.exec_module

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            if self._inside:
                original(loader, module)
                return
            self._inside = True
            start, held = time.perf_counter(), resident()
            try:
                original(loader, module)
            finally:
                self.seconds += time.perf_counter() - start
                self.resident_bytes += resident() - held
                self._inside = False

        SourceFileLoader.exec_module = exec_module  # type: ignore[assignment,method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        SourceFileLoader.exec_module = self._original  # type: ignore[method-assign]


def resident() -> int:
    """Returns the bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)
