"""Where the configuration of a task of lm-evaluation-harness comes from, and what is none."""

from __future__ import annotations

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.spec.checking import SpecError
from kit.tasks import harness_config
from kit.tasks.harness_config import read_config, told


def entry(path: Path | None = None, kind: str = "TASK", tags: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(yaml_path=path, kind=SimpleNamespace(name=kind), tags={*tags})


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library's own index holds a task, a group and a tag; reading its thousands takes long."""
    (tmp_path / "a.yaml").write_text("task: quiz_one\ndataset_path: json\n", encoding="utf-8")
    (tmp_path / "g.yaml").write_text("group: quiz\ntask: [quiz_one, {task: quiz_two}]\n")
    index = {
        "quiz_one": entry(tmp_path / "a.yaml"),
        "quiz": entry(tmp_path / "g.yaml", "GROUP"),
        "tagged": entry(None, "TAG", tuple(f"member_{k}" for k in range(12))),
    }
    real = harness_config._index
    monkeypatch.setattr(harness_config, "_index", lambda at: real(at) if at else index)
    return tmp_path


def test_a_name_is_found_and_a_near_one_offered(known: Path) -> None:
    assert read_config("quiz_one", (), None)["dataset_path"] == "json"
    with pytest.raises(SpecError, match="Did you mean 'quiz_one'"):
        read_config("quiz_on", (), None)
    with pytest.raises(SpecError, match="unknown task of lm-evaluation-harness"):
        read_config("zzzzzzzz", (), None)


def test_a_folder_of_ones_own_comes_first(known: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.yaml").write_text("task: quiz_one\ndataset_path: csv\n", encoding="utf-8")
    assert read_config("quiz_one", own, None)["dataset_path"] == "csv"
    with pytest.raises(SpecError, match="there is no such folder"):
        read_config("quiz_one", [tmp_path / "nowhere"], None)


def test_a_group_is_refused_by_its_members(known: Path) -> None:
    with pytest.raises(SpecError, match="'quiz' is a group of tasks.*'quiz_one', 'quiz_two'"):
        read_config("quiz", (), None)
    with pytest.raises(SpecError, match="'member_0', .* and 4 more"):
        read_config("tagged", (), None)
    with pytest.raises(SpecError, match="is a group of tasks"):
        read_config(known / "g.yaml", (), None)


def test_what_is_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        read_config(tmp_path / "none.yaml", (), None)
    (tmp_path / "bad.yaml").write_text("task: [", encoding="utf-8")
    with pytest.raises(SpecError, match="bad.yaml: lm-evaluation-harness cannot read it"):
        read_config(tmp_path / "bad.yaml", (), None)
    with pytest.raises(SpecError, match="expected a name of lm-evaluation-harness"):
        read_config(3, (), None)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="does not say the name of its task"):
        read_config({"dataset_path": "json"}, (), None)


def test_own_files_stand_for_the_splits_that_a_task_has(tmp_path: Path) -> None:
    config = {"task": "quiz", "training_split": "train", "test_split": "test", "dataset_name": "x"}
    file = tmp_path / "own.jsonl"
    file.write_text("{}\n", encoding="utf-8")
    made = read_config(config, (), {"test": file})
    assert made == config | {
        "training_split": None, "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(file)}},
    }  # fmt: skip
    for files, why in (
        ({"tset": file}, "Did you mean 'test'"),
        ({"test": tmp_path / "none.jsonl"}, "expected a file that is there"),
        ({"test": tmp_path}, "expected a file that is there"),
        ({"train": file}, "with the split that quiz is tested on"),
        ({}, "with the split that quiz is tested on"),
    ):
        with pytest.raises(SpecError, match=why):
            read_config(config, (), files)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("lm_eval"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SpecError, match=r"pip install 'kit\[lm-eval\]'"):
        read_config("quiz", (), None)


def test_functions_are_told_by_their_text() -> None:
    assert "def entry" in told({"a": [entry]})["a"][0]
    assert told({1: (len, None, 0.5)}) == {"1": ["builtins.len", None, 0.5]}
