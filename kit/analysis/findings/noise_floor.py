"""How many predictions flip though nothing that counts was changed: the floor under all flips.

Sums in another order round otherwise: the same model with other batches, padding or threads gives
slightly other scores, and trained from another seed it is another model. What compression flips
beyond this is its doing; where its own answers depend on the batch, its repeats say so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from kit.analysis.paired import aligned
from kit.analysis.rows import Row, named
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array
from kit.spec.ref import content_hash
from kit.spec.register_measures import register_derived
from kit.spec.registry import measurements, metrics
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
    asked = [run for run in runs if _KINDS.keys() & _saved(run)]
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


def _saved(run: Run) -> Sequence[str]:
    kinds: Sequence[str] = measurements.get(run.measurement.name).traits["artifacts"]
    return kinds


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
    - `noise_bits_per_byte`, `noise_rmse`: of language models and of regression.

    Args:
        artifacts: what the runs of a study saved.
        again: of `repeats`.
        lost: status and reason of each run without artifact.
    """
    found = {one.run: one for one in artifacts}
    rows = []
    for run, main in again.items():
        if main not in found:
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
            metric, unit, _ = _KINDS[first.kind]
            status, note = lost[run]
            failed = {"condition": text, "status": status, "note": note}
            rows.append(named(run, metric=metric, unit=unit, **failed))
    alike = defaultdict(list)
    for one in artifacts:
        trained = one.run.variant.training is not None and one.kind in _ANSWERS
        if trained and one.run not in again:
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
    metric, unit, compare = _KINDS[first.kind]
    changed, n, moved = (np.array(each) for each in zip(*map(compare, pairs), strict=True))
    notes = [f"mean of {len(pairs)} pairs of seeds"] if len(pairs) > 1 else []
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


def _flips(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns flips, shared items and the largest change of a score."""
    items, ((label, first), (_, other)) = aligned(pair, "label", "logits")
    right = [_ANSWERS[pair[0].kind](logits, label) for logits in (first, other)]
    moved = float(np.abs(first - other).max())
    return int((right[0] != right[1]).sum()), len(items), moved


def _choice_flips(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns flips, shared items and the largest change of a log-likelihood."""
    items, sides = aligned(pair, "loglikelihood", "choices", "label")
    first, other = (metrics.get("acc").function(*side) for side in sides)
    moved = float(np.abs(sides[0][0] - sides[1][0]).max())
    return int((first != other).sum()), len(items), moved


_ANSWERS: dict[str, Callable[[Array, Array], Array]] = {
    "classification": lambda logits, label: np.asarray(logits.argmax(axis=1) == label),
    "multi_label": lambda logits, label: np.asarray(((logits > 0) == (label > 0)).all(axis=1)),
}
"""Which items are right, by kind of artifact: of several labels, those that have all of them."""


def _bits(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns the change in bits per byte, documents and the largest change of one's NLL."""
    documents, (first, other) = aligned(pair, "nll", "bytes")
    rate = metrics.get("bits_per_byte").function
    change = abs(rate(*other).value - rate(*first).value)
    return change, len(documents), float(np.abs(other[0] - first[0]).max())


def _rmse(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns the change in root mean squared error, items and the largest change of a value."""
    items, (first, other) = aligned(pair, "label", "prediction")
    errors = [float(np.sqrt(np.mean((said - label) ** 2))) for label, said in (first, other)]
    return abs(errors[1] - errors[0]), len(items), float(np.abs(other[1] - first[1]).max())


_KINDS: dict[str, tuple[str, str, Callable[[Sequence[Artifact]], tuple[float, int, float]]]] = {
    "choices": ("noise_flips", "items", _choice_flips),
    "classification": ("noise_flips", "items", _flips),
    "multi_label": ("noise_flips", "items", _flips),
    "tokens": ("noise_bits_per_byte", "bits/byte", _bits),
    "regression": ("noise_rmse", "label", _rmse),
}
"""What is compared of each kind of artifact: metric, unit, and the function."""
