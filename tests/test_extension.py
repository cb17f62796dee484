"""The exit test: one of each kind, a cell each, goes through a study, here and in workers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from helpers import Cells

import kit
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.store import store

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
ENCODER = '''
SCALE = 0.5


class Bag(nn.Module):
    def __init__(self, vocab_size, width):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.mix = nn.Linear(width, width)

    def forward(self, input_ids, attention_mask):
        return SCALE * torch.tanh(self.mix(self.embed(input_ids)))


@kit.register_architecture(kind="encoder")
def bag(vocab_size: int, *, size: int = 8):
    """A fourth architecture: embeddings and a layer."""
    return Bag(vocab_size, size)
'''
STUDY = """
training = kit.Training("parity", kit.Budget(epochs=1), batch_size=32, length=16)
base = kit.Variant("bag", training, name="base")
small = base.replace(schemes=["ternary"], runtime="graphed")
runs = [kit.Run(variant, kit.Quality("parity", limit=20)) for variant in (base, small)]
study = kit.Study("extension", [*runs, kit.Run(base, kit.Ref("buffers"))], base)
"""
CELLS = (*SNIPPETS, ENCODER, STUDY)
KERNEL = """
import json, linecache, sys
for number, text in enumerate(json.loads(sys.stdin.read())):
    name = f"/tmp/ipykernel_2/{number}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"))
sys.stdout = sys.__stdout__
about = {"ids": sorted(run.id for run in study.runs), "status": list(study.plan()["status"])}
print("\\n" + json.dumps(about))
"""
"""A kernel of its own: runs the cells it is sent and tells what it finds of their study."""


@pytest.fixture
def notebook(cells: Cells, registries: None, fresh_store: Path) -> Cells:
    run(cells, CELLS)
    return cells


def run(cells: Cells, texts: Iterable[str]) -> kit.Study:
    """Runs cells and returns their study; the last one makes it anew."""
    for text in texts:
        names = cells.run(text)
    found: kit.Study = names["study"]
    return found


def table(study: kit.Study, executor: str) -> Any:
    return study.run(executor=executor, on_error="raise", metrics=["sure_and_right"])


def saved(study: kit.Study) -> dict[str, int]:
    return {r.id: store.read_info(r.id)["saved"] for r in study.runs if store.has(r.id)}


def test_one_of_each_goes_through_a_study_here_and_in_workers(
    notebook: Cells, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = run(notebook, [STUDY])
    inline = table(study, "inline")
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "other"))
    local = table(study, "local")
    for rows in (inline, local):
        ours = rows[rows.metric == "sure_and_right"]
        assert set(ours.variant) == {"base", "base ternary graphed"}
        assert set(ours.architecture) == {"bag"}
        assert set(ours.task) == {"parity"}
        assert (ours.status == "ok").all()
        counted = rows[rows.metric == "buffer_bytes"]
        assert any(column.startswith("buffer bytes") for column in kit.summary(rows))
        assert list(counted.status) == ["ok"]
    quality = inline.metric.isin(["accuracy", "nll", "sure_and_right"])
    assert inline[quality].value.tolist() == local[quality].value.tolist()


def test_editing_a_definition_redoes_its_runs_and_no_others(
    notebook: Cells, capsys: pytest.CaptureFixture[str]
) -> None:
    study = run(notebook, [STUDY])
    table(study, "inline")
    before = saved(study)
    assert len(before) == 3
    scheme = next(text for text in SNIPPETS if "def ternary(" in text)
    run(notebook, [scheme.replace("    return size", "    # why\n        return size"), STUDY])
    assert saved(study) == before
    study = run(notebook, [scheme.replace("size * weight.sign()", "2 * size"), STUDY])
    assert len(saved(study)) == 2
    table(study, "inline")
    after = saved(study)
    assert "2 of 3 runs are done" in capsys.readouterr().out
    assert len(after) == 3
    assert len(after.items() & before.items()) == 2
    study = run(notebook, [ENCODER.replace("SCALE = 0.5", "SCALE = 0.25"), STUDY])
    assert not saved(study)


def test_a_new_kernel_finds_what_was_done(notebook: Cells) -> None:
    study = run(notebook, [STUDY])
    table(study, "inline")
    moved = [f"# moved\n\n\n{text}" for text in CELLS]
    command = [sys.executable, "-c", KERNEL]
    done = subprocess.run(
        command, input=json.dumps(moved), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ids"] == sorted(run.id for run in study.runs)
    assert set(found["status"]) == {"done"}


def test_a_kind_of_artifact_from_a_cell_goes_through_a_study_to_rows(notebook: Cells) -> None:
    cell = """
broken = kit.Variant(kit.Ref("pretrained", source="nowhere"), name="broken")
runs = [kit.Run(each, kit.Ref("skim", task="parity")) for each in (base, small, broken)]
study = kit.Study("skimmed", runs, base)
"""
    rows = run(notebook, [STUDY, cell]).run()
    found = {(row.variant, row.metric): row for row in rows.itertuples()}
    assert set(rows.metric) == {"words_read", "words_read_change"}
    assert found["base", "words_read"].value == 0.5 and found["base", "words_read"].n == 20
    assert found["base ternary graphed", "words_read_change"].value == 0
    assert found["broken", "words_read"].status == "error"
    for name in ("reading", "skim", "words_read"):
        broken = [check for check in kit.check(name) if not check.passed]
        assert not broken, broken


def test_another_owner_of_a_name_is_refused(notebook: Cells) -> None:
    with pytest.raises(SpecError, match="needs another name"):

        @kit.register_scheme(form="module")
        def ternary(model: Any) -> Any:
            return model

    assert registry.schemes.get("ternary").owner[0] == "__main__"
