"""A small world with walls: whatever is written beside the store, results and cache is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import counted, walls


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project some folders deep, so that `../../x` lands where it is seen; gives its root."""
    root = tmp_path_factory.mktemp("world")
    project = root / "a" / "b" / "project"
    for folder in ("notebooks", "results", "runs", "cache"):
        (project / folder).mkdir(parents=True)
    (root / "precious").write_text("as it was")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("HOME", str(root / "a"))
        patch.setenv("KIT_STORE", str(project / "runs"))
        patch.setenv("KIT_CACHE", str(project / "cache"))
        patch.setenv("KIT_PRESET", "smoke")
        patch.setenv("HF_HUB_OFFLINE", "1")
        with walls(root, project / "results", project / "runs", project / "cache"):
            yield root


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many hostile inputs were tried."""
    terminalreporter.write_line(f"hostile: {counted['cases']:,} cases")
