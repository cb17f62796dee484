"""The rows that the runs of a study give: scored one by one, compared, and those that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit import registry, results, store
from kit.ref import Ref
from kit.spec import Run, Variant

Row = dict[str, Any]


def rows_of(
    runs: Sequence[Run], failures: Mapping[Run, Any], names: Sequence[str], baseline: Variant
) -> list[Row]:
    """Returns the rows of all runs; they lack `study` and `machine`.

    Args:
        runs: of the study.
        failures: what is known of each run that has no artifact; None where it was not tried.
        names: of the metrics.
        baseline: what paired rows are against.
    """
    from kit.analysis.derived import derive
    from kit.analysis.noise_floor import repeats
    from kit.analysis.paired import adjust
    from kit.analysis.sample import Related
    from kit.analysis.score import compare, missing, score

    artifacts, failures = [], dict(failures)
    for run in runs:
        if run not in failures:
            try:
                artifacts.append(store.load(run, run.id))
            except store.Damaged as error:
                store.set_aside(run.id, str(error))
                failures[run] = store.failure(run.id)
    lost = {
        run: known or {"message": "not run yet", "undefined": True}
        for run, known in failures.items()
    }
    related = Related(artifacts, {run: known["message"] for run, known in lost.items()})
    again = repeats(runs)
    samples = [related.sample(each) for each in artifacts if each.run not in again]
    rows = [
        row
        for sample in samples
        for row in score(sample, names)
        if row["baseline"] or not _is_second_timing(sample.artifact.run, baseline)
    ]
    rows += compare(samples, baseline, names)
    why = {
        run: ("undefined" if known["undefined"] else "error", known["message"])
        for run, known in lost.items()
    }
    study = {"artifacts": artifacts, "samples": samples, "baseline": baseline}
    rows += derive(names, rows, **study, again=again, lost=why)
    for run in [run for run in lost if run not in again]:
        sample = related.sample(store.Artifact(run, run.id, artifact_kind(run), {}))
        rows += missing(sample, names, *why[run])
    return adjust(_one_a_key(rows))


def _is_second_timing(run: Run, baseline: Variant) -> bool:
    """Says whether a timing is against another variant than the baseline: a ratio is new in it, the
    variant's own time is not."""
    against = run.measurement.args.get("against")
    return isinstance(against, Variant) and against != baseline.replace(seed=run.variant.seed)


def artifact_kind(run: Run) -> str:
    """Returns the kind of artifact that a run saves."""
    kinds: tuple[str, ...] = registry.measurements.get(run.measurement.name).traits["artifacts"]
    task = run.measurement.args.get("task")
    if len(kinds) == 1 or not isinstance(task, Ref):
        return kinds[0]
    of_task = registry.QUALITY[registry.tasks.get(task.name).traits["kind"]]
    return of_task if of_task in kinds else kinds[0]


def _one_a_key(rows: Iterable[Row]) -> list[Row]:
    """Drops what a run lacks where another run of the variant has it, or lacks it too.

    Two measurements may save artifacts of one kind with other quantities in them; each then lacks
    the other's. Two values of one key stay, and the table's schema refuses them.
    """
    kept: dict[tuple[Any, ...], Row] = {}
    doubles = []
    for row in rows:
        key = tuple(row[name] for name in results.KEY)
        if key not in kept or kept[key]["status"] != "ok":
            kept[key] = row
        elif row["status"] == "ok":
            doubles.append(row)
    return [*kept.values(), *doubles]
