"""Artifacts in, rows out: `score` for one run, `compare` for the runs of a study.

Rows lack `study` and `machine`, which the study knows. Resampling is seeded by the run and metric,
so that a table comes out the same again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kit.analysis import intervals
from kit.analysis.evaluate import Estimate, Sample, applicable, evaluate
from kit.analysis.intervals import Array, Interval
from kit.analysis.paired import Estimates, Unpaired, adjust, paired
from kit.registry import Entry
from kit.results import row
from kit.spec import Run, Variant, content_hash
from kit.store import Artifact

Row = dict[str, Any]
SMALLEST_GROUP, MOST_GROUPS = 20, 20
"""Items below which a group is too small to be a row, and rows that one group column may give."""


def score(artifact: Artifact, metrics: Sequence[str] | None = None) -> list[Row]:
    """Returns the rows of one run: each metric that reads such artifacts, or those named.

    Raises:
        SpecError: a metric that is not registered.
    """
    sample = Sample(artifact)
    rows = []
    for entry in applicable(artifact.kind, metrics):
        for estimate in evaluate(entry, sample):
            interval = _interval(entry, estimate, sample)
            rows.append(_row(sample, entry, estimate, interval))
            rows += _group_rows(entry, estimate, sample)
    return rows


def missing(
    run: Run,
    run_id: str,
    kind: str,
    metrics: Sequence[str] | None,
    status: str,
    message: str,
) -> list[Row]:
    """Returns the rows that a run without artifact would have given, with the reason in each.

    Args:
        run: what was to be run.
        run_id: its hash.
        kind: of the artifact it would have saved.
        metrics: names; None for all that read such artifacts.
        status: `undefined` or `error`.
        message: the reason.
    """
    sample = Sample(Artifact(run, run_id, kind, {}))
    return [
        _row(sample, entry, Estimate("", status=status, note=message), Interval())
        for entry in applicable(kind, metrics)
    ]


def _named(run: Run, **fields: Any) -> Row:
    """Returns a row with the key columns that a run knows."""
    variant, args = run.variant, run.measurement.args
    given = {
        "variant": variant.name,
        "architecture": variant.architecture.name,
        "schemes": variant.scheme_name,
        "runtime": variant.runtime.name,
        "seed": variant.seed,
        "task": args["task"].name if args.get("task") else "",
        "split": args.get("split") or "",
    }
    return row(**(given | fields))


def _row(
    sample: Sample, entry: Entry, estimate: Estimate, interval: Interval, **fields: Any
) -> Row:
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
    null = entry.traits.get("null")
    if null is not None:
        against = artifact.run.measurement.args.get("against")
        given["baseline"] = against.name if isinstance(against, Variant) else ""
    given["p_value"] = estimate.p_value
    if estimate.launches is not None:
        found = intervals.launches(estimate.launches, null, artifact.info.get("first_launches"))
        given |= {"value": found.value, "p_value": found.p_value, "mde": found.mde}
    return _named(artifact.run, **(given | fields))


def _interval(
    entry: Entry, estimate: Estimate, sample: Sample, chosen: Array | None = None
) -> Interval:
    """Returns the interval as the metric was registered to have it, of all or the chosen items."""
    how = entry.traits["interval"]
    if estimate.status != "ok":
        return Interval()
    if estimate.interval is not None:
        return estimate.interval._replace(note="")  # the estimate has the note already
    if how is None:
        return Interval(note=entry.traits.get("note", ""))
    if estimate.launches is not None:
        first = sample.artifact.info.get("first_launches")
        return intervals.launches(estimate.launches, first=first).interval
    codes, count = sample.clusters
    if chosen is not None:
        kept, codes = np.unique(codes[chosen], return_inverse=True)
        count = len(kept)
    if len(codes) != estimate.n:
        return Interval(note="its records are no items: no interval")
    if estimate.binary and estimate.ratio is not None:
        return intervals.wilson(estimate.ratio.numerator, codes, count)
    rng = np.random.default_rng(int(content_hash(sample.artifact.run_id, entry.name), 16))
    if estimate.ratio is not None:
        return intervals.bootstrap(estimate.ratio, codes, count, rng)
    assert estimate.again is not None
    return intervals.resampled(estimate.again, codes, count, rng)


def _group_rows(entry: Entry, estimate: Estimate, sample: Sample) -> Iterator[Row]:
    """Yields the metric for the largest groups of each group column."""
    if not entry.traits.get("by_group") or estimate.ratio is None:
        return
    columns = sample.artifact.columns
    for name in sorted(column for column in columns if column.startswith("group:")):
        groups, codes = np.unique(columns[name], return_inverse=True)
        sizes = np.bincount(codes)
        largest = np.argsort(-sizes, kind="stable")[:MOST_GROUPS]
        for group in np.sort(largest[sizes[largest] >= SMALLEST_GROUP]):
            chosen = codes == group
            ratio = estimate.ratio.of(chosen)
            part = replace(estimate, value=ratio.value, n=int(sizes[group]), ratio=ratio)
            interval = _interval(entry, part, sample, chosen)
            text = f"{name.removeprefix('group:')}={groups[group]}"
            yield _row(sample, entry, part, interval, group=text)


def compare(
    artifacts: Sequence[Artifact], baseline: Variant, metrics: Sequence[str] | None = None
) -> list[Row]:
    """Returns the rows that need more than one run: paired with the baseline, and over seeds.

    For metrics that have a value an item, `<metric>_change` (variant minus baseline, on the items
    both have) by seed, and `flips_lost`, `flips_gained` for right and wrong. Seed s is paired with
    the baseline's seed s, or its lowest. Over seeds (`seed="all"`): each metric's mean with an
    interval over seeds (would training again give the same?), and the change of the mean over
    seeds with an interval over items (would other items?), or both from three seeds on.

    Raises:
        SpecError: a metric that is not registered.
    """
    cells: dict[Any, dict[str, dict[int, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for artifact in artifacts:
        cell = artifact.kind, content_hash(artifact.run.measurement)
        cells[cell][_identity(artifact.run.variant)][artifact.run.variant.seed] = Sample(artifact)
    rows: list[Row] = []
    for (kind, _), variants in cells.items():
        for entry in applicable(kind, metrics):
            found = {
                key: {
                    seed: (seeds[seed], [*evaluate(entry, seeds[seed])]) for seed in sorted(seeds)
                }
                for key, seeds in variants.items()
            }
            for estimates in found.values():
                rows += _over_seeds(entry, estimates)
            each = [one for seeds in found.values() for _, many in seeds.values() for one in many]
            if any(estimate.ratio is not None for estimate in each):
                base = found.get(_identity(baseline), {})
                for key, estimates in found.items():
                    if key != _identity(baseline):
                        rows += _changes(entry, estimates, base, baseline.name)
    return adjust(rows)


def _identity(variant: Variant) -> str:
    """What variants of other seeds share."""
    return content_hash(variant.architecture, variant.training, variant.schemes, variant.runtime)


def _over_seeds(entry: Entry, estimates: Estimates) -> Iterator[Row]:
    """Yields the mean of a metric over seeds, for each condition that all of them have."""
    if len(estimates) < 2:
        return
    samples = [sample for sample, _ in estimates.values()]
    by_condition = defaultdict(list)
    for _, many in estimates.values():
        for estimate in many:
            if estimate.status == "ok":
                by_condition[estimate.condition].append(estimate)
    for text, found in by_condition.items():
        k, values = len(found), np.array([estimate.value for estimate in found])
        if k < len(estimates):
            continue
        interval = Interval(note=f"mean of {k} seeds: no interval below 3")
        if k >= 3:
            codes = np.arange(k)
            low, high, _, _ = intervals.robust(values, codes, k)
            interval = Interval(low, high, "seeds", f"mean of {k} seeds")
        pooled = Estimate(text, float(values.mean()), k)
        run_ids = " ".join(sample.artifact.run_id for sample in samples)
        yield _row(samples[0], entry, pooled, interval, seed="all", run_id=run_ids)


def _changes(entry: Entry, ours: Estimates, theirs: Estimates, name: str) -> Iterator[Row]:
    """Yields the paired rows of one variant: by seed, then over seeds."""
    pairs = {seed: (seed, seed if seed in theirs else min(theirs, default=-1)) for seed in ours}
    for seed, pair in pairs.items():
        yield from _change_rows(entry, ours, theirs, [pair], seed=str(seed), name=name)
    if len(ours) > 1 or len(theirs) > 1:
        together = [(seed, seed) for seed in ours if seed in theirs]
        if len(ours) == 1 or len(theirs) == 1:
            together = [(seed, other) for seed in ours for other in theirs]
        yield from _change_rows(entry, ours, theirs, together, seed="all", name=name)


def _change_rows(
    entry: Entry,
    ours: Estimates,
    theirs: Estimates,
    pairs: Sequence[tuple[int, int]],
    *,
    seed: str,
    name: str,
) -> Iterator[Row]:
    """Yields the change over pairs of seeds (variant's, baseline's) and its flips."""
    sample = next(iter(ours.values()))[0] if seed == "all" else ours[int(seed)][0]
    notes = [f"mean of {len(pairs)} pairs of seeds"] if len(pairs) > 1 else []
    fields = {"baseline": name, "metric": f"{entry.name}_change", "seed": seed}
    text = sample.protocol
    try:
        found, n, more = paired(entry, ours, theirs, pairs)
    except Unpaired as error:
        missing = Estimate(text, status="undefined", note=str(error))
        yield _row(sample, entry, missing, Interval(), **fields)
        return
    ids = [side[s][0].artifact.run_id for side, at in ((ours, 0), (theirs, 1)) for s in
           dict.fromkeys(pair[at] for pair in pairs)]  # fmt: skip
    fields |= {"run_id": " ".join(ids)}
    if seed not in ("all", str(pairs[0][1])):
        notes.append(f"against seed {pairs[0][1]} of the baseline")
    estimate = Estimate(text, found.value, n, note="; ".join(notes + more))
    tested = {"p_value": found.p_value, "mde": found.mde}
    yield _row(sample, entry, estimate, found.interval, **fields, **tested)
    if entry.traits.get("flips") and found.lost >= 0:
        for metric, count in (("flips_lost", found.lost), ("flips_gained", found.gained)):
            flips = Estimate(text, float(count), n)
            named = fields | {"metric": metric, "unit": "items"}
            yield _row(sample, entry, flips, Interval(), **named)
