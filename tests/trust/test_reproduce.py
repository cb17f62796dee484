"""`kit reproduce` runs a notebook anew and tells a true table from a false one."""

import re

import nbformat
import pytest
from typer.testing import CliRunner

from kit.cli.main import app
from kit.spec import presets
from kit.store import results

CELLS = (
    "import os\nimport kit\nimport pandas as pd",
    "words = ['bad', 'awful', 'good', 'nice']\n"
    "texts = [f'{words[n % 4]} thing {n}' for n in range(80)]\n"
    "labels = [n % 4 // 2 for n in range(80)]\n"
    "frame = pd.DataFrame({'text': texts, 'label': labels})\n"
    "task = kit.task_from_frame('toys', frame, text='text', label='label')",
    "study = kit.evaluate_shift(['majority', 'vader'], [task], baseline='majority', name='toy',\n"
    "    validation=False, noise_floor=False)\n"
    "table = study.run(executor='inline')",
    "if os.environ.get('TOY_STOPS'):\n    raise KeyboardInterrupt",
    "kit.publish('01_toy', study, verdict='{{accuracy variant=vader | %}} are right.')",
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    made = nbformat.v4
    notebook = made.new_notebook(cells=[made.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, tmp_path / "notebooks" / "01_toy.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KIT_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv(presets.VARIABLE, "smoke")
    return tmp_path


def kit(*words):
    return CliRunner().invoke(app, list(words))


def test_a_table_reproduces_until_a_number_in_it_is_false(project, monkeypatch):
    done = kit("run", "01")
    assert done.exit_code == 0, done.output
    table = project / "results" / "smoke" / "01_toy.csv"
    page = table.with_suffix(".md").read_text()
    assert "{{" not in page and "% are right." in page

    monkeypatch.setenv("TOY_STOPS", "1")
    done = kit("reproduce", "01")
    assert (done.exit_code, "run it again to go on" in done.output) == (1, True)
    monkeypatch.delenv("TOY_STOPS")
    done = kit("reproduce", "01")  # goes on
    assert done.exit_code == 0, done.output
    assert "2 of 2 runs are done" in done.output
    same = r"01_toy: (\d+) rows compared: \1 same. Nothing contradicts the table."
    assert re.search(same, done.output), done.output
    assert table.with_suffix(".md").read_text() == page

    frame = results.read_table(table)
    wrong = (frame["metric"] == "accuracy") & (frame["variant"] == "vader")
    frame.loc[wrong, "value"] += 0.001
    results.write_table(frame, table)
    done = kit("reproduce", "--preset", "smoke")  # the last one came to its end: from nothing
    assert done.exit_code == 1
    assert "0 of 2 runs are done" in done.output
    assert "01_toy: contradicted" in done.output
    assert "toy accuracy vader test" in done.output
    assert "One row contradicts the table" in done.output
    kept = project / "runs" / "reproduce" / "01_toy-smoke" / "comparison.csv"
    assert kept.is_file()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "no notebook has a table in"),
        (("01",), "make it first, by `make results NOTEBOOK=01 PRESET=smoke`"),
        (("01_tay",), "unknown table '01_tay'. Did you mean '01_top'?"),
        (("01_top",), "no notebook writes the table '01_top': unknown notebook '01_top'. "
                      "Did you mean '01_toy'?"),
        (("01", "--preset", "smke"), "Did you mean 'smoke'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told(project, words, hint):
    if words and words[0].startswith("01_t"):
        (project / "results" / "smoke").mkdir(parents=True)
        results.write_table(
            results.to_frame([results.row(study="s", variant="v", seed=0, metric="m", value=1)]),
            project / "results" / "smoke" / "01_top.csv",
        )
    done = kit("reproduce", *words)
    assert done.exit_code == 2
    assert hint in done.output
    assert not (project / "runs" / "reproduce").exists()
