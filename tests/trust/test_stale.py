"""A page is stale when its notebook's code or the kit's own code has changed since."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import kit
from kit.cli.main import app
from kit.report.publish import publish
from kit.report.record import read_record
from kit.spec import registry
from kit.spec.definition_hash import cells_hash
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.trust.stale import stale_pages

CELL = 'import kit\n\n\ndef two():\n    """Two."""\n    return 2  # two\n'


def write_notebook(folder: Path, *cells: str, prose: str = "") -> None:
    found = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    found.append({"cell_type": "markdown", "source": [prose]})
    (folder / "notebooks").mkdir(exist_ok=True)
    path = folder / "notebooks" / "01_toy.ipynb"
    path.write_text(json.dumps({"cells": found}), encoding="utf-8")


@pytest.fixture
def project(
    toys: Ref, registries: None, fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project with a page that a study just wrote."""
    write_notebook(tmp_path, CELL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIT_PRESET", "default")
    variants = [Variant("majority"), Variant(Ref("toy_rule"), name="rule")]
    study = kit.Study("toy", [Run(v, kit.Quality(toys, limit=8)) for v in variants], variants[0])
    study.run(executor="inline", on_error="raise")
    publish("01_toy", study)
    return tmp_path


def reasons() -> tuple[str, ...]:
    return tuple(reason for one in stale_pages() for reason in one.reasons)


def edit(project: Path, change: Callable[[Any], Any]) -> None:
    """Changes the record of the page by hand."""
    path = project / "results" / "01_toy.runs.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    change(known)
    path.write_text(json.dumps(known), encoding="utf-8")


def register_again(kind: str, name: str, **changes: Any) -> None:
    """Registers an entry of the package as it is, with some things changed."""
    known = registry.REGISTRIES[kind]
    entry = known.get(name)
    known.register(
        entry.function, name=name, owner=entry.owner, **{**entry.traits, "version": 1, **changes}
    )


def test_a_page_is_not_stale_when_it_was_just_written(project: Path) -> None:
    assert stale_pages() == []
    assert CliRunner().invoke(app, ["stale"]).exit_code == 0
    record = read_record(project / "results" / "01_toy.csv")
    assert record.versions["architectures/majority"] == "1"
    assert record.defined == [
        "architectures/toy_rule",
        "tasks/toys",
    ]  # count by the notebook's cells
    assert {kept.run["variant"]["name"] for kept in record.runs.values()} == {"majority", "rule"}
    assert not any(key.startswith("metrics/") for key in record.versions)


def test_formatting_comments_and_prose_do_not_count(project: Path) -> None:
    write_notebook(project, "import kit\ndef two(): return (2)\n", prose="More.")
    assert reasons() == ()
    write_notebook(project, CELL.replace("2 ", "3 "))
    assert reasons() == ("code cells of notebooks/01_toy.ipynb changed",)
    (project / "notebooks" / "01_toy.ipynb").unlink()
    assert reasons() == ("notebooks/01_toy.ipynb is not there",)


def test_a_cell_that_is_no_python_counts_by_its_text() -> None:
    assert cells_hash(["%time 1"]) != cells_hash(["%time  1"])
    assert cells_hash(["a = 1", "b"]) != cells_hash(["b", "a = 1"])
    assert cells_hash(["a = 1"]) == cells_hash(["a=1 # one"])


def test_a_version_that_was_raised_is_told_with_the_command(project: Path) -> None:
    register_again("architectures", "majority", version=3)
    done = CliRunner().invoke(app, ["stale"])
    assert done.exit_code == 1
    for line in (
        "results/01_toy.md is stale:",
        "architecture majority is version 3, was 1",
        "make it anew: make results NOTEBOOK=01",
    ):
        assert line in done.output


def test_code_that_is_gone_is_told(project: Path) -> None:
    edit(
        project, lambda known: known["versions"].update({"architectures/vador": "1", "old/x": "1"})
    )
    assert reasons() == (
        "architecture vador is no longer registered",
        "old x is no longer registered",
    )


def judged(project: Path) -> str:
    """Makes the page's runs such as the package has; returns the id of one."""

    def own(known: Any) -> None:
        known["defined"] = []

    edit(project, own)
    return next(iter(read_record(project / "results" / "01_toy.csv").runs))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda kept: kept["run"]["variant"].update(seed=7), "its id is now "),
        (lambda kept: kept["run"]["variant"].update(seed=-7), "Variant: seed is -7"),
        (lambda kept: kept["run"].clear(), "what is kept of it is no run"),
        (lambda kept: kept["run"]["measurement"]["args"].update(limitt=7), "Did you mean 'limit'?"),
    ],
)
def test_a_run_that_is_another_now_is_told(
    project: Path, change: Callable[[Any], Any], why: str
) -> None:
    run_id = judged(project)
    assert reasons() == ()
    edit(project, lambda known: change(known["runs"][run_id]))
    (reason,) = reasons()
    assert reason.startswith(f"1 of 2 runs are others than the table's, such as {run_id}: ")
    assert why in reason


def test_a_record_that_is_not_there_damaged_or_of_another_table_is_told(project: Path) -> None:
    path = project / "results" / "01_toy.runs.json"
    whole = path.read_text(encoding="utf-8")
    edit(project, lambda known: known["runs"].popitem())
    (reason,) = reasons()
    assert "01_toy.csv has rows of 1 runs, such as " in reason
    for text, sentence in (
        ("{", "results/01_toy.runs.json:"),
        (whole.replace('"cells":', '"cell":'), "results/01_toy.runs.json: cells is nothing"),
    ):
        path.write_text(text, encoding="utf-8")
        (reason,) = reasons()
        assert reason.startswith(sentence)
    path.unlink()
    missing = "results/01_toy.runs.json is not there: nothing says what the table was made from"
    assert reasons() == (missing,)
    (project / "notebooks" / "01_toy.ipynb").unlink()  # a page of no notebook and no study
    assert reasons() == ()


def test_it_loads_no_torch(project: Path) -> None:
    code = "import sys\nfrom kit.trust.stale import stale_pages\nassert stale_pages() is not None\n"
    code += "print({'torch', 'pandas', 'transformers', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
