"""Tasks of lm-evaluation-harness as the kit's: items, splits, versions, what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval_tasks import write_task, write_tasks

from kit import tasks
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.tasks.harness import seeded

pytestmark = [
    pytest.mark.usefixtures("registries", "fresh_store"),
    pytest.mark.filterwarnings("ignore:::datasets"),
]
QUIZ: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{q}}\nA:",
    "doc_to_choice": "offer",
    "doc_to_target": "key",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
ROWS = [{"q": f"w{k}", "offer": ["yes", "no", f"w{k}"], "key": k % 3} for k in range(9)]


def test_documents_are_items_with_their_prompts(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[4]]
    ref = tasks.lm_eval(write_task(tmp_path, "quiz", rows, **QUIZ))
    data = tasks.load(ref)
    assert (ref.name, data.kind, data.modality) == ("lm_eval:quiz", "lm_eval_choices", "text")
    assert tasks.describe(ref)["sizes"] == {"train": 0, "validation": 0, "test": 10}
    frame = data.data["test"].to_pandas().sort_values("place")
    assert frame["text"].tolist() == [f"Q: {row['q']}\nA:" for row in rows]
    assert [list(each) for each in frame["choices"]] == [row["offer"] for row in rows]
    assert [list(each) for each in frame["label"]] == [[row["key"]] for row in rows]
    assert frame["id"].is_unique and frame["cluster"].nunique() == 9  # copies are one cluster
    assert list(data.data["test"]["id"]) == sorted(frame["id"])
    assert data.shown_label([2]) == "C"
    assert data.examples(data.split("test", 1))[0].startswith("Q: w")


def test_each_output_type_has_its_kind(tmp_path: Path) -> None:
    kinds = {
        output: tasks.load(tasks.lm_eval(path)).kind
        for output, path in write_tasks(tmp_path).items()
    }
    expected = dict.fromkeys(kinds, "lm_eval") | {"multiple_choice": "lm_eval_choices"}
    assert kinds == expected


def test_without_a_right_answer_it_has_only_the_librarys_measures(tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "q": "unknown", "key": 7}]
    assert tasks.load(tasks.lm_eval(write_task(tmp_path, "odd", rows, **QUIZ))).kind == "lm_eval"


def test_contexts_that_differ_by_answer_are_one_text(tmp_path: Path) -> None:
    own = QUIZ | {"doc_to_text": "key", "doc_to_choice": "offer", "doc_to_target": "q"}
    data = tasks.load(tasks.lm_eval(write_task(tmp_path, "blank", ROWS, **own)))
    first = data.data["test"].to_pandas().sort_values("place").iloc[1]
    assert first["text"] == "yes\nno\nw1"
    assert list(first["label"]) == [1]


def test_the_version_is_what_the_task_says_and_its_documents(tmp_path: Path) -> None:
    def version(rows: Any = ROWS, folder: str = "a", **config: Any) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = write_task(tmp_path / folder, "quiz", rows, **(QUIZ | config))
        return registry.tasks.get(tasks.lm_eval(path).name).version

    first = version()
    assert version() == version(folder="b") == first  # not where it lies
    assert version(doc_to_text="{{q}}") != first
    assert version(ROWS[:-1]) != first
    assert version(metric_list=[{"metric": "acc_norm"}]) != first
    assert version(num_fewshot=1, fewshot_config={"sampler": "first_n"}) != first


def test_shots_are_the_librarys_examples(tmp_path: Path) -> None:
    path = write_task(tmp_path, "quiz", ROWS, **QUIZ)
    ref = tasks.lm_eval(path, shots=2, name="two")
    made = registry.tasks.get("two").traits["harness"]()
    assert (ref.name, made.get_config("num_fewshot")) == ("two", 2)
    for wrong in (0, -1, 1.5, "two"):
        with pytest.raises(SpecError, match="expected a whole number from 1 on"):
            tasks.lm_eval(path, shots=wrong)  # type: ignore[arg-type]
    fixed = write_task(tmp_path, "fixed", ROWS, **QUIZ, num_fewshot=0)
    with pytest.raises(SpecError, match="fixed says itself that it has no examples"):
        tasks.lm_eval(fixed, shots=2)


def test_its_documents_may_come_from_files(tmp_path: Path) -> None:
    config = QUIZ | {"task": "far", "dataset_path": "nobody/here", "test_split": "test",
                     "training_split": "train"}  # fmt: skip
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    ref = tasks.lm_eval(config, data_files={"test": file})
    assert tasks.describe(ref)["sizes"]["test"] == 9


def test_what_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise ConnectionError("Couldn't reach 'nobody/here' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(SpecError) as found:
        tasks.lm_eval(QUIZ | {"task": "far", "dataset_path": "nobody/here", "test_split": "test"})
    for part in ("the task far", "'nobody/here'", "Couldn't reach", "data_files={'test'",
                 "`dataset_path: json`"):  # fmt: skip
        assert part in str(found.value)


def test_what_the_scorer_cannot_run_is_refused(tmp_path: Path) -> None:
    unsafe = write_task(tmp_path, "unsafe", ROWS, **QUIZ, unsafe_code=True)
    with pytest.raises(SpecError, match="runs code that a model wrote"):
        tasks.lm_eval(unsafe)
    shown = write_task(tmp_path, "shown", ROWS, **QUIZ, doc_to_image="q")
    with pytest.raises(SpecError, match="shows images or sounds"):
        tasks.lm_eval(shown)
    broken = write_task(tmp_path, "broken", ROWS, **QUIZ | {"doc_to_text": "{{q.a.b}}"})
    with pytest.raises(SpecError, match="cannot make the task broken.*UndefinedError"):
        tasks.lm_eval(broken)


def test_generators_are_left_as_they_were() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with seeded():
        drawn = random.random(), np.random.random()  # noqa: NPY002
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    with seeded():
        assert (random.random(), np.random.random()) == drawn  # noqa: NPY002
    assert drawn[0] == random.Random(0).random()
