"""What tests of measurements share."""

from __future__ import annotations

import pytest

from kit.analysis.metrics import timing
from kit.measurements import pairs, timer


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns so short that the rounds of a test take no seconds, on a machine that is never busy."""
    monkeypatch.setattr(timer, "TURN_SECONDS", 0.005)
    monkeypatch.setattr(pairs, "BUSY_SHARE", 1.0)
    monkeypatch.setattr(timing, "BUSY_SHARE", 1.0)
