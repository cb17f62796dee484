"""One class of worker process, for quality runs, fresh processes and timing pairs alike.

A worker holds one target object and answers calls of its methods: cloudpickle over a pair of
sockets. What the target prints goes to the worker's log: its standard output and error are that.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from typing import Any, Literal

import cloudpickle

from kit.spec import registry
from kit.spec.checking import SpecError, StoreError, Undefined

_AS_THEY_ARE = {error.__name__: error for error in (SpecError, StoreError, Undefined)}
_NO_MEMORY = re.compile(r"MemoryError|[Cc]an(no|')t allocate memory|bad_alloc|out of memory")
_NATIVE = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
_alive: set[Worker] = set()
_FREED = {  # mallopt(3); 32 MiB is the highest threshold that it takes
    "system": {"MALLOC_MMAP_THRESHOLD_": "65536"},
    "process": {
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": "1000000000",
        "MALLOC_TOP_PAD_": str(16 * 2**20),
    },
}


class WorkerError(RuntimeError):
    """A call failed in a worker, or the worker died; `log` has its traceback or last output."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Worker:
    """A process that holds `factory(*args)` and answers calls of its methods.

    Args:
        factory: an importable class, or one of a notebook, sent by value.
        *args: its arguments, pickled.
        threads: OpenMP threads of the process; None leaves the environment's.
        patient: whether threads that wait for others give up their core at once. On a busy machine
            that trains ten times faster; a short call takes a third longer, so timings do not.
        freed: where large freed blocks go, which glibc decides anew in each process. At once to
            the `system`: between eight fresh processes memory then differed by 0.2%, not by 12%.
            Or they stay with the `process`: between twins the time of large batches then differs
            by 2%, not by 20%, for none of them faults its pages in anew (3,000 to 25,000 a batch).
        timeout: seconds that a call may take.
        progress: gets what the worker reports.

    Attributes:
        started: the clock (`time.perf_counter`, one for all processes of a machine) just before.
    """

    def __init__(
        self,
        factory: Callable[..., Any],
        *args: Any,
        threads: int | None = None,
        patient: bool = False,
        freed: Literal["system", "process"] | None = None,
        timeout: float | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._timeout, self._progress = timeout, progress
        self._closing = threading.Lock()
        self._log = tempfile.TemporaryFile()
        self.started = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
        environment["TOKENIZERS_PARALLELISM"] = "false"
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        if patient:
            environment["OMP_WAIT_POLICY"] = "passive"
        environment |= _FREED[freed] if freed else {}
        self._connection, theirs = Pipe()
        serving = f"from kit.machine.serving import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", serving],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
                env=environment,
                start_new_session=True,
            )
        _alive.add(self)
        entries = [(kind, _fixed_version(entry)) for kind, entry in registry.user_entries()]
        self._send((entries, factory, args))
        self._opened = False

    def call(self, method: str, *args: Any) -> Any:
        """Calls a method of the target and returns what it returns.

        Raises:
            Undefined, SpecError, StoreError: as the method raised them.
            WorkerError: it raised something else, passed its time limit, or the process died.
        """
        if self not in _alive:
            raise WorkerError("the worker has ended", self.log())
        if not self._opened:
            try:
                self._receive()
            except BaseException:
                self.kill()
                raise
            self._opened = True
        self._send((method, args))
        return self._receive()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # the reader finds out how it died
            self._connection.send_bytes(cloudpickle.dumps(message))

    def _receive(self) -> Any:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            kind, content = cloudpickle.loads(self._read(deadline))
            if kind == "progress":
                if self._progress is not None:
                    self._progress(content)
            elif kind == "result":
                return content
            else:
                name, message, trace = content
                if name in _AS_THEY_ARE:
                    raise _AS_THEY_ARE[name](message) from WorkerError(trace)
                cause = "out of memory: " if _NO_MEMORY.search(f"{name} {message}") else ""
                raise WorkerError(f"{cause}{name}: {message}", trace)

    def _read(self, deadline: float | None) -> bytes:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            if self._connection.poll(wait):
                return self._connection.recv_bytes()
        except (EOFError, OSError):
            code = self._process.wait()
            self.kill()
            log = self.log()
            raise WorkerError(f"the worker died ({_how_it_died(code, log)})", log) from None
        self.kill()
        raise WorkerError(f"passed its time limit of {self._timeout:g} s", self.log())

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """Returns the end of what the worker wrote to its standard error."""
        if self._log.closed:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 20_000))
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """Ends the process and its children at once."""
        _alive.discard(self)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with self._closing:  # after an interrupt its own thread ends it too
            if not self._connection.closed:
                self._connection.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()


def kill_all() -> None:
    """Ends every worker of this process, as after an interrupt."""
    for worker in list(_alive):
        worker.kill()


@contextlib.contextmanager
def inline(factory: Callable[..., Any], *args: Any, **_: Any) -> Iterator[Any]:
    """Gives the same interface as a Worker in this process, for debugging."""

    class Inline:
        target: Any = None
        started = time.perf_counter()

        def call(self, method: str, *call_args: Any) -> Any:
            if self.target is None:
                self.target = factory(*args)
            return getattr(self.target, method)(*call_args)

    yield Inline()


def _fixed_version(entry: registry.Entry) -> registry.Entry:
    """Returns the entry with its version as a value: a worker has no notebook's source to hash."""
    return registry.Entry(
        entry.name, entry.function, entry.owner, entry.version, entry.aliases, entry.traits
    )


def _how_it_died(code: int, log: str) -> str:
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    if _NO_MEMORY.search(log):
        return f"{how}, out of memory"
    if -code == signal.SIGKILL:
        return f"{how}, perhaps out of memory"
    return f"{how}, a crash in native code" if -code in _NATIVE else how
