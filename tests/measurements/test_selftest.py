"""A tiny model against itself, and against itself with a slowdown that is real."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from helpers import measure, toy_variant

import kit
from kit.analysis.metrics import timing
from kit.analysis.stopping import Stopping
from kit.machine.workers import inline
from kit.measurements import Latency, SelfTest, pairs, timer
from kit.measurements.interface import Driver
from kit.spec.ref import Ref

SIZES: dict[str, Any] = {"batch_sizes": (4,), "threads": 1, "seconds": 0.1, "wait": 0.0}


def driver(variant: Any) -> Driver:
    return Driver(variant, inline, {}, lambda *_: None, lambda _: None, Stopping)


def test_a_real_slowdown_shifts_the_ratio(
    toys: Ref, monkeypatch: pytest.MonkeyPatch, registries: None
) -> None:
    """What `detection_rate` takes for granted, with a busy wait of half of each call."""

    def slowed(model: Any) -> Any:
        model.eval()

        def forward(inputs: Any) -> Any:
            start = time.perf_counter()
            answer = model(**inputs).detach()
            ends = start + 1.5 * (time.perf_counter() - start)
            while time.perf_counter() < ends:
                pass
            return answer

        return forward

    kit.register_runtime(version=1)(slowed)
    monkeypatch.setattr(timer, "TURN_SECONDS", 0.01)
    for module in (pairs, timing):
        monkeypatch.setattr(module, "BUSY_SHARE", 1.0)
    base = toy_variant(toys)
    plain = measure(driver(base), SelfTest(toys, launches=2, **SIZES))
    assert plain.kind == "selftest"
    slow = measure(
        driver(base.replace(runtime="slowed")), Latency(toys, against=base, launches=2, **SIZES)
    )
    (same,), (slower,) = (timing.launch_ratios(raw.columns).values() for raw in (plain, slow))
    found = np.median(slower) / np.median(same)  # 0.67 where nothing else is at work
    assert 0.3 < found < 0.9


def test_a_busy_core_is_part_of_the_condition(toys: Ref) -> None:
    raw = measure(driver(toy_variant(toys)), SelfTest(toys, launches=1, busy_cores=1, **SIZES))
    assert {c for c in raw.columns["condition"] if c} == {
        "batch_size=4;busy_cores=1;length=task;threads=1"
    }
    assert raw.columns["foreign"].max() > pairs.BUSY_SHARE


def test_the_preset_gives_the_sizes(toys: Ref) -> None:
    assert SelfTest(toys).args["launches"] == 4
    assert SelfTest(toys, launches=9).args["launches"] == 9
    assert Latency(toys, launches=9).args["launches"] == 9
