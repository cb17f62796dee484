"""What the wording of a question does to a score, and to the order of two variants.

The ways to put a question are no better and no worse by intention (`roles.Axis(alike=True)`): what
differs between them is no loss, but how far a score is that of its wording alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from kit.analysis.evaluate import Estimate, applicable, evaluate
from kit.analysis.paired import Unpaired, change, paired
from kit.analysis.rows import Row, change_row, interval_of, row_of
from kit.analysis.sample import Sample
from kit.analysis.statistics.intervals import Interval
from kit.spec.ref import content_hash
from kit.spec.register_derived import register_derived
from kit.spec.registry import Entry, wanted
from kit.spec.roles import Axis, compared, roles, shifted_by
from kit.spec.spec import Variant
from kit.store.meaning import join_name
from kit.store.results import condition, parse_condition

FEWEST = 3
"""Wordings from which on their spread is told."""
OVER = "wordings"

Worded = Mapping[str, Sample]
"""The samples of one variant that differ in the wording alone, by its name."""


@register_derived(unit="", higher_is_better=None, version=1)
def wordings(samples: Sequence[Sample], baseline: Variant) -> list[Row]:
    """Returns, of each variant that was asked in three ways or more, how far these differ.

    The condition of the rows says `template=all`, or what else is worded.

    - `acc_spread` and the like: standard deviation over the wordings. A difference between two
      papers' figures that is smaller may be one of their prompts.
    - `acc_change`: the mean change against the baseline over the wordings, its interval over
      wordings and items: would other items, otherwise put, say the same?

    Args:
        samples: of a study.
        baseline: what changes are against.
    """
    cells: dict[tuple[str, str], dict[Variant, dict[str, Sample]]] = defaultdict(dict)
    for sample in samples:
        run = sample.artifact.run
        for name, axis in roles(run.measurement, Axis).items():
            if axis.alike and not shifted_by(run.measurement).keys() - {name}:
                asked = content_hash(compared(run.measurement.replace(**{name: axis.neutral})))
                wording = str(run.measurement.args.get(name, axis.neutral))
                cells[name, asked].setdefault(run.variant, {})[wording] = sample
    rows: list[Row] = []
    for (name, _), variants in cells.items():
        base = next((v for v in variants if v.unseeded == baseline.unseeded), None)
        for variant, worded in variants.items():
            first = next(iter(worded.values()))
            named = wanted([first.artifact.kind], "shifted_metrics")
            for entry in applicable(first.artifact, named):
                rows += _spread(name, entry, worded)
                if base is not None and variant != base:
                    rows += _change(name, entry, worded, variants[base], baseline.name)
    return rows


def _condition(name: str, sample: Sample) -> str:
    return condition(**parse_condition(sample.protocol) | {name: "all"})


def _ids(samples: Sequence[Sample]) -> str:
    return " ".join(dict.fromkeys(sample.artifact.run_id for sample in samples))


def _spread(name: str, entry: Entry, worded: Worded) -> Iterator[Row]:
    """Yields the standard deviation over wordings, with its interval by chi-square."""
    from scipy.stats import chi2

    found = {each: next(evaluate(entry, sample)) for each, sample in worded.items()}
    found = {each: one for each, one in found.items() if one.status == "ok"}
    if len(found) < FEWEST:
        return
    values = {each: one.value for each, one in found.items()}
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    spread, df = float(np.std([*values.values()], ddof=1)), len(values) - 1
    least, most = (spread * float(np.sqrt(df / chi2.ppf(p, df))) for p in (0.975, 0.025))
    bounds = [interval_of(entry, one, worded[each]) for each, one in found.items()]
    half = float(np.mean([(each.high - each.low) / 2 for each in bounds]))
    note = f"from {values[low]:.3g} ({low}) to {values[high]:.3g} ({high})"
    if np.isfinite(half):
        note += f"; of each alone the items leave {half:.2g} either way"
    sample = next(iter(worded.values()))
    estimate = Estimate(_condition(name, sample), spread, len(values), note=note)
    fields = {"metric": join_name(entry.name, "spread"), "run_id": _ids([*worded.values()])}
    yield row_of(sample, entry, estimate, Interval(least, most, OVER), **fields)


def _change(name: str, entry: Entry, ours: Worded, theirs: Worded, baseline: str) -> Iterator[Row]:
    """Yields the mean change over the wordings that both sides have."""
    both = [each for each in ours if each in theirs]
    if len(both) < FEWEST:
        return
    sides = [
        {k: (side[each], [*evaluate(entry, side[each])]) for k, each in enumerate(both)}
        for side in (ours, theirs)
    ]
    sample = ours[both[0]]
    text = _condition(name, sample)
    fields = {"metric": join_name(entry.name, "change"), "baseline": baseline}
    try:
        pair = paired(entry, sides[0], sides[1], [(k, k) for k in range(len(both))])
    except Unpaired as error:
        lost = Estimate(text, status="undefined", note=str(error))
        yield row_of(sample, entry, lost, Interval(), **fields)
        return
    found = change(pair.differences, pair.clusters, binary=pair.binary, repeats=OVER)
    means = dict(zip(both, pair.differences.mean(axis=1).tolist(), strict=True))
    ids = _ids([side[each] for each in both for side in (ours, theirs)])
    yield change_row(
        sample, entry, found, text, pair.differences.shape[1], _order(means, found.interval),
        fields | {"run_id": ids},
    )  # fmt: skip


def _order(means: Mapping[str, float], interval: Interval) -> str:
    """Returns in words whether the order of two variants survives another wording."""
    up, down = (sum(sign * mean > 0 for mean in means.values()) for sign in (1, -1))
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    told = f"from {means[low]:+.3g} ({low}) to {means[high]:+.3g} ({high}) in {len(means)} wordings"
    if interval.low <= 0 <= interval.high:
        return f"which is better is undecided: {told}"
    return f"higher in {up} and lower in {down}: {told}"
