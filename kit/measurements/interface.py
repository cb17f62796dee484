"""What measurements get and give: a worker's bench, a driver, raw columns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from kit import tasks
from kit.build.runner import Runner
from kit.build.steps import prepare
from kit.build.traits import reads_task
from kit.build.verify import TRIED, verify
from kit.machine import environment
from kit.machine.progress import report
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.presets import Filled
from kit.spec.ref import Ref
from kit.spec.roles import Data, data, task_before
from kit.spec.spec import Run, Variant
from kit.store.unfinished import Unfinished

if TYPE_CHECKING:
    import datasets

    from kit.analysis.stopping import Stopping


def of_kind(*kinds: str) -> AfterValidator:
    """Returns a check of an argument that names a task: is it one of these kinds?"""

    def check(task: Ref) -> Ref:
        kind = registry.tasks.get(task.name).traits["kind"]
        if kind not in kinds:
            asked = " or ".join(kinds)
            raise SpecError(f"{task.name} is a task of {kind}; expected {asked}: Quality asks so")
        return task

    return AfterValidator(check)


def _split(name: str, info: ValidationInfo) -> str:
    task = task_before(info)
    return name if task is None else tasks.check_split(task, name)


Split = Annotated[str, Data("split"), AfterValidator(_split)]
"""An argument that names a split of the task that one before it names."""

Positive = Annotated[int, Field(ge=1)]
Length = Positive | Literal["task"]
"""`"task"` for the examples as they are, or a number of tokens that texts are filled up to."""


@dataclass(frozen=True)
class AllCores(Filled):
    """Fills in all cores of this machine."""

    def value(self, args: Mapping[str, Any]) -> int:
        """Returns how many threads a process may run at once."""
        return int(environment.machine()["threads"])

    def __str__(self) -> str:
        return "all cores"


Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Raw:
    """What a measurement gives: the artifact's kind and columns, and what else is known."""

    kind: str
    columns: Columns
    info: Mapping[str, Any] = field(default_factory=dict)


def item_columns(data: tasks.Task, rows: datasets.Dataset) -> dict[str, np.ndarray]:
    """Returns what a task says of each of some items: id, cluster and groups."""
    columns = {"item": np.asarray(rows["id"]), "cluster": np.asarray(rows["cluster"])}
    return columns | {f"group:{name}": np.asarray(rows[name]).astype(str) for name in data.groups}


@dataclass
class Driver:
    """What a measurement that starts its own processes gets from the study.

    Attributes:
        variant: what is measured.
        worker: opens a worker: `with driver.worker(Factory, *args, threads=n) as worker`.
        parts: finished launches by name, from an earlier call that was stopped.
        save_part: keeps a finished launch.
        progress: shows a text beside the bar.
        stopping: makes the rule of a number of launches: `stopping(launches, until, most)`.
    """

    variant: Variant
    worker: Callable[..., contextlib.AbstractContextManager[Any]]
    parts: dict[str, dict[str, np.ndarray]]
    save_part: Callable[[str, Columns], None]
    progress: Callable[[str], None]
    stopping: Callable[..., Stopping]


class Bench:
    """The target of quality, cost and memory workers."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._held: tuple[Variant, int, Ref | None] | None = None

    def prepare(self, variant: Variant) -> None:
        """Builds the weights and graphs of a variant."""
        prepare(variant)

    def find(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns what a function says of a variant that it loads here."""
        self._runner = self._held = None
        return function(*args)

    def measure(self, run: Run, run_id: str | None = None) -> Raw:
        """Measures one run; the runner is kept for the next run of the same variant.

        Args:
            run: what to measure.
            run_id: under which the store keeps what a long measurement has so far.

        Raises:
            Undefined: this variant cannot be measured so.
            TypeError: the registered function did not return a `Raw`.
        """
        start, loading = time.perf_counter(), 0.0
        threads = int(run.measurement.args.get("threads") or 1)
        task = data(run.measurement).get("task")
        read = task if reads_task(run.variant) else None
        wanted = (run.variant, threads, read)
        if self._runner is None or self._held != wanted:
            self._runner = None  # frees the old one before the new one is loaded
            report("loading")
            self._runner = Runner(*wanted)
            self._held = wanted
            loading = time.perf_counter() - start
        self._runner.unfinished = Unfinished(run_id)
        entry = registry.measurements.get(run.measurement.name)
        if entry.traits["where"] == "worker" and isinstance(task, Ref):
            batch_size = run.measurement.args.get("batch_size") or TRIED
            verify(run.variant, task, threads, batch_size, self._runner)
        raw = entry.function(self._runner, **run.measurement.args)
        if not isinstance(raw, Raw):
            raise TypeError(f"{entry.name} returned a {type(raw).__name__}; expected kit's Raw")
        seconds = round(time.perf_counter() - start, 3)
        spent = {"starting": loading, run.measurement.name: seconds - loading}
        notes = [*raw.info.get("notes", ()), *self._runner.model.notes]
        known = {"spent": spent, **raw.info, "seconds": seconds, "notes": notes}
        return Raw(raw.kind, raw.columns, known)
