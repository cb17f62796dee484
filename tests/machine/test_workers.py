"""The worker process: answers, and every way in which it may not."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from helpers import Cells

from kit.machine import workers
from kit.machine.progress import report
from kit.machine.workers import Worker, WorkerError, inline
from kit.spec import registry
from kit.spec.checking import SpecError, StoreError, Undefined


class Target:
    """What the workers of these tests hold."""

    def __init__(self, start: int = 0) -> None:
        self.total = start

    def add(self, number: int) -> int:
        self.total += number
        return self.total

    def echo(self, value: Any) -> Any:
        return value

    def fail(self, kind: type[Exception], message: str) -> None:
        raise kind(message)

    def grow(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        np.ones(1 << 28)

    def signal(self, number: int, said: str) -> None:
        print(said, file=sys.stderr, flush=True)
        os.kill(os.getpid(), number)

    def leave(self, code: int) -> None:
        os._exit(code)

    def hang(self) -> None:
        time.sleep(60)

    def talk(self) -> str:
        print("to the standard output")
        os.write(1, b"raw bytes\n")
        subprocess.run(["echo", "from a child"], check=True)
        print("to the standard error", file=sys.stderr)
        return "said"

    def count(self, steps: int) -> None:
        for step in range(steps):
            report(f"{step} of {steps}")

    def unsendable(self) -> Any:
        return (number for number in range(3))

    def faults(self) -> int:
        """Returns the page faults of taking and freeing 16 MiB, in pieces, once it was done."""
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            pieces = [np.ones(2**18) for _ in range(8)]
            del pieces
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def threads(self) -> tuple[str | None, str | None]:
        return os.environ.get("OMP_NUM_THREADS"), os.environ.get("OMP_WAIT_POLICY")


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    """One process for all tests that leave it alive."""
    with Worker(Target, 10, threads=1, timeout=60) as worker:
        yield worker


def test_calls_keep_the_state(shared: Worker) -> None:
    total = shared.call("add", 0)
    assert [shared.call("add", 5), shared.call("add", 1)] == [total + 5, total + 6]


def test_big_arrays_go_both_ways(shared: Worker) -> None:
    array = np.arange(2_000_000, dtype=np.float64)
    np.testing.assert_array_equal(shared.call("echo", array), array)


def test_an_error_carries_its_traceback_and_the_worker_goes_on(shared: Worker) -> None:
    with pytest.raises(WorkerError, match="KeyError: 'x'") as caught:
        shared.call("fail", KeyError, "x")
    assert "in fail" in caught.value.log
    assert "raise kind(message)" in caught.value.log
    assert shared.call("echo", 1) == 1


@pytest.mark.parametrize("kind", [SpecError, StoreError, Undefined])
def test_our_own_errors_come_as_they_are(shared: Worker, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="^because of this$"):
        shared.call("fail", kind, "because of this")


def test_an_error_without_a_message(shared: Worker) -> None:
    with pytest.raises(WorkerError, match="ValueError: no message"):
        shared.call("fail", ValueError, "")


def test_prints_go_to_the_log_and_not_into_the_protocol(shared: Worker) -> None:
    assert shared.call("talk") == "said"
    assert shared.call("echo", "next") == "next"
    log = shared.log()
    assert "raw bytes\n" in log
    assert "from a child\n" in log
    assert "to the standard error\n" in log


def test_an_answer_that_cannot_be_sent_is_an_error(shared: Worker) -> None:
    with pytest.raises(WorkerError, match="TypeError: cannot pickle 'generator'"):
        shared.call("unsendable")
    assert shared.call("echo", 1) == 1


def test_progress_is_shown_while_it_works() -> None:
    shown: list[str] = []
    with Worker(Target, progress=shown.append, threads=3, patient=True) as worker:
        worker.call("count", 3)
        assert worker.call("threads") == ("3", "passive")
    assert shown == ["0 of 3", "1 of 3", "2 of 3"]


@pytest.mark.parametrize(
    ("number", "said", "how"),
    [
        (signal.SIGKILL, "", "SIGKILL, perhaps out of memory"),
        (signal.SIGABRT, "what():  std::bad_alloc", "SIGABRT, out of memory"),
        (signal.SIGABRT, "", "SIGABRT, a crash in native code"),
        (signal.SIGSEGV, "", "SIGSEGV, a crash in native code"),
    ],
)
def test_a_signal_is_explained(number: int, said: str, how: str) -> None:
    with Worker(Target) as worker, pytest.raises(WorkerError) as caught:
        worker.call("signal", number, said)
    assert str(caught.value) == f"the worker died ({how})"


def test_an_exit_code_is_told() -> None:
    with Worker(Target) as worker, pytest.raises(WorkerError, match=r"the worker died \(.*7"):
        worker.call("leave", 7)


def test_out_of_memory_says_so_and_the_next_worker_is_clean() -> None:
    with Worker(Target) as worker:
        with pytest.raises(WorkerError, match="^out of memory: .*MemoryError: "):
            worker.call("grow")
        assert worker.call("echo", 1) == 1
    with Worker(Target) as worker:
        assert worker.call("echo", 1) == 1


def test_freed_blocks_go_where_they_were_asked_to() -> None:
    faults: dict[Any, int] = {}
    for freed in ("system", "process"):
        with Worker(Target, freed=freed, timeout=60) as worker:
            faults[freed] = worker.call("faults")
    assert faults["process"] < 100 and faults["system"] > 1000  # of 4,096 pages


def test_a_hang_ends_at_the_time_limit() -> None:
    start = time.monotonic()
    with Worker(Target, timeout=1.5) as worker:
        pid = worker.pid
        with pytest.raises(WorkerError, match="^passed its time limit of 1.5 s$"):
            worker.call("hang")
    assert time.monotonic() - start < 10
    assert not psutil.pid_exists(pid)


def test_a_factory_that_fails_says_so() -> None:
    with Worker(Target.fail, None, ValueError, "no start") as worker:
        with pytest.raises(WorkerError, match="ValueError: no start"):
            worker.call("echo", 1)
        with pytest.raises(WorkerError, match="the worker has ended"):
            worker.call("echo", 1)


def test_a_class_of_a_notebook_works_there_with_what_it_registers(
    cells: Cells, registries: None
) -> None:
    scope = cells.run("""
        import kit
        from kit.spec import registry
        OFFSET = 4
        @kit.register_scheme(form="module")
        def own(model): return OFFSET
        class Mine:
            def look(self):
                entry = registry.schemes.get("own")
                return entry.function(None), entry.version
    """)
    with Worker(scope["Mine"]) as worker:
        assert worker.call("look") == (4, registry.schemes.get("own").version)


def test_leaving_ends_the_process_and_so_does_kill_all() -> None:
    with Worker(Target) as worker:
        pid = worker.pid
        worker.call("echo", 1)
    assert not psutil.pid_exists(pid)
    with Worker(Target) as worker:
        worker.call("echo", 1)
        workers.kill_all()
        assert not psutil.pid_exists(worker.pid)
        with pytest.raises(WorkerError, match="the worker has ended"):
            worker.call("echo", 1)


def test_a_worker_ends_with_its_driver(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:]\n"
        "from test_workers import Target; from kit.machine.workers import Worker\n"
        "worker = Worker(Target); print(worker.pid, flush=True); worker.call('hang')"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, Path(__file__).parents[:2])],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    time.sleep(2.0)  # let it begin to hang
    assert psutil.pid_exists(pid)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)


def test_inline_has_the_same_interface() -> None:
    with inline(Target, 3, threads=1) as here:
        assert here.call("add", 4) == 7
        with pytest.raises(KeyError):
            here.call("fail", KeyError, "x")
