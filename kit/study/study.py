"""A study: runs with a baseline, what is done of them, and the table they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kit.build import build
from kit.machine.load import BUSY
from kit.spec import presets, registry, roles
from kit.spec.checking import SpecError, check_name, shown, suggest
from kit.spec.ref import content_hash
from kit.spec.spec import Run, Variant
from kit.store import results, store
from kit.study.plan import failure, plan, state
from kit.study.readings import Readings
from kit.study.table import rows_of, sizes_of

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
    _kept: tuple[list[Any], list[dict[str, Any]]] | None = dataclasses.field(
        default=None, init=False, repr=False, compare=False
    )
    """Rows, and what they were made of."""

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
        kinds = dict.fromkeys(roles.saves(run.measurement) for run in self.runs)
        for which in METRICS:
            registry.check_read(kinds, which, getattr(self, which))
            setattr(self, which, registry.wanted(kinds, which, getattr(self, which)))
        named: dict[str, Variant] = {}
        for name, variant in dict.fromkeys((run.variant.name, run.variant) for run in self.runs):
            if named.setdefault(name, variant.unseeded) != variant.unseeded:
                raise SpecError(
                    f"two variants of {self.name!r} are named {name!r}; give one of them another, "
                    "Variant(..., name=...)"
                )
        if self.baseline.unseeded not in named.values():
            raise SpecError(
                f"baseline {self.baseline.name!r} is not in study {self.name!r}; it has "
                + ", ".join(sorted(named))
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
        added = [registry.metrics.get(metric).name for metric in metrics]
        registry.check_read({roles.saves(run.measurement) for run in self.runs}, "metrics", added)
        for which in ("metrics", "shifted_metrics"):
            setattr(self, which, tuple(dict.fromkeys((*getattr(self, which), *added))))
        with store.locked(
            store.store_root() / "locks" / f"{content_hash(self.name)}.lock", self.name
        ):
            store.sweep()
            self._forget({redo} if isinstance(redo, str) else set(redo))
            pending = [run for run, key in self._ids().items() if state(run, key)[0] == "to do"]
            done, count = len(self.runs) - len(pending), len(self.runs)
            print(f"{self.name}: {done} of {count} runs are done", flush=True)
            if pending:
                self._execute(pending, executor, workers, on_error, time_limit)
        return self.table()

    def _execute(
        self,
        pending: Sequence[Run],
        executor: str,
        workers: int | None,
        on_error: str,
        time_limit: float,
    ) -> None:
        from kit.study.execution import Execution

        count = workers or presets.of(smoke=1, default=2, full=2)
        execution = Execution(
            pending, executor=executor, workers=count, on_error=on_error, time_limit=time_limit
        )
        try:
            execution.run()
        except KeyboardInterrupt:
            done = sum(store.has(run.id) for run in pending)
            print(f"\nstopped: {done} of {len(pending)} runs are kept; run again to go on")
            raise

    def _forget(self, redo: set[str]) -> None:
        known = {name for r in self.runs for name in (r.variant.name, r.measurement.name)} | {BUSY}
        for name in redo - known:
            raise SpecError(suggest(name, known, "variant or measurement to redo"))
        for run in self.runs if redo else ():
            named = {run.variant.name, run.measurement.name} & redo
            if named or (BUSY in redo and store.read_info(run.id).get(BUSY)):
                store.delete(run.id)

    def table(self) -> pd.DataFrame:
        """Returns the rows of everything that is done, and of what failed or cannot work.

        They are computed from the artifacts, and kept with this study until something changes.
        """
        ids = self._ids()
        infos = self._infos(ids)
        machines = dict.fromkeys(info["machine_key"] for info in infos.values() if info)
        numbers = {key: number for number, key in enumerate(machines)}
        machine_of = {key: numbers.get(info.get("machine_key")) for key, info in infos.items()}
        rows = self._rows(ids, infos)
        for row in rows:
            row["study"] = self.name
            row["machine"] = machine_of.get(row["run_id"].partition(" ")[0])
        table = results.to_frame(rows)
        table.attrs["items"] = sizes_of(run for run, key in ids.items() if infos[key])
        return table

    def _rows(
        self, ids: Mapping[Run, str], infos: Mapping[str, Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        metrics, group_metrics, aside = (tuple(getattr(self, which)) for which in METRICS)
        names = sorted({*metrics, *group_metrics, *aside})
        failures = {run: failure(run, key) for run, key in ids.items() if not infos[key]}
        saved = [(key, info.get("saved")) for key, info in infos.items()]
        made_of: list[Any] = [(name, registry.metrics.get(name).version) for name in names]
        made_of += [metrics, group_metrics, aside, *saved, self.baseline, *failures.values()]
        if self._kept is None or self._kept[0] != made_of:
            wanted = {False: (metrics, group_metrics), True: (aside, ())}
            self._kept = made_of, rows_of(ids, failures, wanted, self.baseline)
        return self._kept[1]

    def _ids(self) -> dict[Run, str]:
        """Returns the id of each run as it is now; it takes as long as all else that is asked."""
        return {run: run.id for run in self.runs}

    @staticmethod
    def _infos(ids: Mapping[Run, str]) -> dict[str, dict[str, Any]]:
        """Returns what is known of runs by id; of a damaged one nothing, and it is set aside."""
        infos = {}
        for run_id in ids.values():
            try:
                infos[run_id] = store.read_info(run_id)
            except store.Damaged as error:
                store.set_aside(run_id, str(error))
                infos[run_id] = {}
        return infos

    def machines(self) -> pd.DataFrame:
        """Returns one row a machine that runs were done on; its index is the rows' `machine`."""
        import pandas as pd

        infos = self._infos(self._ids()).values()
        machines = {info["machine_key"]: info["machine"] for info in infos if info}
        index = pd.Index(range(len(machines)), name="machine")
        return pd.DataFrame([*machines.values()], index=index)

    def record(self) -> dict[str, dict[str, Any]]:
        """Returns what the numbers of each run come from, by its id: what `publish` keeps.

        See `kit.build.build.origin`; `seconds` is what the run took, None where it has no result.
        """
        ids = self._ids()
        infos = self._infos(ids)
        return {
            key: {
                **build.origin(run, built=bool(infos[key])),
                "seconds": infos[key].get("seconds"),
            }
            for run, key in ids.items()
        }
