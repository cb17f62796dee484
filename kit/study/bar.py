"""The one bar of a study: how many runs are done, and how far the step at work is."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator

from tqdm.auto import tqdm

from kit.spec.spec import Variant

FORM = "{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
"""tqdm's, but without the runs a second (one takes a second, the next ten minutes): in 80 columns
there is room for what the step at work says of itself."""


class Bar:
    """A bar of runs, with what workers and this process report beside it.

    Args:
        total: runs.
    """

    def __init__(self, total: int) -> None:
        self._bar = tqdm(
            total=total, unit="run", mininterval=1.0, dynamic_ncols=True, bar_format=FORM
        )
        self._about = threading.local()  # what a worker reports comes in the thread that asked it
        self._shown, self._words = 0.0, ""

    def update(self) -> None:
        """Counts a run that is over."""
        self._bar.update()

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    @contextlib.contextmanager
    def telling(self, variant: Variant) -> Iterator[None]:
        """Says of which variant the steps of this thread are."""
        self._about.name = variant.name + (f" seed {variant.seed}" if variant.seed else "")
        try:
            yield
        finally:
            self._about.name = ""

    def show(self, text: str) -> None:
        """Shows how far a step is: what is new at once, other numbers once a second."""
        name = getattr(self._about, "name", "")
        told = f"{name}: {text}" if name else text
        self._bar.set_postfix_str(told, refresh=False)
        words = re.sub(r"[\d.,]+", "", told)
        if words != self._words or time.monotonic() - self._shown > 1:
            self._shown, self._words = time.monotonic(), words
            self._bar.refresh()
