"""Every notebook runs top to bottom at `smoke`; a second run finds everything done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kit

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own with the repository's notebooks."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    return folder


def run(place: Path, name: str, command: str = "run") -> str:
    environment = {**os.environ, "KIT_PRESET": "smoke", "KIT_STORE": str(place / "runs")}
    environment.pop("OMP_NUM_THREADS", None)
    environment.pop("TQDM_DISABLE", None)
    done = subprocess.run(
        [sys.executable, "-m", "kit", command, name],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.notebook
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_publishes(place: Path, name: str) -> None:
    run(place, name)
    results = place / "results" / "smoke"
    table = kit.load(name, results)
    assert not (table.status == "error").any(), table[table.status == "error"].note.tolist()
    assert (table.status == "ok").mean() > 0.7
    page = (results / f"{name}.md").read_text(encoding="utf-8")
    assert "No verdict." not in page
    assert list((results / "figures").glob(f"{name}_*.png"))


@pytest.mark.notebook
def test_a_second_run_finds_everything_done(place: Path) -> None:
    before = (place / "results" / "smoke" / "01_quickstart.csv").read_text(encoding="utf-8")
    said = run(place, "01_quickstart")
    counts = re.findall(r"(\d+) of (\d+) runs are done", said)
    assert counts and all(done == whole for done, whole in counts)
    after = (place / "results" / "smoke" / "01_quickstart.csv").read_text(encoding="utf-8")
    assert before == after


@pytest.mark.notebook
def test_a_smoke_table_reproduces(place: Path) -> None:
    """From nothing, against the table that the test above made minutes before."""
    assert "Nothing contradicts the table." in run(place, "01_quickstart", command="reproduce")
