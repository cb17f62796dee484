"""Crashes for real: full and read-only disks, processes side by side, kills and interrupts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.manager import KernelManager

from kit.study.notebook import _ThisPython

HERE = Path(__file__).parent
SCRIPT = str(HERE / "crashing.py")
PROMPT = 3.0  # seconds in which an interrupt returns: 2 on a machine that does nothing else


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a store of its own, and the folder that tells the probes what to do."""
    (tmp_path / "probes").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KIT_PROBES", str(tmp_path / "probes"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (HERE, HERE.parent))))
    return tmp_path


def tell(place: Path, **what: float) -> None:
    """Says what probes do: `tell(place, sleep_2=60)`."""
    for name, value in what.items():
        kind, _, number = name.partition("_")
        (place / "probes" / f"{number}.{kind}").write_text(str(value))


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def measured(place: Path) -> list[int]:
    """Returns the numbers of the probes that ran, in order."""
    log = place / "probes" / "log"
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def users_of(folder: Path) -> list[int]:
    """Returns the processes but this whose environment names a store."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KIT_STORE") == str(folder) and process.pid != os.getpid():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


DISK = """
import pathlib, subprocess, sys
import crashing
from kit.store import store

place = pathlib.Path(sys.argv[1])
study = crashing.make("disk", [1, 2])
remount = lambda how: subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)

def attempt(**options):
    try:
        table = study.run(workers=1, **options)
    except store.StoreError as error:
        print("refused:", error)
    else:
        print("table:", *table[table.metric == "rate"].status)
    ids = [run.id for run in study.runs]
    print("kept:", *map(store.has, ids), *(store.failure(key) is not None for key in ids))
    print("left:", *store.store_root().glob("tmp/*"), *store.store_root().glob("built/*.partial"))

