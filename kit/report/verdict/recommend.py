"""Which variant to deploy: the cheapest that is shown to be good enough, in words anybody reads.

Good enough is non-inferiority in distribution and on every shift (`inferiority`). Too few items to
tell is a verdict of its own, with the number that would do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kit.analysis.rows import records
from kit.report.verdict.inferiority import Judgement, amount, headline, non_inferior
from kit.report.verdict.recommendation import (
    OBJECTIVES,
    Flips,
    Gain,
    Recommendation,
    Words,
    part_of,
)
from kit.store.meaning import is_simulated, join_name
from kit.store.results import parse_condition

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def recommend(
    table: pd.DataFrame,
    objective: str = "latency",
    at: str = "batch_size=1",
    *,
    margin: float = 0.01,
    shift_margin: float = 0.02,
    group_margin: float | None = None,
    metric: str | None = None,
) -> Recommendation:
    """Returns the cheapest variant that loses less than the margins, or says why there is none.

    Args:
        table: of a study, or from `kit.load`.
        objective: `latency` (by the timed speed-up), `memory`, `disk`; simulated schemes win none.
        at: part of the condition at which latency counts.
        margin: largest acceptable loss on the `test` split, in the metric's unit.
        shift_margin: the same for every other split; validation splits are left out.
        group_margin: the same for each group of a split; None: groups are not judged.
        metric: any metric with a paired change; see `non_inferior`.

    Raises:
        ValueError: unknown objective, a margin that is not above 0, or a table without such rows.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective {objective!r}: expected one of {', '.join(OBJECTIVES)}")
    metric = metric or headline(table)
    details = non_inferior(table, margin, shift_margin, group_margin, metric)
    judgements = [Judgement(**row) for row in records(details)]
    baseline = judgements[0].baseline
    rows, place = records(table), at if objective == "latency" else ""
    gains = _gains(rows, objective, place, baseline)
    details["gain"] = [gains[row.variant].factor for row in judgements]
    words = Words(
        objective,
        at,
        metric,
        baseline,
        _batch_flips(rows, baseline),
        _unknown(rows, objective, place),
        table.attrs.get("items", {}),
        _worded(rows, metric),
    )
    return Recommendation(*_decide(judgements, gains, words), details)


def _gains(rows: list[Row], objective: str, at: str, baseline: str) -> dict[str, Gain]:
    """Returns how much cheaper each variant is at the condition, at least."""
    metric, _ = OBJECTIVES[objective]
    measured = [row for row in rows if row["metric"] == metric]
    if not measured:
        measure = "Latency(task)" if objective == "latency" else "Memory(task)"
        raise ValueError(
            f"the table has no {metric} rows: ask for measurements=[{measure}], or choose another "
            f"objective than {objective!r}"
        )
    wanted = parse_condition(at).items()
    here = [row for row in measured if wanted <= parse_condition(row["condition"]).items()]
    if not here:
        known = ", ".join(sorted({row["condition"] for row in measured}))
        raise ValueError(f"no {metric} was measured at {at!r}; there are: {known}")
    here = [row for row in here if row["status"] == "ok"]
    gains = {row["variant"]: Gain() for row in rows}
    for variant in gains:
        ours = [row for row in here if row["variant"] == variant]
        if objective == "latency":
            ours = [row for row in ours if row["baseline"] == baseline]
            found = [Gain(r["value"], r["ci_low"], r["ci_high"], r["ci_low"] > 1) for r in ours]
        else:
            ours = [row for row in ours if not is_simulated(row["schemes"])]
            base = [row for row in here if row["variant"] == baseline]
            found = [_smaller(b, row) for b in base for row in ours]
        if found:
            gains[variant] = min(found)._replace(shown=all(gain.shown for gain in found))
    return gains


def _unknown(rows: list[Row], objective: str, at: str) -> dict[str, str]:
    """Returns of which variants the cost is not known, and why."""
    wanted, metric = parse_condition(at).items(), OBJECTIVES[objective][0]
    here = [r for r in rows if r["metric"] == metric and r["status"] == "undefined"]
    here = [r for r in here if wanted <= parse_condition(r["condition"]).items()]
    return {row["variant"]: row["note"] for row in here}


def _batch_flips(rows: list[Row], baseline: str) -> list[Flips]:
    """Returns each variant's flips by size of the batch, where above the baseline's."""
    found = [
        Flips(row["variant"], size, row["task"], row["split"], row["value"], row["n"])
        for row in rows
        if row["metric"] == "noise_flips" and row["status"] == "ok"
        for varied, size in [map(parse_condition(row["condition"]).get, ("varied", "batch_size"))]
        if varied == "batch_size"
    ]
    usual = {one[1:4]: one.items for one in found if one.variant == baseline}
    return [one for one in found if one.items > usual.get(one[1:4], 0)]


