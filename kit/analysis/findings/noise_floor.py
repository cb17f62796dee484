"""How many predictions flip though nothing that counts was changed: the floor under all flips.

Sums in another order round otherwise: the same model with other batches, padding or threads gives
slightly other scores, and trained from another seed it is another model. What compression flips
beyond this is its doing; where its own answers depend on the batch, its repeats say so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from kit.analysis.evaluate import Estimate, evaluate
from kit.analysis.paired import places
from kit.analysis.rows import Row, named
from kit.analysis.sample import Sample
from kit.spec.checking import Undefined
from kit.spec.ref import content_hash
from kit.spec.register_derived import register_derived
from kit.spec.registry import Entry, artifacts, metrics
from kit.spec.roles import rounding
from kit.spec.spec import Run
from kit.store.results import condition, parse_condition
from kit.store.store import Artifact


def repeats(runs: Iterable[Run]) -> dict[Run, Run]:
    """Returns, for each run that does another one again but for rounding, that other one.

    What changes no more than rounding (`roles.Rounding`) does so where nothing that a model
    computes is shared by the items of a batch, as the scale of dynamic int8 is.

    Of runs that differ in no more than that, the one with the settings that most runs have, and the
    first of several such, is what the others repeat. It is told from what a study asks for, not
    from what came of it, so that no repeat stands in for a run that failed. Repeats serve the
    noise floor alone: no other row of a table is made of them.
    """
    asked = [run for run in runs if rounding(run.measurement)]
    usual = Counter(map(_settings, asked))
    alike = defaultdict(list)
    for run in asked:
        any_rounding = run.measurement.replace(**dict.fromkeys(rounding(run.measurement)))
        alike[run.variant, any_rounding].append(run)
    found: dict[Run, Run] = {}
    for same in alike.values():
        main = max(same, key=lambda run: usual[_settings(run)])
        found |= {run: main for run in same if run is not main}
    return found


def _settings(run: Run) -> tuple[Any, ...]:
    return tuple(rounding(run.measurement).items())


@register_derived(unit="", higher_is_better=False, version=1)
def noise_floor(
    artifacts: Sequence[Artifact],
    again: Mapping[Run, Run],
    lost: Mapping[Run, tuple[str, str]],
) -> list[Row]:
    """Returns the rows that tell how far repeats of a run differ from it.

    The condition says what was varied: `batch_size`, `padding` or `threads`, and for trained
    variants `seed` (mean over the pairs of seeds). Counts of what happened have no interval.

    - `noise_flips`: items that the repeat has right and the run wrong, or reversed.
    - `noise_bits_per_byte`, `noise_rmse`, ...: of a headline metric that is not right or wrong.

    Args:
        artifacts: what the runs of a study saved.
        again: of `repeats`.
        lost: status and reason of each run without artifact.
    """
    found = {one.run: one for one in artifacts}
    rows = []
    for run, main in again.items():
        if main not in found or not _has_headline(found[main]):
            continue  # the rows of the run itself say why
        first, other = found[main], found.get(run)
        usual = rounding(main.measurement)
        settings = rounding(run.measurement).items()
        changed = {name: value for name, value in settings if value != usual[name]}
        text = condition(
            **parse_condition(Sample(first).protocol), varied="+".join(changed), **changed
        )
        if other is not None:
            rows.append(_row([(first, other)], text))
        elif run in lost:
            metric, unit = _metric(first)
            status, note = lost[run]
            failed = {"condition": text, "status": status, "note": note}
            rows.append(named(run, metric=metric, unit=unit, **failed))
    alike = defaultdict(list)
    for one in artifacts:
        trained = one.run.variant.training is not None and one.run not in again
        told = trained and rounding(one.run.measurement) and _has_headline(one)
        if told and _metric(one)[0] == "noise_flips":
            alike[one.run.variant.unseeded, content_hash(one.run.measurement)].append(one)
    rows += [_between_seeds(runs) for runs in alike.values() if len(runs) > 1]
    return rows


def _between_seeds(runs: Sequence[Artifact]) -> Row:
    ordered = sorted(runs, key=lambda one: one.run.variant.seed)
    text = condition(**parse_condition(Sample(ordered[0]).protocol), varied="seed")
    row = _row([*combinations(ordered, 2)], text)
    ids = " ".join(one.run_id for one in ordered)
    return row | {"seed": "all", "run_id": ids}


def _row(pairs: Sequence[tuple[Artifact, Artifact]], text: str) -> Row:
    """Returns the mean of what changed over pairs of runs."""
    first = pairs[0][0]
    metric, unit = _metric(first)
    try:
        compared = [*map(_compared, pairs)]
    except Undefined as error:
        lost = {"metric": metric, "unit": unit, "status": "undefined", "note": str(error)}
        return named(first.run, condition=text, run_id=first.run_id, **lost)
    changed, n, moved = (np.array(each) for each in zip(*compared, strict=True))
    notes = [f"mean of {len(pairs)} pairs of seeds"] if len(pairs) > 1 else []
    if moved.any() or _scores(first):
        notes.append(f"scores move by up to {moved.max():.2g}")
    return named(
        first.run,
        condition=text,
        metric=metric,
        value=changed.mean(),
        unit=unit,
        n=n.min(),
        run_id=" ".join(dict.fromkeys(one.run_id for pair in pairs for one in pair)),
        note="; ".join(notes),
    )


def _has_headline(artifact: Artifact) -> bool:
    return bool(artifacts.get(artifact.kind).traits["metrics"])


def _headline(artifact: Artifact) -> tuple[Entry, Estimate]:
    """Returns the first metric of a kind of artifact that this one has."""
    entries = map(metrics.get, artifacts.get(artifact.kind).traits["metrics"])
    had = ((entry, one) for entry in entries for one in evaluate(entry, Sample(artifact)))
    return next(had)


def _metric(artifact: Artifact) -> tuple[str, str]:
    """Returns the name and unit of what is told of repeats: flips of what is right or wrong."""
    entry, found = _headline(artifact)
    if found.binary:
        return "noise_flips", "items"
    return f"noise_{entry.name}", str(entry.traits["unit"])


def _scores(artifact: Artifact) -> list[str]:
    """Returns the columns of a kind that hold a model's numbers."""
    columns = artifact.columns
    names = artifacts.get(artifact.kind).traits["columns"]
    return [name for name in names if columns[name].dtype.kind == "f" and name != "label"]


def _compared(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns flips or the change of the headline metric, shared items, and how far scores move."""
    shared, at = places(pair)
    found = [_headline(one)[1] for one in pair]
    for one in found:
        if not one.by_item:
            raise Undefined(one.note or "its headline metric has no value an item")
    picked = [None if isinstance(place, slice) else place for place in at]
    first, other = (one.pseudo_values(place) for one, place in zip(found, picked, strict=True))
    changed = (first != other).sum() if found[0].binary else abs(other.mean() - first.mean())
    moved = 0.0
    for name in _scores(pair[0]):
        before, after = (one.columns[name][place] for one, place in zip(pair, at, strict=True))
        moved = max(moved, float(np.abs(after - before).max()))
    return float(changed), len(shared), moved
