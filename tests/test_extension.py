"""The exit test: one of each kind, a cell each, goes through a study, here and in workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers import Cells

import kit
from kit import registry
from kit.spec import SpecError

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
ENCODER = '''
import torch
from torch import nn

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


@pytest.fixture
def notebook(cells: Cells, registries: None, fresh_store: Path) -> Cells:
    for text in (*SNIPPETS, ENCODER):
        cells.run(text)
    return cells


def study(**changes: Any) -> kit.Study:
    training = kit.Training("parity", kit.Budget(epochs=1), batch_size=32, length=16)
    base = kit.Variant("bag", training, name="base")
    made = base.replace(schemes=["binary"], runtime="graphed")
    runs = [kit.Run(v, kit.Quality("parity", limit=20)) for v in (base, made)]
    runs += [kit.Run(base, kit.Ref("buffers"))]
    return kit.Study(changes.get("name", "extension"), runs, base)


def table(executor: str) -> Any:
    return study().run(executor=executor, on_error="raise", metrics=["sure_and_right"])


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_one_of_each_goes_through_a_study(notebook: Cells, executor: str) -> None:
    rows = table(executor)
    ours = rows[rows.metric == "sure_and_right"]
    assert set(ours.variant) == {"base", "base binary graphed"}
    assert (ours.status == "ok").all()
    assert set(ours.task) == {"parity"}
    counted = rows[(rows.metric == "state_bytes") & (rows.condition == "part=buffers")]
    assert list(counted.status) == ["ok"]


def test_both_executors_give_one_table(
    notebook: Cells, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = table("inline")
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "other"))
    second = table("local")
    quality = first.metric.isin(["accuracy", "nll", "sure_and_right"])
    assert first[quality].value.tolist() == second[quality].value.tolist()


def test_editing_a_definition_redoes_its_runs_and_no_others(notebook: Cells) -> None:
    before = study().ids()
    scheme = next(text for text in SNIPPETS if "def binary(" in text)
    notebook.run(scheme.replace("# nothing", "# a comment"))
    assert study().ids() == before
    notebook.run(scheme.replace("weight.sign()", "2 * weight.sign()"))
    after = study().ids()
    changed = {run.variant.name for run in before if before[run] != after[run]}
    assert changed == {"base binary graphed"}
    notebook.run(ENCODER.replace("SCALE = 0.5", "SCALE = 0.25"))
    again = study().ids()
    assert all(again[run] != after[run] for run in again)


def test_a_restarted_kernel_finds_what_was_done(notebook: Cells) -> None:
    table("inline")
    before = study().ids()
    with pytest.MonkeyPatch.context():
        notebook.restart()
        for text in (
            "import kit",
            "\n\n# moved\n\n" + ENCODER.replace("import torch", "import kit, torch"),
        ):
            notebook.run(text)
    assert study().ids() == before
    assert set(study().plan()["status"]) == {"done"}


def test_another_owner_of_a_name_is_refused(notebook: Cells) -> None:
    with pytest.raises(SpecError, match="needs another name"):

        @kit.register_scheme(stage="torch")
        def binary(model: Any) -> Any:
            return model

    assert registry.schemes.get("binary").owner[0] == "__main__"
