"""A tiny model against itself: planted slowdowns are real and are conditions of one launch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import toy_variant

from kit.analysis.metrics.costs import launch_ratios
from kit.measurements import SelfTest, pairs
from kit.measurements.bench import Driver
from kit.measurements.selftest import self_test
from kit.ref import Ref
from kit.workers import inline

SIZES: dict[str, Any] = {"batch_sizes": (4,), "seconds": 0.1, "wait": 0.0}


def test_the_planted_side_is_slower_by_what_was_planted(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "TURN_SECONDS", 0.01)
    drive = Driver(toy_variant(toys), inline, {}, lambda *_: None, lambda _: None)
    raw = self_test(drive, task=toys, launches=2, planted=(0.5,), **SIZES)
    assert raw.kind == "selftest"
    ratios = launch_ratios(raw.columns)
    plain, slow = sorted(ratios, key=len)
    assert "planted=0.5" in slow and "planted" not in plain
    found = np.median(ratios[slow] / ratios[plain])  # 0.67 where nothing else is at work
    assert 0.3 < found < 0.9


def test_a_busy_core_is_part_of_the_condition(toys: Ref) -> None:
    drive = Driver(toy_variant(toys), inline, {}, lambda *_: None, lambda _: None)
    raw = self_test(drive, task=toys, launches=1, planted=(), busy_cores=1, **SIZES)
    assert {c for c in raw.columns["condition"] if c} == {
        "batch_size=4;busy_cores=1;length=task;threads=1"
    }
    assert raw.columns["foreign"].max() > pairs.BUSY_SHARE


def test_the_preset_gives_the_sizes(toys: Ref) -> None:
    assert SelfTest(toys).args["launches"] == 4
    assert SelfTest(toys, launches=9).args["launches"] == 9