attempt()
remount("size=8m")
attempt()
remount("ro")
attempt(redo=["rule"])
print("readable:", *study.table().query("metric == 'rate'").status)
remount("rw")
attempt(redo=["rule"])
"""


@pytest.mark.parametrize("what", ["bytes", "build"])
def test_a_full_and_a_read_only_disk(place: Path, what: str) -> None:
    disk_folder = place / "disk"
    disk_folder.mkdir()
    tell(place, **{f"{what}_2": 1.6e6})
    mount = f"mount -t tmpfs -o size=1m none {disk_folder}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = subprocess.run([*command, mount], capture_output=True, check=False, text=True)
    if tried.returncode:
        pytest.skip(f"a file system cannot be mounted here: {tried.stderr.strip()}")
    script = place / "script.py"
    script.write_text(DISK)
    done = subprocess.run(
        [*command, f"{mount} && exec {sys.executable} {script} {disk_folder}"],
        env={**os.environ, "KIT_STORE": str(disk_folder / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [
        line
        for line in done.stdout.splitlines()
        if re.match("(refused|table|kept|left|readable):", line)
    ]
    assert done.returncode == 0, done.stdout + done.stderr
    full = (
        rf"refused: the store {disk_folder}/store cannot be written: the disk is full "
        r"\(\d\.\d MB free\). Free some space, or set KIT_STORE to a folder that can be written; "
        r"what was finished is kept, run it again to go on"
    )
    assert re.fullmatch(full, said[0]), said[0]
    assert said[1] == "kept: True False False False"
    assert said[2:5] == ["left:", "table: ok ok", "kept: True True False False"]
    assert "it is read-only. Free some space" in said[6]
    assert said[7:11] == ["kept: True True False False", "left:", "readable: ok ok", "table: ok ok"]


def test_overlapping_studies_side_by_side(place: Path) -> None:
    studies = {"one": ("2", "4", "6"), "two": ("4", "6", "8"), "three": ("6", "8", "2")}
    begun = [start(SCRIPT, name, "1", *numbers) for name, numbers in studies.items()]
    said = [process.communicate(timeout=60)[0] for process in begun]
    for text, numbers in zip(said, studies.values(), strict=True):
        assert "rows " + " ".join(f"number={n}:ok" for n in sorted(numbers)) in text, text
    assert set(measured(place)) == {2, 4, 6, 8}
    assert len(list((place / "store" / "artifacts").iterdir())) == 4
    for folder in ("tmp", "partial", "failures"):
        assert list((place / "store").glob(f"{folder}/*")) == []


def test_a_run_that_another_process_saved_meanwhile_is_not_done_again(place: Path) -> None:
    tell(place, sleep_2=60)
    slow = start(SCRIPT, "slow", "1", "2", "4")
    wait_for(lambda: measured(place) == [2])
    quick = start(SCRIPT, "quick", "1", "4").communicate(timeout=60)[0]
    tell(place, sleep_2=0)
    assert "rows number=4:ok" in quick
    assert "rows number=2:ok number=4:ok" in slow.communicate(timeout=60)[0]
    assert measured(place) == [2, 4]


def test_a_kill_frees_locks_and_loses_what_was_in_flight(place: Path) -> None:
    tell(place, sleep_4=60)
    killed = start(SCRIPT, "same", "2", "2", "4")
    wait_for(lambda: 4 in measured(place))
    users = users_of(place / "store")
    killed.kill()
    killed.communicate()
    tell(place, sleep_4=0)
    again = start(SCRIPT, "same", "2", "2", "4").communicate(timeout=60)[0]
    assert "rows number=2:ok number=4:ok" in again
    assert "waiting" not in again
    assert measured(place).count(2) == 1, "what was saved is kept"
    wait_for(lambda: not set(users) & set(users_of(place / "store")), 5)


@pytest.fixture
def kernel(place: Path) -> Iterator[Any]:
    """A notebook's kernel and its client, with the study of probes 2 and 3 made."""
    sockets = Path(tempfile.mkdtemp(prefix="kit-"))
    manager = KernelManager(
        kernel_spec_manager=_ThisPython(),
        transport="ipc",
        connection_file=str(sockets / "kernel.json"),
    )
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute_interactive("import crashing; study = crashing.make('same', [2, 3])", timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    shutil.rmtree(sockets, ignore_errors=True)


@pytest.mark.alone
def test_an_interrupt_in_a_notebook_leaves_the_kernel_usable(place: Path, kernel: Any) -> None:
    manager, client = kernel
    tell(place, sleep_2=60, sleep_3=60)
    client.execute("study.run(workers=2)")
    wait_for(lambda: len(measured(place)) == 2)
    begun = time.monotonic()
    manager.interrupt_kernel()
    assert client.get_shell_msg(timeout=30)["content"]["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - begun < PROMPT
    kernel_pid = manager.provisioner.pid
    assert set(users_of(place / "store")) == {kernel_pid}
    tell(place, sleep_2=0, sleep_3=0)
    reply = client.execute_interactive(
        "assert set(study.run(workers=2).query('metric == \"rate\"').status) == {'ok'}", timeout=60
    )
    assert reply["content"]["status"] == "ok", reply["content"]


@pytest.mark.alone
def test_an_interrupt_of_kit_run_returns_at_once(place: Path) -> None:
    tell(place, sleep_2=60, sleep_3=60)
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    cell = "import crashing\ncrashing.make('same', [2, 3]).run(workers=2)"
    book.cells.append(nbformat.v4.new_code_cell(cell))
    nbformat.write(book, place / "notebooks" / "01_probes.ipynb")
    process = start("-m", "kit", "run", "01")
    wait_for(lambda: len(measured(place)) == 2)
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[0]
    taken = time.monotonic() - begun
    assert process.returncode == 1
    assert taken < PROMPT, f"{taken:.2f} s"
    assert "stopped: 0 of 2 runs are kept; run again to go on" in said
    assert "01_probes.ipynb was stopped or died; what is finished is kept" in said
    assert "Traceback" not in said
    assert users_of(place / "store") == []
