"""Which variant to deploy: the cheapest that is shown to be good enough, in words anybody reads.

Good enough is non-inferiority: the one-sided 95% bound of the paired change clears the margin, in
distribution and on every shift. All must hold, so no correction is due (intersection-union test,
Berger 1982). Too few items to tell is a verdict of its own, with the number that would do.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kit.registry import metrics as registered
from kit.results import parse_condition

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Changes = dict[tuple[str, tuple[str, str, str]], Row]
"""By variant and (task, split, condition)."""

OBJECTIVES = {
    "latency": ("speedup", "times as fast as"),
    "memory": ("peak_bytes", "times smaller in memory than"),
    "disk": ("disk_bytes", "times smaller on disk than"),
}
ONE_SIDED = 1.6448536 / 1.9599640
"""Turns the half-width of a two-sided 95% interval into that of a one-sided bound (or a safe one:
with few degrees of freedom the exact factor is smaller)."""
POWERED = (1.6448536 + 0.8416212) / 1.9599640
"""And into the margin that would be cleared in 80% of studies if nothing is lost."""


@dataclass(frozen=True)
class Recommendation:
    """What to deploy, and why; `str()` is the paragraph.

    Attributes:
        verdict: `pick`, `keep` (the baseline) or `undecided`.
        choice: the variant to deploy now; the baseline unless the verdict is `pick`.
        text: the paragraph.
        details: a row for each variant and split: change, worst (the one-sided bound, positive is
            better), margin, n, verdict (`pass`, `fail`, `not enough evidence`), needed items, gain.
    """

    verdict: Literal["pick", "keep", "undecided"]
    choice: str
    text: str
    details: pd.DataFrame

    def __str__(self) -> str:
        return self.text


class Gain(NamedTuple):
    """How many times cheaper, its interval, and whether that is shown."""

    factor: float = math.nan
    low: float = math.nan
    high: float = math.nan
    shown: bool = False


@dataclass(frozen=True)
class Judgement:
    """One paired change against its margin; `change` and `worst` are positive for better."""

    variant: str
    task: str
    split: str
    gain: float
    margin: float
    change: float = math.nan
    worst: float = math.nan
    n: int = 0
    needed: int = 0
    verdict: str = "not enough evidence"
    note: str = "not measured"


def recommend(
    table: pd.DataFrame,
    objective: str = "latency",
    at: str = "batch_size=1",
    *,
    margin: float = 0.01,
    shift_margin: float = 0.02,
    metric: str = "accuracy",
) -> Recommendation:
    """Returns the cheapest variant that loses less than the margins, or says why there is none.

    Args:
        table: of a study, or from `kit.load`.
        objective: `latency` (by the timed speed-up, so simulated schemes never win), `memory`,
            `disk`.
        at: part of the condition at which latency counts.
        margin: largest acceptable loss on the `test` split, in the metric's unit.
        shift_margin: the same for every other split; validation splits are left out.
        metric: any metric with a value an item.

    Raises:
        ValueError: unknown objective, a margin that is not positive, or a table without such rows.
    """
    import pandas as pd

    if objective not in OBJECTIVES:
        raise ValueError(f"objective {objective!r}: expected one of {', '.join(OBJECTIVES)}")
    for name, value in (("margin", margin), ("shift_margin", shift_margin)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}={value}: expected the largest acceptable loss, above 0")
    rows: list[Row] = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    changes, baseline = _changes(rows, metric)
    gains = _gains(rows, objective, at if objective == "latency" else "", baseline)
    sign = -1 if registered.get(metric).traits["higher_is_better"] is False else 1
    judgements = []
    for variant, cell in product(*(dict.fromkeys(part) for part in zip(*changes, strict=True))):
        start = Judgement(
            variant,
            task=cell[0],
            split=cell[1],
            gain=gains[variant].factor,
            margin=margin if cell[1] == "test" else shift_margin,
        )
        judgements.append(_judge(start, changes.get((variant, cell)), sign))
    unit = next(iter(changes.values()))["unit"]
    details = pd.DataFrame([asdict(judgement) for judgement in judgements])
    words = _Words(objective, at, metric, unit, baseline)
    return Recommendation(*_decide(judgements, gains, words), details)


def _changes(rows: list[Row], metric: str) -> tuple[Changes, str]:
    """Returns the paired rows to judge by (over seeds where there are such), the baseline."""
    rows = [row for row in rows if row["metric"] == f"{metric}_change" and not row["group"]]
    rows = [row for row in rows if not row["split"].endswith("validation")]
    names = sorted({row["baseline"] for row in rows})
    if len(names) != 1:
        found = f"several baselines ({', '.join(names)})" if names else f"no {metric}_change rows"
        raise ValueError(f"the table has {found}; recommend needs one metric against one baseline")
    changes: Changes = {}
    for row in sorted(rows, key=lambda row: (row["seed"] != "all", row["seed"])):
        cell = row["task"], row["split"], row["condition"]
        changes.setdefault((row["variant"], cell), row)
    return changes, names[0]


def _gains(rows: list[Row], objective: str, at: str, baseline: str) -> dict[str, Gain]:
    """Returns how much cheaper each variant is at the condition, at least."""
    metric, _ = OBJECTIVES[objective]
    measured = [row for row in rows if row["metric"] == metric and row["status"] == "ok"]
    if not measured:
        raise ValueError(f"the table has no {metric} rows; measure it or choose another objective")
    wanted = parse_condition(at).items()
    here = [row for row in measured if wanted <= parse_condition(row["condition"]).items()]
    if not here:
        known = ", ".join(sorted({row["condition"] for row in measured}))
        raise ValueError(f"no {metric} was measured at {at!r}; there are: {known}")
    gains = {row["variant"]: Gain() for row in rows}
    for variant in gains:
        ours = [row for row in here if row["variant"] == variant]
        if objective == "latency":
            ours = [row for row in ours if row["baseline"] == baseline]
            found = [Gain(r["value"], r["ci_low"], r["ci_high"], r["ci_low"] > 1) for r in ours]
        else:
            base = [row for row in here if row["variant"] == baseline]
            found = [_smaller(b, row) for b in base for row in ours]
        if found:
            gains[variant] = min(found)._replace(shown=all(gain.shown for gain in found))
    return gains


def _smaller(base: Row, ours: Row) -> Gain:
    """Bytes against bytes; where both have intervals these must not overlap."""
    shown = ours["value"] < base["value"] and not ours["ci_high"] >= base["ci_low"]
    return Gain(base["value"] / ours["value"] if ours["value"] else math.inf, shown=shown)


def _judge(start: Judgement, row: Row | None, sign: int) -> Judgement:
    """Says whether one change is shown to be within the margin, beyond it, or neither."""
    if row is None or row["status"] != "ok" or math.isnan(row["ci_low"]):
        return replace(start, note=row["note"]) if row else start
    centre, half = sign * (row["ci_low"] + row["ci_high"]) / 2, (row["ci_high"] - row["ci_low"]) / 2
    worst, best = centre - ONE_SIDED * half, centre + ONE_SIDED * half
    verdict = "pass" if worst > -start.margin else start.verdict
    return replace(
        start,
        change=sign * row["value"],
        worst=worst,
        n=int(row["n"]),
        needed=math.ceil(row["n"] * (POWERED * half / start.margin) ** 2),
        verdict="fail" if best < -start.margin else verdict,
        note=row["note"],
    )


@dataclass(frozen=True)
class _Words:
    """Turns numbers into the sentences of the paragraph."""

    objective: str
    at: str
    metric: str
    unit: str
    baseline: str

    def amount(self, value: float) -> str:
        if self.unit == "share":
            return f"{100 * value:.1f} points"
        return f"{value:.3g} {self.unit}"

    def change(self, value: float) -> str:
        if self.amount(abs(value)) == self.amount(0):
            return "no change"
        return f"a {'gain' if value > 0 else 'loss'} of {self.amount(abs(value))}"

    def gain(self, gain: Gain) -> str:
        place = f" at {self.at}" if self.objective == "latency" else ""
        text = f"{gain.factor:.2g} {OBJECTIVES[self.objective][1]} {self.baseline}{place}"
        return text if math.isnan(gain.low) else f"{text} (95%: {gain.low:.3g} to {gain.high:.3g})"

    def limit(self, row: Judgement) -> str:
        if row.worst >= 0:
            return f"nothing on {row.split} ({row.n:,} items)"
        return f"at most {self.amount(-row.worst)} on {row.split} ({row.n:,} items)"

    def doubt(self, row: Judgement) -> str:
        if not row.n:
            return f"On {row.split} there is no evidence: {row.note or 'no interval'}."
        start = (
            f"On {row.split}, {row.n:,} items show {self.change(row.change)}, but the true "
            f"loss could be {self.amount(-row.worst)}"
        )
        if row.needed > row.n:
            return (
                f"{start}: too few to rule out one of {self.amount(row.margin)}; if nothing is "
                f"lost, about {_round(row.needed):,} items could."
            )
        return f"{start}: it lies too near the margin of {self.amount(row.margin)} to call."


def _round(count: float) -> int:
    """Two digits, upwards: an estimate shown with more would pretend."""
    step: int = 10 ** max(0, int(math.log10(count)) - 1)
    return math.ceil(count / step) * step


def _decide(
    judgements: list[Judgement], gains: dict[str, Gain], words: _Words
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
        f" {name} loses too much: {words.amount(-row.change)} on {row.split}."
        for name in failing
        for row in [min(by_variant[name], key=lambda row: row.worst + row.margin)]
    )
    if passing:
        best = passing[0]
        limits = ", ".join(words.limit(row) for row in by_variant[best])
        better = [name for name in doubtful if gains[name].factor > gains[best].factor]
        if better:
            tail += f" Cheaper still, but not to be judged with these data: {', '.join(better)}."
        text = (
            f"Pick {best}: it is {words.gain(gains[best])}, and with 95% confidence on each its "
            f"{words.metric} loses {limits}.{tail}"
        )
        return "pick", best, text
    if doubtful:
        best = doubtful[0]
        doubts = " ".join(words.doubt(row) for row in by_variant[best] if row.verdict != "pass")
        known = ", ".join(words.limit(row) for row in by_variant[best] if row.n)
        says = f" What they do say, with 95% confidence on each: it loses {known}." if known else ""
        text = (
            f"Undecided: {best} is {words.gain(gains[best])}, but these data cannot tell whether "
            f"its {words.metric} holds. {doubts}{says} If you can live with that, take it; if "
            f"not, keep {words.baseline} until you have more items.{tail}"
        )
        return "undecided", words.baseline, text
    place = f" at {words.at}" if words.objective == "latency" else ""
    none = "" if cheaper else f" No other variant is shown to cost less{place}."
    return "keep", words.baseline, f"Keep what you have ({words.baseline}).{none}{tail}"
