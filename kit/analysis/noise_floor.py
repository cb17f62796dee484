"""How many predictions flip though nothing that counts was changed: the floor under all flips.

Sums in another order round otherwise: the same model with other batches, padding or threads gives
slightly other scores, and trained from another seed it is another model. What compression flips
beyond this is its doing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from kit.analysis.exemplars import aligned, same_items
from kit.analysis.metrics.classification import bits_per_byte
from kit.analysis.rows import named
from kit.analysis.sample import Sample
from kit.results import condition, parse_condition
from kit.spec import content_hash
from kit.store import Artifact

Row = dict[str, Any]
VARIED = ("batch_size", "padding", "threads")
"""Arguments of a measurement that change no more than rounding."""


def repeats(artifacts: Sequence[Artifact]) -> list[tuple[Artifact, Artifact]]:
    """Returns the runs that do another one again but for `VARIED`, each after that other one.

    Of runs that differ in no more than that, the one with the settings that most runs have is what
    the others repeat. Repeats serve the noise floor alone: no row of a table is made of them.
    """
    found = [one for one in artifacts if one.kind in _KINDS]
    usual = Counter(_settings(one) for one in found)
    alike = defaultdict(list)
    for one in found:
        bare = one.run.measurement.replace(**dict.fromkeys(VARIED))
        alike[one.run.variant, bare].append(one)
    pairs = []
    for runs in alike.values():
        first = max(runs, key=lambda one: usual[_settings(one)])
        pairs += [(first, one) for one in runs if one is not first]
    return pairs


def _settings(artifact: Artifact) -> tuple[Any, ...]:
    return tuple(artifact.run.measurement.args.get(name) for name in VARIED)


def noise_floor(artifacts: Sequence[Artifact]) -> list[Row]:
    """Returns `noise_flips` rows: items that a repeat of a run has right and it wrong, or reversed.

    The condition says what was varied: `batch_size`, `padding` or `threads`, and for trained
    variants `seed` (mean over the pairs of seeds). Counts of what happened have no interval. A
    language model's rows are `noise_bits_per_byte`: by how much a repeat's differ.
    """
    pairs = repeats(artifacts)
    rows = []
    for first, other in pairs:
        settings = zip(VARIED, _settings(first), _settings(other), strict=True)
        changed = {name: theirs for name, ours, theirs in settings if ours != theirs}
        rows.append(_row(first, [(first, other)], varied="+".join(changed), **changed))
    again = {other.run for _, other in pairs}
    alike = defaultdict(list)
    for one in artifacts:
        trained = one.run.variant.training is not None and one.kind == "classification"
        if trained and one.run not in again:
            alike[one.run.variant.replace(seed=0), content_hash(one.run.measurement)].append(one)
    rows += [_between_seeds(runs) for runs in alike.values() if len(runs) > 1]
    return rows


def _between_seeds(runs: Sequence[Artifact]) -> Row:
    ordered = sorted(runs, key=lambda one: one.run.variant.seed)
    row = _row(ordered[0], [*combinations(ordered, 2)], varied="seed")
    ids = " ".join(one.run_id for one in ordered)
    return row | {"seed": "all", "run_id": ids}


def _row(first: Artifact, pairs: Sequence[tuple[Artifact, Artifact]], **varied: Any) -> Row:
    """Returns the mean of what changed over pairs of runs."""
    metric, unit, compare = _KINDS[first.kind]
    changed, n, moved = (np.array(each) for each in zip(*map(compare, pairs), strict=True))
    notes = [f"mean of {len(pairs)} pairs of seeds"] if len(pairs) > 1 else []
    notes.append(f"scores move by up to {moved.max():.2g}")
    return named(
        first.run,
        condition=condition(**parse_condition(Sample(first).protocol), **varied),
        metric=metric,
        value=changed.mean(),
        unit=unit,
        n=n.min(),
        run_id=" ".join(dict.fromkeys(one.run_id for pair in pairs for one in pair)),
        note="; ".join(notes),
    )


def _flips(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns flips, shared items and the largest change of a score."""
    items, label, logits = same_items(pair)
    right = [each.argmax(axis=1) == label for each in logits]
    moved = float(np.abs(logits[0] - logits[1]).max())
    return int((right[0] != right[1]).sum()), len(items), moved


def _bits(pair: Sequence[Artifact]) -> tuple[float, int, float]:
    """Returns the change in bits per byte, documents and the largest change of one's NLL."""
    documents, (first, other) = aligned(pair, "nll", "bytes")
    change = bits_per_byte(*other).value - bits_per_byte(*first).value
    return abs(change), len(documents), float(np.abs(other[0] - first[0]).max())


_KINDS: dict[str, tuple[str, str, Callable[[Sequence[Artifact]], tuple[float, int, float]]]] = {
    "classification": ("noise_flips", "items", _flips),
    "tokens": ("noise_bits_per_byte", "bits/byte", _bits),
}
"""What is compared of each kind of artifact: metric, unit, and the function."""
