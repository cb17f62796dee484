"""A measured figure, and the ways in which all benchmarks measure."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Figure:
    """One line of the table; `promised` is empty and `kept` None where nothing is promised."""

    name: str
    measured: str
    promised: str = ""
    kept: bool | None = None


@contextlib.contextmanager
def fresh_store() -> Iterator[None]:
    """Gives a store of its own and quiet bars while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="kit-bench-", ignore_cleanup_errors=True) as folder:
        settings = {"KIT_STORE": folder, "KIT_PRESET": "default", "TQDM_DISABLE": "1"}
        with mock.patch.dict(os.environ, settings):
            yield


def seconds(function: Callable[[], Any]) -> float:
    """Returns how long a call takes, with what it prints swallowed."""
    with contextlib.redirect_stdout(None):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start


def process(code: str) -> tuple[float, str]:
    """Runs code in a new interpreter; returns the seconds it lived and its last line."""
    start = time.perf_counter()
    told = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    return time.perf_counter() - start, (told.splitlines() or [""])[-1]


def in_process(module: str, function: str) -> Any:
    """Returns what a function of the benchmarks gives in a new process, as JSON."""
    code = f"import json, {module} as m; print(json.dumps(m.{function}()))"
    return json.loads(process(code)[1])


def texts(count: int, words: int) -> list[str]:
    """Returns texts of random words, so that none is a near duplicate of another."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        " ".join("".join(draw.choices(letters, k=draw.randint(2, 8))) for _ in range(words))
        for _ in range(count)
    ]


def markdown(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows, the head first, as a Markdown table."""
    head, *body = rows
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *body)
    )
