"""When a timing has enough: how many launches there should be, and when a launch has settled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kit.analysis.metrics.timing import launch_ratios, median_error
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.launches import second_stage
from kit.machine.load import MIN_ROUNDS

MOST_AGAIN = 1.5
"""Times the launches that are asked for, on a machine that others keep busy."""
SETTLED = 0.02
"""Standard error of a launch's log ratio, below which it is left to the spread between launches."""


class Stopping:
    """How many launches a timing should have, told from those so far.

    A fixed number, those that do not count (others kept the machine busy) made up for; or, with
    `until`, Stein's two stages ("A two-sample test for a linear hypothesis whose power is
    independent of the variance", 1945): the spread of the first ones fixes how many are needed,
    once, so that nothing is peeked at and the interval keeps its 95%.

    Args:
        launches: that should count; with `until`, of the first stage.
        until: half-width of the ratio's interval that is wanted, as a share.
        most: launches at which it gives up; half as many again as asked for where not given.
    """

    def __init__(self, launches: int, until: float | None = None, most: int | None = None) -> None:
        self._first, self._until = launches, until
        self._again = math.ceil(MOST_AGAIN * launches)
        self._most = self._again if most is None else most
        self.notes: list[str] = []

    def wanted(self, columns: Mapping[str, Array]) -> int:
        """Returns how many launches there should be; `columns` are empty before the first."""
        if not columns:
            return self._first
        if self._until is None:
            return min(self._first + self.lost(columns), self._most)
        ratios = launch_ratios(columns).values()
        if min(map(len, ratios)) < self._first:  # too few that count to tell the spread
            return min(self._first + self.lost(columns), self._again)
        needed = max(second_stage(values[: self._first], self._until) for values in ratios)
        if needed > self._most:
            self.notes = [
                f"the interval asked for (half-width {self._until:.2g}) would need about "
                f"{needed:,} launches; {self._most} were made"
            ]
        return min(max(needed, self._first), self._most)

    @property
    def first_stage(self) -> int | None:
        """Launches of the first of two stages; None where their number is fixed."""
        return None if self._until is None else self._first

    @staticmethod
    def lost(columns: Mapping[str, Array]) -> int:
        """Returns the launches that do not count in some condition: the machine was busy."""
        made = len(set(columns["launch"]))
        return max(made - len(ratios) for ratios in launch_ratios(columns).values())

    @staticmethod
    def settled(ratios: Sequence[float]) -> bool:
        """Says whether the log ratios of a launch's quiet rounds are enough."""
        return len(ratios) >= MIN_ROUNDS and median_error(np.array(ratios)) <= SETTLED
