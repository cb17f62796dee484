"""A row of the table from an estimate, with the interval that its metric is to have.

Rows lack `study` and `machine`, which the study knows. Where the interval of a metric is known by
drawing alone, the draws are seeded by the run and metric, so that a table comes out the same again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kit.analysis.evaluate import Estimate
from kit.analysis.paired import Change
from kit.analysis.sample import Sample
from kit.analysis.statistics import intervals
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.intervals import Interval
from kit.analysis.statistics.launches import launches
from kit.spec.ref import content_hash
from kit.spec.registry import Entry
from kit.spec.roles import data
from kit.spec.spec import Run, Variant
from kit.store.results import row

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def records(table: pd.DataFrame) -> list[Row]:
    """Returns the rows of a table."""
    return cast("list[Row]", table.to_dict("records"))


def named(run: Run, **fields: Any) -> Row:
    """Returns a row with the key columns that a run knows."""
    variant = run.variant
    given = {
        "variant": variant.name,
        "architecture": variant.architecture.name,
        "schemes": variant.scheme_name,
        "runtime": variant.runtime.name,
        "seed": variant.seed,
    }
    place = {name: getattr(at, "name", at) for name, at in data(run.measurement).items()}
    return row(**(given | place | fields))


def row_of(
    sample: Sample, entry: Entry, estimate: Estimate, interval: Interval, **fields: Any
) -> Row:
    """Returns the row of an estimate; what is given beside it wins."""
    artifact = sample.artifact
    notes = [estimate.note, interval.note, *artifact.info.get("notes", ())]
    given = {
        "condition": estimate.condition,
        "metric": entry.name,
        "value": estimate.value,
        "unit": entry.traits["unit"],
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval": interval.over,
        "n": estimate.n,
        "status": estimate.status,
        "note": "; ".join(note for note in notes if note),
        "run_id": artifact.run_id,
    }
    null = 1.0 if entry.traits["unit"] == "ratio" else None
    if null is not None:
        against = artifact.run.measurement.args.get("against")
        given["baseline"] = against.name if isinstance(against, Variant) else ""
    given["p_value"] = estimate.p_value
    if estimate.launches is not None:
        found = launches(estimate.launches, null, artifact.info.get("first_launches"))
        given |= {"value": found.value, "p_value": found.p_value, "mde": found.mde}
    return named(artifact.run, **(given | fields))


def change_row(
    sample: Sample, entry: Entry, found: Change, condition: str, n: int, note: str, fields: Row
) -> Row:
    """Returns the row of a paired change; what is given in `fields` wins."""
    tested = {"p_value": found.p_value, "mde": found.mde}
    estimate = Estimate(condition, found.value, n, note=note)
    return row_of(sample, entry, estimate, found.interval, **(tested | fields))


def interval_of(
    entry: Entry, estimate: Estimate, sample: Sample, chosen: Array | None = None
) -> Interval:
    """Returns the interval as the metric was registered to have it, of all or the chosen items."""
    if estimate.status != "ok":
        return Interval()
    if estimate.interval is not None:
        return estimate.interval._replace(note="")  # the estimate has the note already
    if reason := entry.traits["no_interval"]:
        return Interval(note=reason)
    if estimate.launches is not None:
        first = sample.artifact.info.get("first_launches")
        return launches(estimate.launches, first=first).interval
    clusters = sample.clusters_with(estimate.beside).of(chosen)
    if len(clusters.codes) != estimate.n:
        return Interval(note="its records are no items: no interval")
    if estimate.binary and estimate.ratio is not None:
        return intervals.wilson(estimate.ratio.numerator, clusters)
    if estimate.ratio is not None:
        return intervals.skewed(estimate.ratio, clusters)
    if estimate.influence is not None:
        return intervals.smooth(estimate.influence, clusters)
    again = estimate.again
    assert again is not None
    rng = np.random.default_rng(int(content_hash(sample.artifact.run_id, entry.name), 16))
    return intervals.resampled(lambda index: float(again(index)), clusters, rng)
