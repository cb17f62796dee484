"""Doing the runs of a study: builds first, then side by side what may be, alone what must be."""

from __future__ import annotations

import contextlib
import queue
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from kit.analysis.stopping import Stopping
from kit.build import steps
from kit.machine import environment
from kit.machine.progress import set_progress
from kit.machine.workers import Worker, WorkerError, inline, kill_all
from kit.measurements.interface import Bench, Driver, Raw
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined, pathless
from kit.spec.spec import Run, Variant
from kit.store import built, store
from kit.study.bar import Bar

Opener = Callable[..., contextlib.AbstractContextManager[Any]]


class Execution:
    """Runs what is pending and saves each artifact, or why there is none, as soon as it is known.

    Args:
        pending: the runs.
        executor: `local` (worker processes) or `inline` (this process, for debugging).
        workers: processes for quality runs.
        on_error: `row` keeps a failure as a row and goes on; `raise` raises the first.
        time_limit: seconds that one call of a worker may take.
    """

    def __init__(
        self,
        pending: Sequence[Run],
        *,
        executor: str,
        workers: int,
        on_error: str,
        time_limit: float,
    ) -> None:
        self._ids = {run: run.id for run in pending}  # as it is now: a folder may change meanwhile
        self._on_error = on_error
        self._count = workers if executor == "local" else 1
        self._bar = Bar(len(pending))
        self._stopped = False
        self._open: Opener = inline
        if executor == "local":
            self._open = partial(Worker, timeout=time_limit, progress=self._bar.show)

    def run(self) -> None:
        """Does everything; on an interrupt the workers end and what is done stays."""
        set_progress(self._bar.show)  # of what runs in this process
        try:
            with contextlib.ExitStack() as stack:
                pending, builder = self._builds(list(self._ids), stack)
                where = {run: _where(run) for run in pending}
                self._side_by_side([run for run in pending if where[run] == "worker"], builder)
            for run in pending:
                if where[run] == "fresh" and not self._done_meanwhile(run):
                    self._one_fresh(run)
            driven = [run for run in pending if where[run] == "driver"]
            if driven:
                with store.timing_lock():
                    for run in driven:
                        if not self._done_meanwhile(run):
                            self._one_driven(run)
        except BaseException:
            self._stop()
            raise
        finally:
            set_progress(None)
            self._bar.close()

    def _stop(self) -> None:
        """Ends the workers; what they did not finish is no failure."""
        self._stopped = True
        kill_all()

    @contextlib.contextmanager
    def _kept(self, runs: Sequence[Run]) -> Iterator[None]:
        """Turns a failure into the kept failure of every run that needed what failed."""
        try:
            yield
        except store.StoreError:
            raise  # no run's failure, and nothing more can be kept
        except Exception as error:
            for run in runs:
                self._failed(run, error)

    def _failed(self, run: Run, error: Exception) -> None:
        if self._stopped:
            return
        undefined = isinstance(error, Undefined)
        if self._on_error == "raise" and not undefined:
            raise error
        log = getattr(error, "log", "") or "".join(traceback.format_exception(error))
        message = f"{run.variant.name}: {error}"
        if isinstance(error, SpecError | Undefined):
            message = str(error)
        store.save_failure(self._ids[run], pathless(message), log, undefined=undefined)
        self._bar.update()

    def _done_meanwhile(self, run: Run) -> bool:
        """Says whether another process, of a study with the same run, saved it since the start."""
        if not store.has(self._ids[run]):
            return False
        self._bar.update()
        return True

    def _save(self, run: Run, raw: Raw) -> None:
        """Keeps an artifact.

        Raises:
            SpecError: a folder that the run reads changed since the study began.
        """
        if run.id != self._ids[run]:
            raise SpecError(built.CHANGED)
        about = {"machine": environment.machine(), "machine_key": environment.machine_key()}
        info = {**raw.info, **about, "saved": time.time_ns()}
        store.save(store.Artifact(run, self._ids[run], raw.kind, raw.columns, info), over=False)
        self._bar.update()

    def _builds(
        self, pending: Sequence[Run], stack: contextlib.ExitStack
    ) -> tuple[list[Run], Any | None]:
        """Trains and exports what is missing, one after another on all cores.

        Returns the runs whose builds are there, and the worker that built them, which the stack
        ends: starting another takes seconds.
        """
        threads = environment.machine()["threads"]
        needed: dict[Variant, list[Run]] = {}
        for run in pending:
            against = run.measurement.args.get("against")
            for variant in (run.variant, against):
                if isinstance(variant, Variant):
                    needed.setdefault(variant, []).append(run)
        failed: set[Run] = set()
        worker = None
        for variant, runs in needed.items():
            waiting = [run for run in runs if run not in failed]
            with self._kept(waiting):
                try:
                    if steps.missing(variant):
                        worker = worker or stack.enter_context(
                            self._open(Bench, threads=threads, patient=True)
                        )
                        with self._bar.telling(variant):
                            worker.call("prepare", variant)
                except Exception as error:
                    failed.update(waiting)
                    worker = None if isinstance(error, WorkerError) else worker
                    raise
        return [run for run in pending if run not in failed], worker

    def _side_by_side(self, runs: Sequence[Run], builder: Any | None) -> None:
        """Measures worker runs, those of one variant together; a crash costs the run it hit.

        Args:
            runs: whose builds are there.
            builder: a worker that is alive already.
        """
        groups: dict[tuple[Variant, Any], list[Run]] = {}
        for run in runs:
            groups.setdefault((run.variant, run.measurement.args.get("threads")), []).append(run)
        waiting: queue.SimpleQueue[list[Run]] = queue.SimpleQueue()
        for members in groups.values():
            waiting.put(members)

        def drain(worker: Any | None) -> None:
            with contextlib.ExitStack() as stack:
                while True:
                    try:
                        members = waiting.get_nowait()
                    except queue.Empty:
                        return
                    for run in members:
                        if self._done_meanwhile(run):
                            continue
                        if worker is None:  # a runner takes the threads that its run asks for
                            worker = stack.enter_context(self._open(Bench, threads=1))
                        if self._stopped:  # after opening, so that the flag or the kill is seen
                            return
                        with self._kept([run]), self._bar.telling(run.variant):
                            try:
                                self._save(run, worker.call("measure", run, self._ids[run]))
                            except WorkerError:
                                worker = None
                                raise

        if self._count == 1:
            drain(builder)
            return
        with ThreadPoolExecutor(self._count) as pool:
            first = [builder, *[None] * (self._count - 1)]
            futures = [pool.submit(drain, worker) for worker in first]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                with contextlib.suppress(queue.Empty):
                    while True:
                        waiting.get_nowait()
                self._stop()
                raise

    def _one_fresh(self, run: Run) -> None:
        threads = run.measurement.args.get("threads") or 1
        with (
            self._kept([run]),
            self._bar.telling(run.variant),
            self._open(Bench, threads=threads, freed="system") as worker,
        ):
            self._save(run, worker.call("measure", run, self._ids[run]))

    def _one_driven(self, run: Run) -> None:
        run_id = self._ids[run]
        entry = registry.measurements.get(run.measurement.name)
        driver = Driver(
            run.variant,
            self._open,
            store.parts(run_id),
            partial(store.save_part, run_id),
            self._bar.show,
            Stopping,
        )
        start = time.perf_counter()
        with self._kept([run]), self._bar.telling(run.variant):
            raw = entry.function(driver, **run.measurement.args)
            seconds = round(time.perf_counter() - start, 3)
            info = {**raw.info, "seconds": seconds}
            self._save(run, Raw(raw.kind, raw.columns, info))


def _where(run: Run) -> str:
    return str(registry.measurements.get(run.measurement.name).traits["where"])
