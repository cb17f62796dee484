"""What all tests share: a store of their own, small sizes, one thread, registries as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest
from helpers import Cells, restored, toy_task

import kit
from kit.spec.ref import Ref


@pytest.fixture(scope="session", autouse=True)
def session_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store for this session and the smallest preset, so that no test reaches the user's."""
    root = tmp_path_factory.mktemp("session-store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_STORE", str(root))
        patch.setenv("KIT_PRESET", "smoke")
        yield root


@pytest.fixture
def fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store for one test alone."""
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def registries() -> Iterator[None]:
    """Takes out again what a test registers."""
    with restored():
        yield


@pytest.fixture(scope="module")
def toys(session_store: Path) -> Iterator[Ref]:
    """The toy encoder, language model and predictor are known; gives the toy task."""
    import helpers

    with restored():
        kit.register_architecture(kind="encoder", version=1)(helpers.toy_encoder)
        kit.register_architecture(kind="causal", version=1)(helpers.toy_causal)
        kit.register_architecture(kind="predictor", version=1)(helpers.toy_rule)
        yield toy_task()


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Cells:
    """A notebook: runs cells in one scope, as a kernel does."""
    return Cells(monkeypatch)
