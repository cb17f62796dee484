"""The kit's own tasks, prepared once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.assets import assets
from kit.spec import registry
from kit.tasks.task import Task, load

NEEDED = {"sentiment": "sentiment", "wikipedia": "benchmarks"}


@pytest.fixture(scope="session", params=sorted(NEEDED))
def own_task(request: pytest.FixtureRequest, session_store: Path) -> Task:
    """Each of the tasks that the kit brings."""
    assets.path(NEEDED[request.param])
    return load(request.param)


@pytest.fixture(scope="session")
def sentiment(session_store: Path) -> Task:
    return load("sentiment")


@pytest.fixture(scope="session")
def wikipedia(session_store: Path) -> Task:
    return load("wikipedia")


@pytest.fixture
def forget() -> Iterator[None]:
    """Takes tasks that a test registers out again."""
    registry.tasks.names()
    before = dict(registry.tasks._entries)
    yield
    registry.tasks._entries.clear()
    registry.tasks._entries.update(before)
