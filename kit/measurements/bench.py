"""What measurements get and give: a worker's bench, a driver, raw columns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kit import build, registry
from kit.progress import report
from kit.ref import Ref
from kit.roles import data
from kit.runner import Runner
from kit.spec import Run, Variant
from kit.verify import TRIED, verify

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Raw:
    """What a measurement gives: the artifact's kind and columns, and what else is known."""

    kind: str
    columns: Columns
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Driver:
    """What a measurement that starts its own processes gets from the study.

    Attributes:
        variant: what is measured.
        worker: opens a worker: `with driver.worker(Factory, *args, threads=n) as worker`.
        parts: finished launches by name, from an earlier call that was stopped.
        save_part: keeps a finished launch.
        progress: shows a text beside the bar.
    """

    variant: Variant
    worker: Callable[..., contextlib.AbstractContextManager[Any]]
    parts: dict[str, dict[str, np.ndarray]]
    save_part: Callable[[str, Columns], None]
    progress: Callable[[str], None]


class Bench:
    """The target of quality, cost and memory workers."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._held: tuple[Variant, int, Ref | None] | None = None

    def prepare(self, variant: Variant) -> None:
        """Builds the weights and graphs of a variant."""
        build.prepare(variant)

    def verify(self, variant: Variant, task: Ref, threads: int, batch_size: int) -> float:
        """Returns how far a variant's outputs are from those it has to give: `kit.verify`."""
        return verify(variant, task, threads, batch_size)

    def measure(self, run: Run) -> Raw:
        """Measures one run; the runner is kept for the next run of the same variant.

        Raises:
            Undefined: this variant cannot be measured so.
            TypeError: the registered function did not return a `Raw`.
        """
        start, loading = time.perf_counter(), 0.0
        threads = int(run.measurement.args.get("threads") or 1)
        task = data(run.measurement).get("task")
        wanted = (run.variant, threads, task)
        if self._runner is None or self._held != wanted:
            self._runner = None  # frees the old one before the new one is loaded
            report("loading")
            self._runner = Runner(*wanted)
            self._held = wanted
            loading = time.perf_counter() - start
        entry = registry.measurements.get(run.measurement.name)
        if entry.traits["where"] == "worker" and isinstance(task, Ref):
            batch_size = run.measurement.args.get("batch_size") or TRIED
            verify(run.variant, task, threads, batch_size, self._runner)
        raw = entry.function(self._runner, **run.measurement.args)
        if not isinstance(raw, Raw):
            raise TypeError(f"{entry.name} returned a {type(raw).__name__}; expected kit's Raw")
        seconds = round(time.perf_counter() - start, 3)
        spent = {"starting": loading, run.measurement.name: seconds - loading}
        return Raw(raw.kind, raw.columns, {"spent": spent, **raw.info, "seconds": seconds})
