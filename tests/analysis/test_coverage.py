"""The small version of `benchmarks coverage`, with room for the error of few data sets."""

from __future__ import annotations

import pytest

from benchmarks.coverage import INTERVALS, TESTS, Case, rate
from benchmarks.worlds import World

DRAWN = 1000
"""Simulated data sets from which on a case is one that draws again: it gets fewer here."""


def world(case: Case) -> World:
    return World(case.counts[0], case.accuracies[0], case.sizes[-1])


@pytest.mark.parametrize("case", INTERVALS, ids=lambda case: case.name)
def test_intervals_hold_the_truth(case: Case) -> None:
    times = 400 if case.times > DRAWN else 40
    low, high = (0.91, 0.99) if times == 400 else (0.82, 1.0)
    assert low <= rate(case, world(case), times) <= high


@pytest.mark.parametrize("case", TESTS, ids=lambda case: case.name)
def test_false_alarms_are_rare(case: Case) -> None:
    assert rate(case, world(case), 400) <= 0.085
