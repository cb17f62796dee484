"""Artifacts in, rows out: `score` for one run, `compare` for the runs of a study."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.analysis.evaluate import Estimate, applicable, asked_for, evaluate
from kit.analysis.groups import change_rows, group_rows
from kit.analysis.paired import Estimates, Unpaired, adjust, paired
from kit.analysis.rows import Row, change_row, interval_of, row_of
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.intervals import Interval, robust
from kit.spec.ref import content_hash
from kit.spec.registry import Entry, wanted
from kit.spec.roles import compared
from kit.spec.spec import Variant
from kit.store.meaning import join_name
from kit.store.results import condition, parse_condition
from kit.store.store import Artifact

Names = Sequence[str] | None


def score(of: Sample | Artifact, metrics: Names = None, group_metrics: Names = None) -> list[Row]:
    """Returns the rows of one run.

    Args:
        of: what the run saved; as a `Sample`, with the other runs that metrics may need.
        metrics: names; None for those of the kind of artifact.
        group_metrics: names of those that are given for each group, too.

    Raises:
        SpecError: a metric that is not registered.
    """
    sample, rows = _sample(of), []
    groups = wanted([sample.artifact.kind], "group_metrics", group_metrics)
    for entry in applicable(sample.artifact, metrics):
        for estimate in evaluate(entry, sample):
            interval = interval_of(entry, estimate, sample)
            rows.append(row_of(sample, entry, estimate, interval))
            if entry.name in groups:
                rows += group_rows(entry, estimate, sample)
    return rows


def _sample(of: Sample | Artifact) -> Sample:
    return of if isinstance(of, Sample) else Sample(of)


def missing(of: Sample | Artifact, why: tuple[str, str], metrics: Names = None) -> list[Row]:
    """Returns the rows that a run that failed would have given, with the reason in each.

    Args:
        of: an artifact without columns, of the kind that the run would have saved.
        why: `undefined` or `error`, and the reason.
        metrics: names; None for those of the kind of artifact.
    """
    sample = _sample(of)
    lost = Estimate(sample.protocol, status=why[0], note=why[1])
    entries = applicable(sample.artifact, metrics)
    return [row_of(sample, each, lost, Interval()) for each in entries if asked_for(each, sample)]


def compare(
    of: Sequence[Sample | Artifact],
    baseline: Variant,
    metrics: Names = None,
    group_metrics: Names = None,
) -> list[Row]:
    """Returns the rows that need more than one run: paired with the baseline, and over seeds.

    For metrics of which it is known what an item adds: `<metric>_change` (variant minus baseline,
    on the items both have) by seed, and `flips_lost`, `flips_gained` for right and wrong. Seed s is
    paired with the baseline's seed s, or its lowest. Over seeds (`seed="all"`): each metric's mean
    with an interval over seeds (would training again give the same?), and the change of the mean
    over seeds with an interval over items (would other items?), or both from three seeds on.

    Raises:
        SpecError: a metric that is not registered.
    """
    cells: dict[Any, dict[Variant, dict[int, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in map(_sample, of):
        variant = sample.artifact.run.variant
        cells[_cell(sample.artifact)][variant.unseeded][variant.seed] = sample
    rows: list[Row] = []
    for (kind, _), variants in cells.items():
        first = next(iter(next(iter(variants.values())).values()))
        groups = wanted([kind], "group_metrics", group_metrics)
        for entry in applicable(first.artifact, metrics):
            found = {
                key: {
                    seed: (seeds[seed], [*evaluate(entry, seeds[seed])]) for seed in sorted(seeds)
                }
                for key, seeds in variants.items()
            }
            for estimates in found.values():
                rows += _over_seeds(entry, estimates)
            each = [one for seeds in found.values() for _, many in seeds.values() for one in many]
            if any(estimate.by_item for estimate in each):
                base = found.get(baseline.unseeded, {})
                for key, estimates in found.items():
                    if key != baseline.unseeded:
                        grouped = entry.name in groups
                        rows += _changes(entry, estimates, base, baseline.name, grouped=grouped)
    return adjust(rows)


def _cell(artifact: Artifact) -> tuple[str, str]:
    """What runs share that can be compared."""
    return artifact.kind, content_hash(compared(artifact.run.measurement))


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
            low, high, _, _ = robust(values, Clusters.alone(k))
            influence = found[0].influence
            least, most = (influence and influence.bounds) or (-math.inf, math.inf)
            if all(estimate.binary for estimate in found):
                least, most = 0.0, 1.0
            ends = max(low, least), min(high, most)
            interval = Interval(*ends, "seeds", f"mean of {k} seeds")
        pooled = Estimate(text, float(values.mean()), k)
        run_ids = " ".join(sample.artifact.run_id for sample in samples)
        yield row_of(samples[0], entry, pooled, interval, seed="all", run_id=run_ids)


def _changes(
    entry: Entry, ours: Estimates, theirs: Estimates, name: str, *, grouped: bool
) -> Iterator[Row]:
    """Yields the paired rows of one variant for each key of its mapping: by seed, then over all."""
    same: dict[str, Any] = {"name": name, "grouped": grouped}
    keys = dict.fromkeys(one.key for _, many in ours.values() for one in many)
    for key in [key for key in keys if key] or keys:
        mine, other = _of_key(ours, key), _of_key(theirs, key)
        pairs = {seed: (seed, seed if seed in other else min(other, default=-1)) for seed in mine}
        for seed, pair in pairs.items():
            yield from _change_rows(entry, mine, other, [pair], key, seed=str(seed), **same)
        if len(mine) > 1 or len(other) > 1:
            together = [(seed, seed) for seed in mine if seed in other]
            if len(mine) == 1 or len(other) == 1:
                together = [(seed, another) for seed in mine for another in other]
            yield from _change_rows(entry, mine, other, together, key, seed="all", **same)


def _of_key(estimates: Estimates, key: str) -> Estimates:
    """Returns each seed's estimate of one key of a mapping, or the reason that it has none.

    An estimate without key is of a metric without a mapping, or failed before there was one.
    """
    found = {}
    for seed, (sample, many) in estimates.items():
        if chosen := [one for one in many if one.key == key or not (one.key and key)]:
            found[seed] = sample, chosen[:1]
    return found


def _change_rows(
    entry: Entry,
    ours: Estimates,
    theirs: Estimates,
    pairs: Sequence[tuple[int, int]],
    key: str,
    *,
    seed: str,
    name: str,
    grouped: bool,
) -> Iterator[Row]:
    """Yields the change over pairs of seeds (variant's, baseline's) and its flips."""
    sample = next(iter(ours.values()))[0] if seed == "all" else ours[int(seed)][0]
    notes = [f"mean of {len(pairs)} pairs of seeds"] if len(pairs) > 1 else []
    fields = {"baseline": name, "metric": join_name(entry.name, "change"), "seed": seed}
    text = condition(**parse_condition(sample.protocol), **parse_condition(key))
    try:
        both = paired(entry, ours, theirs, pairs)
    except Unpaired as error:
        lost = Estimate(text, status="undefined", note=str(error))
        yield row_of(sample, entry, lost, Interval(), **fields)
        return
    ids = [side[s][0].artifact.run_id for side, at in ((ours, 0), (theirs, 1)) for s in
           dict.fromkeys(pair[at] for pair in pairs)]  # fmt: skip
    fields |= {"run_id": " ".join(ids)}
    if seed not in ("all", str(pairs[0][1])):
        notes.append(f"against seed {pairs[0][1]} of the baseline")
    found, n = both.change, both.differences.shape[1]
    yield change_row(sample, entry, found, text, n, "; ".join(notes + both.notes), fields)
    if found.lost >= 0 and entry.name in wanted([sample.artifact.kind], "metrics")[:1]:
        for metric, count in (("flips_lost", found.lost), ("flips_gained", found.gained)):
            flips = Estimate(text, float(count), n)
            named = fields | {"metric": metric, "unit": "items"}
            yield row_of(sample, entry, flips, Interval(), **named)
    mine = ours[pairs[0][0]][0]
    if grouped and (seed == "all" or len(ours) == len(theirs) == 1):
        yield from change_rows(entry, both, mine, text, fields)
