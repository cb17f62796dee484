"""A page is stale when its notebook's code or the kit's own code has changed since."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import kit
from kit import registry
from kit.cli import app
from kit.ref import Ref
from kit.report.footer import as_markdown, notebook_hash, read_footer
from kit.report.publish import publish
from kit.source import cells_hash
from kit.spec import Run, Variant
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
    made = read_footer(project / "results" / "01_toy.md")
    assert made is not None
    assert made["code"]["architectures/majority"] == "1"
    assert made["code"]["metrics/accuracy"] == registry.metrics.get("accuracy").version
    assert "table" in made["code"]
    assert not any("toy" in key for key in made["code"])  # counts by the notebook's cells
    assert "metrics/speedup" not in made["code"]


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


def test_a_version_that_was_raised_is_told_with_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_again("metrics", "accuracy", version=2)
    register_again("architectures", "majority", version=3)
    monkeypatch.setattr("kit.table.TABLE_VERSION", 99)
    done = CliRunner().invoke(app, ["stale"])
    assert done.exit_code == 1
    for line in (
        "results/01_toy.md is stale:",
        "metric accuracy is version 2, was 1",
        "architecture majority is version 3, was 1",
        "the making of tables is version 99, was",
        "make it anew: make results NOTEBOOK=01",
    ):
        assert line in done.output


def test_a_page_that_no_notebook_made_is_judged_by_its_code(project: Path) -> None:
    (project / "notebooks" / "01_toy.ipynb").unlink()
    page = project / "results" / "01_toy.md"
    page.write_text(as_markdown({"cells": "", "code": {"metrics/accuracy": "1"}}))
    assert reasons() == ()
    page.write_text(as_markdown({"cells": "", "code": {"metrics/accuracy": "0"}}))
    assert reasons() == ("metric accuracy is version 1, was 0",)


def test_code_that_is_gone_and_pages_without_a_footer(project: Path) -> None:
    page = project / "results" / "01_toy.md"
    whole = page.read_text(encoding="utf-8")
    code = {"metrics/accurary": "1", "nothing/x": "1"}
    page.write_text(as_markdown({"cells": notebook_hash("01_toy"), "code": code}))
    assert reasons() == (
        "metric accurary is no longer registered",
        "nothing x is no longer registered",
    )
    for text in (whole.partition("<!-- made from")[0], "<!-- made from {} -->", ""):
        page.write_text(text, encoding="utf-8")
        assert reasons() == ("it does not say what it was made from",)


def test_it_loads_no_torch(project: Path) -> None:
    code = "import sys\nfrom kit.trust.stale import stale_pages\nassert stale_pages() is not None\n"
    code += "print({'torch', 'pandas', 'transformers', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
