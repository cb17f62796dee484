"""The rows that the runs of a study give: scored one by one, compared, and those that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit import tasks
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.roles import data, saves
from kit.spec.spec import Run, Variant
from kit.store import results, store

Row = dict[str, Any]
Wanted = Mapping[bool, tuple[Sequence[str], Sequence[str]]]
"""Whether a sample is set aside (a corrupted copy, a validation split) -> names of the metrics of
such, and of those for each group."""


def rows_of(
    runs: Mapping[Run, str], failures: Mapping[Run, Any], wanted: Wanted, baseline: Variant
) -> list[Row]:
    """Returns the rows of all runs; they lack `study` and `machine`.

    Args:
        runs: of the study, with their ids.
        failures: what is known of each run that has no artifact; None where it was not tried.
        wanted: names of metrics.
        baseline: what paired rows are against.
    """
    from kit.analysis.derived import derive
    from kit.analysis.findings.noise_floor import repeats
    from kit.analysis.paired import adjust
    from kit.analysis.sample import Related
    from kit.analysis.score import compare, missing, score

    artifacts, failures = [], dict(failures)
    for run, run_id in runs.items():
        if run not in failures:
            try:
                artifacts.append(store.load(run, run_id))
            except store.Damaged as error:
                store.set_aside(run_id, str(error))
                failures[run] = store.failure(run_id)
    lost = {
        run: known or {"message": "not run yet", "undefined": True}
        for run, known in failures.items()
    }
    related = Related(artifacts, {run: known["message"] for run, known in lost.items()})
    again = repeats(runs)
    samples = [related.sample(each) for each in artifacts if each.run not in again]
    rows = []
    for aside, names in wanted.items():
        some = [sample for sample in samples if sample.aside == aside]
        rows += [
            row
            for sample in some
            for row in score(sample, *names)
            if row["baseline"] or not _is_second_timing(sample.artifact.run, baseline)
        ]
        rows += compare(some, baseline, *names)
    why = {
        run: ("undefined" if known["undefined"] else "error", known["message"])
        for run, known in lost.items()
    }
    study = {"artifacts": artifacts, "samples": samples, "baseline": baseline}
    named = {name for names, _ in wanted.values() for name in names}
    entries = map(registry.metrics.get, registry.metrics.names())
    asked = [each.name for each in entries if each.in_kit or each.name in named]
    rows += derive(asked, rows, **study, again=again, lost=why)
    taken = {_key(row) for row in rows}
    for run in [run for run in lost if run not in again]:
        sample = related.sample(store.Artifact(run, runs[run], saves(run.measurement), {}))
        for row in missing(sample, why[run], wanted[sample.aside][0]):
            if _key(row) not in taken:  # another run may have it, or lack it too
                taken.add(_key(row))
                rows.append(row)
    return adjust(rows)


def sizes_of(runs: Iterable[Run]) -> dict[str, int]:
    """Returns how many items there are in each `task split`, whatever was judged of it."""
    named = {data(run.measurement).get("task") for run in runs}
    return {
        f"{task.name} {split}": size
        for task in named
        if isinstance(task, Ref)
        for split, size in tasks.describe(task)["sizes"].items()
    }


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in results.KEY)


def _is_second_timing(run: Run, baseline: Variant) -> bool:
    """Says whether a timing is against another variant than the baseline: a ratio is new in it, the
    variant's own time is not."""
    against = run.measurement.args.get("against")
    return isinstance(against, Variant) and against != baseline.replace(seed=run.variant.seed)
