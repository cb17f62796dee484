"""Is a loss shown to be small enough? The one rule that `recommend`, and any gate, rests on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from kit.analysis.rows import Row, records
from kit.spec.checking import checked, shown
from kit.spec.fields import Positive
from kit.spec.registry import artifacts
from kit.spec.registry import metrics as registered
from kit.store.meaning import is_shifted, join_name, split_name

if TYPE_CHECKING:
    import pandas as pd

Cell = tuple[str, str, str, str]
"""Task, split, group and condition of a change."""
Verdict = Literal["pass", "fail", "not enough evidence"]

ONE_SIDED = 1.6448536 / 1.9599640
"""Turns the half-width of a two-sided 95% interval into that of a one-sided bound (or a safe one:
with few degrees of freedom the exact factor is smaller)."""
POWERED = (1.6448536 + 0.8416212) / 1.9599640
"""And into the margin that would be cleared in 80% of studies if nothing is lost."""


@dataclass(frozen=True)
class Judgement:
    """One paired change against its margin: a row of `non_inferior`, which says what each is."""

    variant: str
    task: str
    split: str
    group: str
    condition: str
    margin: float
    baseline: str
    unit: str
    verdict: Verdict = "not enough evidence"
    change: float = math.nan
    worst: float = math.nan
    n: int = 0
    needed: int = 0
    reason: str = "there is no evidence: not measured"


def non_inferior(
    table: pd.DataFrame,
    margin: float,
    shift_margin: float,
    group_margin: float | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """Judges each variant's loss against the margins, on every split and, if asked, in every group.

    The one-sided 95% bound of the paired change clears the margin: `pass`; it lies beyond it
    wholly: `fail`; else `not enough evidence`, with the n that would do. A variant that has to
    pass all of them is no likelier to slip through for their number, so none is corrected
    (intersection-union test, Berger, Technometrics 24, 1982). A split or group that one variant
    has and another has not is `not enough evidence` for the other. Left out: validation splits,
    and rows of shifted copies, as a corruption makes (a copy that was damaged on purpose is no
    split of the task; it is reported, not judged).

    Args:
        table: of a study, or from `kit.load`.
        margin: largest acceptable loss on the `test` split, in the metric's unit.
        shift_margin: the same for every other split.
        group_margin: the same for each group of a split; None: groups are not judged.
        metric: any metric with a paired change, in whichever direction is better; where not
            given, the first of what was measured: `accuracy` of labels, `acc` of answers on offer.

    Returns:
        Columns variant, task, split, group, condition, margin, baseline, unit; verdict; change and
        worst (its one-sided 95% bound), both positive for better; n; needed (the n at which the
        margin would be cleared in 80% of studies if nothing is lost; 0 where the data say that
        something is, and more than the margin was); reason, in words.

    Raises:
        ValueError: a margin that is no finite number above 0, no such changes, or several
            baselines.
        SpecError: a metric that is not registered.
    """
    metric = metric or headline(table)
    import pandas as pd

    given = {"margin": margin, "shift_margin": shift_margin, "group_margin": group_margin}
    for name, value in given.items():
        if name != "group_margin" or value is not None:
            wrong = f"{name}={shown(value)}: expected the largest acceptable loss, above 0"
            checked(Positive, value, wrong)
    sign = -1 if registered.get(metric).traits["higher_is_better"] is False else 1
    changes = _changes(table, metric, groups=group_margin is not None)
    first = next(iter(changes.values()))
    made = []
    for variant in dict.fromkeys(variant for variant, _ in changes):
        for cell in dict.fromkeys(cell for _, cell in changes):
            limit = margin if cell[1] == "test" else shift_margin
            if cell[2] and group_margin is not None:
                limit = group_margin
            start = Judgement(variant, *cell, limit, first["baseline"], first["unit"])
            made.append(asdict(_judge(start, changes.get((variant, cell)), sign)))
    return pd.DataFrame(made)


def headline(table: pd.DataFrame) -> str:
    """Returns the first metric of the kind of artifact whose changes a table has.

    Raises:
        ValueError: it has changes of several kinds, so that one has to be named.
    """
    firsts = [each.traits["metrics"][:1] for each in map(artifacts.get, artifacts.names())]
    names = [name for first in firsts for name in first]
    there = set(table["metric"])
    found = list(dict.fromkeys(name for name in names if join_name(name, "change") in there))
    if len(found) > 1:
        raise ValueError(
            f"the table has changes of {', '.join(found)}: name one, metric={found[0]!r}"
        )
    return found[0] if found else "accuracy"


def _changes(table: pd.DataFrame, metric: str, *, groups: bool) -> dict[tuple[str, Cell], Row]:
    """Returns the paired rows to judge by, over seeds where there are such."""
    name = join_name(metric, "change")
    rows = [row for row in records(table) if row["metric"] == name]
    rows = [row for row in rows if not row["split"].endswith("validation")]
    rows = [row for row in rows if not is_shifted(row["condition"])]
    rows = [row for row in rows if groups or not row["group"]]
    names = sorted({row["baseline"] for row in rows})
    if len(names) != 1:
        found = f"several baselines ({', '.join(names)})" if names else f"no {name} rows"
        there = map(split_name, table["metric"])
        known = {changed for changed, statistic in there if statistic == "change"}
        found += f" (of {', '.join(sorted(known))} there are)" if known and not names else ""
        failed = table[(table["metric"] == metric) & (table["status"] != "ok")]["note"]
        found += f" ({failed.iloc[0]})" if len(failed) and not names else ""
        raise ValueError(
            f"the table has {found}; non-inferiority needs one metric against one baseline"
        )
    changes: dict[tuple[str, Cell], Row] = {}
    for row in sorted(rows, key=lambda row: (row["seed"] != "all", row["seed"])):
        cell = row["task"], row["split"], row["group"], row["condition"]
        changes.setdefault((row["variant"], cell), row)
    return changes


def _judge(start: Judgement, row: Row | None, sign: int) -> Judgement:
    """Says whether one change is shown to be within the margin, beyond it, or neither."""
    if row is None:
        return start
    if row["status"] != "ok" or math.isnan(row["ci_low"]):
        return replace(start, reason=f"there is no evidence: {row['note'] or 'no interval'}")
    centre, half = sign * (row["ci_low"] + row["ci_high"]) / 2, (row["ci_high"] - row["ci_low"]) / 2
    worst, best = centre - ONE_SIDED * half, centre + ONE_SIDED * half
    powered = math.ceil(row["n"] * (POWERED * half / start.margin) ** 2)
    lost = best < 0 and sign * row["value"] <= -start.margin  # then no number of items will help
    found = replace(
        start,
        change=sign * row["value"],
        worst=worst,
        n=int(row["n"]),
        needed=0 if lost else powered,
        verdict="fail"
        if best < -start.margin
        else "pass"
        if worst > -start.margin
        else "not enough evidence",
    )
    return replace(found, reason=_reason(found))


def _reason(row: Judgement) -> str:
    """Returns what the items show and what follows from it."""
    shows = f"{row.n:,} items show {in_words(row.change, row.unit)}"
    margin, bound = amount(row.margin, row.unit), amount(-row.worst, row.unit)
    if row.verdict == "fail":
        return f"{shows}, and with 95% confidence it is more than {margin}"
    if row.verdict == "pass":
        most = "nothing is lost" if row.worst >= 0 else f"the loss is at most {bound}"
        return f"{shows}, and with 95% confidence {most}"
    start = f"{shows}, but the true loss could be {bound}"
    if row.needed > row.n:
        return (
            f"{start}: too few to rule out one of {margin}; if nothing is lost, about "
            f"{rounded(row.needed):,} items could"
        )
    return f"{start}: it lies too near the margin of {margin} to call"


def amount(value: float, unit: str) -> str:
    """Returns an amount in words: shares in points."""
    return f"{100 * value:.1f} points" if unit == "share" else f"{value:.3g} {unit}"


def in_words(change: float, unit: str) -> str:
    """Returns `a loss of 1.2 points`; below what is printed, `no change`."""
    if amount(abs(change), unit) == amount(0, unit):
        return "no change"
    return f"a {'gain' if change > 0 else 'loss'} of {amount(abs(change), unit)}"


def rounded(count: float) -> int:
    """Two digits, upwards: an estimate shown with more would pretend."""
    step: int = 10 ** max(0, int(math.log10(count)) - 1)
    return math.ceil(count / step) * step
