"""A study: runs with a baseline, what is done of them, and the table they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kit import build, presets, registry, results, store, tasks
from kit.busyness import BUSY
from kit.plan import failure, plan, state
from kit.readings import Readings
from kit.ref import Ref, content_hash
from kit.spec import Run, Variant, uses
from kit.table import TABLE_VERSION, rows_code, rows_of
from kit.values import SpecError, check_name, shown, suggest

if TYPE_CHECKING:
    import pandas as pd

    from kit.report.plans import Plan

METRICS = ("metrics", "group_metrics", "shifted_metrics")
"""What a study says of the rows it wants."""


@dataclasses.dataclass
class Study(Readings):
    """A named list of runs with a baseline.

    Attributes:
        name: in tables; two studies of one table need two names.
        runs: what is measured; doubles are dropped.
        baseline: what paired numbers are against.
        left_out: combinations that a harness left out, with the reason.
        metrics: names of those the table has; of a kind of artifact that none of these reads, and
            where not given, the kind's own (`kit list artifacts`).
        group_metrics: of these, for each group.
        shifted_metrics: of corrupted items and validation splits.
    """

    name: str
    runs: Sequence[Run]
    baseline: Variant
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    metrics: Sequence[str] | None = None
    group_metrics: Sequence[str] | None = None
    shifted_metrics: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a study")
        if not isinstance(self.runs, Iterable):
            raise SpecError(f"study {self.name!r}: runs is {shown(self.runs)}; expected Runs")
        self.runs = tuple(self.runs)
        if wrong := [run for run in self.runs if not isinstance(run, Run)]:
            raise SpecError(f"study {self.name!r}: {shown(wrong[0])} among the runs is no Run")
        if not isinstance(self.baseline, Variant):
            raise SpecError(
                f"study {self.name!r}: baseline is {shown(self.baseline)}; expected a Variant"
            )
        self.runs = tuple(dict.fromkeys(self._complete(run) for run in self.runs))
        if not self.runs:
            raise SpecError(f"study {self.name!r} has no runs")
        kinds = dict.fromkeys(registry.saves(run.measurement) for run in self.runs)
        for which in METRICS:
            setattr(self, which, registry.wanted(kinds, which, getattr(self, which)))
        variants = {run.variant.replace(seed=0) for run in self.runs}
        if self.baseline.replace(seed=0) not in variants:
            names = sorted({run.variant.name for run in self.runs})
            raise SpecError(
                f"baseline {self.baseline.name!r} is not in study {self.name!r}; it has "
                + ", ".join(names)
            )
        named: dict[str, Variant] = {}
        for run in self.runs:
            variant = run.variant.replace(seed=0, name="any")
            if named.setdefault(run.variant.name, variant) != variant:
                raise SpecError(
                    f"two variants of {self.name!r} are named {run.variant.name!r}; give one "
                    "of them another, Variant(..., name=...)"
                )

    def _complete(self, run: Run) -> Run:
        """Fills in the baseline as the other side of a timing."""
        args = run.measurement.args
        if "against" in args and args["against"] is None:
            against = self.baseline.replace(seed=run.variant.seed)
            return Run(run.variant, run.measurement.replace(against=against))
        return run

    def plan(self) -> Plan:
        """Returns what would run, what is done, about how long it takes and what cannot work.

        It shows a line a variant; it is a data frame of all rows, and `plan().rows` shows them.
        Warns where a training is too short to compare architectures (fewer than 250 steps).
        """
        return plan(self)

    def run(
        self,
        *,
        executor: str = "local",
        workers: int | None = None,
        on_error: str = "row",
        redo: str | Iterable[str] = (),
        metrics: Iterable[str] = (),
        time_limit: float = 3600.0,
    ) -> pd.DataFrame:
        """Does what is not done and returns the table. Stop it any time; run it again to go on.

        Args:
            executor: `local` (worker processes) or `inline` (this process, for debugging).
            workers: processes for quality runs; the preset's number where not given.
            on_error: `row` keeps a failure as an error row; `raise` raises it.
            redo: names of variants or measurements to do anew; `busy` for the timings in which
                others kept the machine busy.
            metrics: names of registered metrics to add to the study's; loads no model.
            time_limit: seconds that one step of a run may take before it is an error row.

        Raises:
            SpecError: a wrong option or name.
        """
        for given, choices, what in (
            (executor, ("local", "inline"), "executor"),
            (on_error, ("row", "raise"), "on_error"),
        ):
            if given not in choices:
                raise SpecError(suggest(given, choices, what))
        for metric in metrics:
            registry.metrics.get(metric)
        for which in ("metrics", "shifted_metrics"):
            setattr(self, which, tuple(dict.fromkeys((*getattr(self, which), *metrics))))
        with store.locked(
            store.store_root() / "locks" / f"{content_hash(self.name)}.lock", self.name
        ):
            store.sweep()
            ids = self.ids()
            self._forget(ids, {redo} if isinstance(redo, str) else set(redo))
            pending = {
                run: run_id for run, run_id in ids.items() if state(run, run_id)[0] == "to do"
            }
            print(f"{self.name}: {len(ids) - len(pending)} of {len(ids)} runs are done", flush=True)
            if pending:
                self._execute(pending, executor, workers, on_error, time_limit)
        return self.table()

    def _execute(
        self,
        pending: dict[Run, str],
        executor: str,
        workers: int | None,
        on_error: str,
        time_limit: float,
    ) -> None:
        from kit.execution import Execution

        count = workers or presets.preset()["workers"]
        execution = Execution(
            pending, executor=executor, workers=count, on_error=on_error, time_limit=time_limit
        )
        try:
            execution.run()
        except KeyboardInterrupt:
            done = sum(store.has(run_id) for run_id in pending.values())
            print(f"\nstopped: {done} of {len(pending)} runs are kept; run again to go on")
            raise

    def _forget(self, ids: Mapping[Run, str], redo: set[str]) -> None:
        known = {r.variant.name for r in ids} | {r.measurement.name for r in ids} | {BUSY}
        for name in redo - known:
            raise SpecError(suggest(name, known, "variant or measurement to redo"))
        for run, run_id in ids.items():
            named = {run.variant.name, run.measurement.name} & redo
            busy = BUSY in redo and store.has(run_id) and store.read_info(run_id).get(BUSY)
            if named or busy:
                store.delete(run_id)

    def table(self) -> pd.DataFrame:
        """Returns the rows of everything that is done, and of what failed or cannot work.

        Rows of unchanged artifacts, metrics and code come from the store's cache.
        """
        ids = self.ids()
        infos = self._infos(ids)
        numbers = {key: number for number, key in enumerate(self._machine_keys(infos.values()))}
        metrics, group_metrics, aside = (tuple(getattr(self, which)) for which in METRICS)
        names = {*metrics, *group_metrics, *aside}
        versions = {name: registry.metrics.get(name).version for name in sorted(names)}
        saved = [[ids[run], info.get("saved")] for run, info in infos.items()]
        labels = [(run.variant.name, str(run.measurement.args.get("against"))) for run in infos]
        failures = {run: failure(run, ids[run]) for run, info in infos.items() if not info}
        key = content_hash(
            *("table", rows_code(), self.baseline, versions, saved, labels),
            *(list(failures.values()), metrics, group_metrics, aside),
        )
        wanted = {False: (metrics, group_metrics), True: (aside, ())}
        rows = store.memo(key, lambda: rows_of(ids, failures, wanted, self.baseline))
        machine_of = {
            ids[run]: numbers.get(info.get("machine_key", "")) for run, info in infos.items()
        }
        for row in rows:
            row["study"] = self.name
            row["machine"] = machine_of.get(row["run_id"].partition(" ")[0])
        table = results.to_frame(rows)
        table.attrs["items"] = self._sizes(run for run, info in infos.items() if info)
        return table

    @staticmethod
    def _sizes(runs: Iterable[Run]) -> dict[str, int]:
        """Returns how many items there are in each `task split`, whatever was judged of it."""
        named = {run.measurement.args.get("task") for run in runs}
        return {
            f"{task.name} {split}": size
            for task in named
            if isinstance(task, Ref)
            for split, size in tasks.describe(task)["sizes"].items()
        }

    @staticmethod
    def _infos(ids: Mapping[Run, str]) -> dict[Run, dict[str, Any]]:
        """Returns what is known of each run; of a damaged one nothing, and it is set aside."""
        infos = {}
        for run, run_id in ids.items():
            try:
                infos[run] = store.read_info(run_id)
            except store.Damaged as error:
                store.set_aside(run_id, str(error))
                infos[run] = {}
        return infos

    @staticmethod
    def _machine_keys(infos: Iterable[Mapping[str, Any]]) -> list[str]:
        return list(dict.fromkeys(info["machine_key"] for info in infos if info))

    def machines(self) -> pd.DataFrame:
        """Returns one row a machine that runs were done on; its index is the rows' `machine`."""
        import pandas as pd

        infos = [*self._infos(self.ids()).values()]
        found = {info["machine_key"]: info["machine"] for info in infos if info}
        keys = self._machine_keys(infos)
        return pd.DataFrame(
            [found[key] for key in keys], index=pd.Index(range(len(keys)), name="machine")
        )

    def versions(self) -> dict[str, str]:
        """Returns the version of all code behind the rows, metrics apart, by kind and name."""
        found = {key: one for run in self.runs for key, one in uses(run).items()}
        return {"table": str(TABLE_VERSION), **found}

    def spent(self) -> dict[str, dict[str, float]]:
        """Returns what the seconds of each done run, and of each thing built for it, went into.

        Returns:
            `training`, `timing`, `starting` (processes, imports, loading), `waiting`, a
            measurement's name, ... by run id or built folder: two studies share some.
        """
        found: dict[str, dict[str, float]] = {}
        for run, run_id in self.ids().items():
            info = store.read_info(run_id)
            found[run_id] = info.get("spent") or {run.measurement.name: info.get("seconds", 0.0)}
            for folder, (what, seconds) in build.spent(run.variant).items():
                found[folder] = {what: seconds}
        return found
