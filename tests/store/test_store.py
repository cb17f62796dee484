"""The store: whole or not at all, made once, found again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import disk, store
from kit.store.store import Artifact

pytestmark = pytest.mark.usefixtures("fresh_store")
dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.dtype("U5")])


@pytest.fixture
def run(toys: Ref) -> Run:
    return Run(Variant(Ref("toy_encoder")), Ref("classify", task=toys))


def artifact(run: Run, *values: float, **info: Any) -> Artifact:
    return Artifact(run, "0" * 16, "cost", {"value": np.array(values)}, info)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), length=st.integers(0, 4))
def test_artifacts_come_back(run: Run, data: st.DataObject, length: int) -> None:
    shapes = st.sampled_from([(length,), (length, 3)])
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5)
    names = st.sampled_from(["item", "logits", "group:land", "label"])
    columns = {
        name: data.draw(
            arrays.arrays(dtype, data.draw(shapes), elements=text if dtype.kind == "U" else None)
        )
        for name, dtype in data.draw(st.dictionaries(names, dtypes.map(np.dtype))).items()
    }
    saved = Artifact(run, "abc", "classification", columns, {"seconds": 1.5, "notes": ["é"]})
    store.save(saved)
    found = store.load(run, "abc")
    assert (found.kind, found.info, found.run) == ("classification", dict(saved.info), run)
    assert set(found.columns) == set(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(found.columns[name], values)
        assert found.columns[name].dtype == values.dtype


def test_what_is_not_done_is_not_there(run: Run) -> None:
    assert not store.has("0" * 16)
    assert store.read_info("0" * 16) == {}
    assert store.failure("0" * 16) is None
    assert store.parts("0" * 16) == {}
    with pytest.raises(FileNotFoundError):
        store.load(run, "0" * 16)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, "differ in length: {'a': 2, 'b': 3}"),
        ({"a": np.array([{}, None])}, r"columns \['a'\] hold Python objects"),
    ],
)
def test_a_broken_artifact_is_refused_and_the_old_one_stays(
    run: Run, columns: Any, sentence: str, fresh_store: Path
) -> None:
    store.save(artifact(run, 1.0))
    with pytest.raises(ValueError, match=sentence):
        store.save(Artifact(run, "0" * 16, "cost", columns))
    assert store.load(run, "0" * 16).columns["value"] == [1.0]
    assert [path.name for path in (fresh_store / "artifacts").iterdir()] == ["0" * 16]


def test_saving_forgets_the_failure_and_the_parts(run: Run) -> None:
    store.save_failure("0" * 16, "it broke", "Traceback ...", undefined=False)
    store.save_part("0" * 16, "launch-0", {"seconds": np.array([1.0])})
    store.save_part("0" * 16, "launch-1", {"seconds": np.array([2.0])})
    assert store.failure("0" * 16) == {
        "message": "it broke",
        "log": "Traceback ...",
        "undefined": False,
    }
    assert {name: part["seconds"][0] for name, part in store.parts("0" * 16).items()} == {
        "launch-0": 1.0,
        "launch-1": 2.0,
    }
    store.save(artifact(run, 1.0, seconds=2))
    assert store.failure("0" * 16) is None
    assert store.parts("0" * 16) == {}
    assert store.read_info("0" * 16) == {"seconds": 2}
    store.save_failure("0" * 16, "it broke", "", undefined=True)
    store.delete("0" * 16)
    assert not store.has("0" * 16)
    assert store.failure("0" * 16) is None


def test_what_another_process_saved_meanwhile_stays(run: Run) -> None:
    store.save(artifact(run, 1.0))
    store.save(artifact(run, 2.0), over=False)
    assert store.load(run, "0" * 16).columns["value"][0] == 1.0
    store.save(artifact(run, 2.0))
    assert store.load(run, "0" * 16).columns["value"][0] == 2.0


def test_a_memo_is_made_once() -> None:
    calls = []
    for _ in range(2):
        assert store.memo("key", lambda: calls.append(1) or [1, {"a": None}]) == [1, {"a": None}]
    assert len(calls) == 1


def test_a_lock_waits_and_says_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entered = threading.Event()

    def second() -> None:
        with store.locked(tmp_path / "a.lock", "study two"):
            entered.set()

    with store.locked(tmp_path / "a.lock", "study one"):
        other = threading.Thread(target=second)
        other.start()
        assert not entered.wait(0.3)
    other.join(10)
    assert entered.is_set()
    shown = capsys.readouterr().out
    assert shown.startswith(f"waiting for process {os.getpid()} (study one, since ")
    assert not (tmp_path / "a.holder").exists()


def test_a_dead_holder_frees_the_lock(tmp_path: Path) -> None:
    lock, holder = tmp_path / "a.lock", tmp_path / "a.holder"
    code = (
        "import os, signal, sys, pathlib; from kit.store import store\n"
        "with store.locked(pathlib.Path(sys.argv[1]), 'dies'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    assert f"process {os.getpid()}" not in holder.read_text()
    with store.locked(lock, "lives"):
        assert f"process {os.getpid()}" in holder.read_text()
    assert not holder.exists()


def test_a_store_of_an_older_kit_is_refused_and_left_as_it_is(fresh_store: Path) -> None:
    (fresh_store / "artifacts" / ("0" * 16)).mkdir(parents=True)
    (fresh_store / "schema").write_text("1\n")
    before = sorted(fresh_store.rglob("*"))
    for look in (lambda: store.has("0" * 16), store.sweep, lambda: store.memo("a", lambda: 1)):
        with pytest.raises(SpecError) as caught:
            look()
    assert str(caught.value) == (
        f"the store {fresh_store} has layout 1, this kit has 2 and changed nothing in it; "
        "move it away, or set KIT_STORE to another folder, and run again"
    )
    assert sorted(fresh_store.rglob("*")) == before


def test_the_store_lies_beside_the_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIT_STORE")
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "deep")
    assert store.store_root() == tmp_path / "runs"
    assert store.project_root() == tmp_path


def cut(folder: Path) -> None:
    path = folder / "columns.npz"
    path.write_bytes(path.read_bytes()[:-30])


def pickled(folder: Path) -> None:
    np.savez(folder / "columns.npz", value=np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (cut, "columns.npz cannot be read"),
        (pickled, "columns.npz cannot be read (Object arrays cannot be loaded"),
        (lambda folder: (folder / "columns.npz").unlink(), "columns.npz is missing"),
        (lambda f: np.savez(f / "columns.npz", other=np.ones(1)), "has no column 'value'"),
        (lambda f: (f / "info.json").write_text("{"), "info.json is no JSON"),
        (lambda f: (f / "info.json").write_bytes(b"\xff"), "info.json is no JSON"),
        (lambda f: (f / "info.json").write_text("[" * 100_000), "info.json is no JSON"),
        (lambda f: (f / "info.json").write_text("[]"), "does not say what the run was"),
        (lambda f: (f / "info.json").write_text('{"info": {}}'), "does not say of what kind"),
    ],
)
def test_a_damaged_artifact_is_refused_and_can_be_set_aside(
    run: Run, fresh_store: Path, damage: Any, what: str
) -> None:
    key = "0" * 16
    for _ in range(2):  # an older damaged one makes room
        store.save(artifact(run, 1.0))
        damage(fresh_store / "artifacts" / key)
        with pytest.raises(store.Damaged) as caught:
            store.load(run, key)
        assert str(caught.value).startswith(f"the kept artifact of run {key} is damaged: ")
        assert what in str(caught.value)
        store.set_aside(key, str(caught.value))
        assert not store.has(key)
        assert [path.name for path in (fresh_store / "damaged").iterdir()] == [key]
        kept = store.failure(key)
        assert kept is not None and what in kept["message"]
    store.set_aside(key, "it is gone already")


def test_what_is_damaged_and_cheap_is_made_again(fresh_store: Path) -> None:
    store.memo("key", lambda: 1)
    (fresh_store / "memo" / "key.json").write_text("{")
    assert store.memo("key", lambda: 2) == 2
    store.save_failure("a", "it broke", "", undefined=False)
    (fresh_store / "failures" / "a.json").write_text("[1]")
    assert store.failure("a") is None
    store.save_part("a", "launch-0", {"seconds": np.ones(3)})
    cut(fresh_store / "partial" / "a" / "launch-0")
    assert store.parts("a") == {}


@pytest.fixture
def dead() -> int:
    """The id of a process that ended, and was waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(
    run: Run, fresh_store: Path, dead: int
) -> None:
    store.save_part("b" * 16, "launch-0", {"seconds": np.ones(1)})
    store.save(artifact(run, 1.0))
    # killed between saving and forgetting
    store.save_part("0" * 16, "launch-0", {"seconds": np.ones(1)})
    store.save_failure("0" * 16, "it broke", "", undefined=False)
    store.save_failure("c" * 16, "it broke", "", undefined=False)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    host, other = disk._host(), "0" * 8
    goes = [f".tmp-{host}-{dead}-a", f".tmp-{host}-{zombie.pid}-a", f".tmp-{other}-1-old"]
    stays = [f".tmp-{host}-{os.getpid()}-a", f".tmp-{host}-{os.getppid()}-a", f".tmp-{other}-1-a"]
    temporaries = fresh_store / "tmp"
    for name in goes + stays:
        (temporaries / name).mkdir()
    (temporaries / goes[0] / "half").touch()
    os.utime(temporaries / f".tmp-{other}-1-old", (0, 0))
    store.sweep()
    zombie.wait()
    assert sorted(path.name for path in temporaries.iterdir()) == sorted(stays)
    assert [path.name for path in (fresh_store / "partial").iterdir()] == ["b" * 16]
    assert [path.stem for path in (fresh_store / "failures").iterdir()] == ["c" * 16]
    assert store.has("0" * 16)


def test_a_file_elsewhere_is_written_beside_and_its_folder_swept(tmp_path: Path, dead: int) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / f".tmp-{disk._host()}-{dead}-a").touch()
    (folder / ".tmp-of-another-program").touch()
    store.write_bytes(folder / "page.md", b"text")
    assert sorted(path.name for path in folder.iterdir()) == [".tmp-of-another-program", "page.md"]


def test_a_store_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place, why in (
        (tmp_path / "file" / "store", "a file stands where a folder is needed"),
        (tmp_path / ("x" * 300), "a file name is too long"),
    ):
        monkeypatch.setenv("KIT_STORE", str(place))
        with pytest.raises(store.StoreError) as caught:
            store.save_failure("a", "it broke", "", undefined=False)
        assert str(caught.value) == (
            f"the store {place} cannot be written: {why}. Free some space, or set KIT_STORE to a "
            "folder that can be written; what was finished is kept, run it again to go on"
        )