def _worded(rows: list[Row], metric: str) -> dict[str, str]:
    """Returns of each variant that was asked in other words what these do to the order."""
    name = join_name(metric, "change")
    return {
        r["variant"]: r["note"] for r in rows if (r["metric"], r["interval"]) == (name, "wordings")
    }


def _smaller(base: Row, ours: Row) -> Gain:
    """Bytes against bytes; where both have intervals these must not overlap."""
    shown = ours["value"] < base["value"] and not ours["ci_high"] >= base["ci_low"]
    return Gain(base["value"] / ours["value"] if ours["value"] else math.inf, shown=shown)


def _of_quality(by_variant: Mapping[str, list[Judgement]], words: Words) -> str:
    """Says what is known of quality, where nothing is known of costs."""
    told = []
    for name, rows in by_variant.items():
        lost = [row for row in rows if row.verdict == "fail"]
        known = [words.limit(row) for row in _told(rows) if row.n]
        if lost:
            worst = min(lost, key=_spare)
            told.append(
                f"{name} loses too much, {amount(-worst.change, worst.unit)} on {part_of(worst)}"
            )
        elif known:
            told.append(f"{name} loses {', '.join(known)}")
    what = f" What is known of {words.metric}, with 95% confidence on each: {'; '.join(told)}."
    return what if told else ""


def _told(rows: Sequence[Judgement]) -> list[Judgement]:
    """Returns the rows to be told of: every split, but of the groups the one that does worst."""
    groups = [row for row in rows if row.group]
    worst = [min(groups, key=_spare)] if groups else []
    return [row for row in rows if not row.group] + worst


def _spare(row: Judgement) -> float:
    """How far the worst case stays clear of the margin; what is not known is no clearance."""
    return -math.inf if math.isnan(row.worst) else row.worst + row.margin


def _decide(
    judgements: list[Judgement], gains: dict[str, Gain], words: Words
) -> tuple[Literal["pick", "keep", "undecided"], str, str]:
    """Returns verdict, choice and paragraph."""
    by_variant: dict[str, list[Judgement]] = {}
    for row in judgements:
        by_variant.setdefault(row.variant, []).append(row)
    cheaper = [name for name in by_variant if gains[name].shown]
    cheaper.sort(key=lambda name: -gains[name].factor)
    verdicts = {name: {row.verdict for row in by_variant[name]} for name in cheaper}
    passing = [name for name in cheaper if verdicts[name] == {"pass"}]
    failing = [name for name in cheaper if "fail" in verdicts[name]]
    doubtful = [name for name in cheaper if name not in passing + failing]
    tail = "".join(
        f" {name} loses too much: {amount(-row.change, row.unit)} on {part_of(row)}."
        for name in failing
        for row in [min((r for r in by_variant[name] if r.verdict == "fail"), key=_spare)]
    )
    if passing:
        best = passing[0]
        limits = ", ".join(words.limit(row) for row in _told(by_variant[best]))
        better = [name for name in doubtful if gains[name].factor > gains[best].factor]
        if better:
            tail += f" Cheaper still, but not to be judged with these data: {', '.join(better)}."
        text = (
            f"Pick {best}: it is {words.gain(gains[best])}, and with 95% confidence on each its "
            f"{words.metric} loses {limits}.{words.besides(best)}{tail}"
        )
        return "pick", best, text
    if doubtful:
        best = doubtful[0]
        doubtful_rows = [row for row in by_variant[best] if row.verdict != "pass"]
        doubts = " ".join(f"On {part_of(row)}, {row.reason}." for row in _told(doubtful_rows))
        known = ", ".join(words.limit(row) for row in _told(by_variant[best]) if row.n)
        says = f" What they do say, with 95% confidence on each: it loses {known}." if known else ""
        text = (
            f"{words.deciding(doubtful_rows)}. {best} is {words.gain(gains[best])}, but these data "
            f"cannot tell whether its {words.metric} holds. {doubts}{says} If you can live with "
            f"that, take it; if not, keep {words.baseline} until you have more items."
            f"{words.besides(best)}{tail}"
        )
        return "undecided", words.baseline, text
    unknown = {name: why for name, why in words.unknown.items() if name in by_variant}
    if unknown and all(math.isnan(gains[name].factor) for name in by_variant):
        names, why = ", ".join(unknown), next(iter(unknown.values()))
        text = f"Undecided: what {names} would cost is not known: {why}."
        return "undecided", words.baseline, text + _of_quality(by_variant, words)
    place = f" at {words.at}" if words.objective == "latency" else ""
    none = "" if cheaper else f" No other variant is shown to cost less{place}."
    return "keep", words.baseline, f"Keep what you have ({words.baseline}).{none}{tail}"
