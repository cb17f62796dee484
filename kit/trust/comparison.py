"""Compares a published table with its repeat, key by key.

Quality must come out equal where the machine is of the same class and the run the same, else
within the old interval. Ratios of time are compared by Welch's test on the logarithms of both
runs' launches, corrected over the table (Holm) at 1%: a true repeat leaves a 95% interval of four
launches one time in nine, so intervals would cry wolf. Bytes must agree within 2%. Absolute times
belong to the hour, not to the variant: what moved is shown and not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from kit.analysis.rows import records
from kit.analysis.statistics.corrections import holm
from kit.analysis.statistics.intervals import t_quantile
from kit.spec.registry import metrics
from kit.store import results
from kit.store.meaning import split_name

LEVEL = 0.01  # of the corrected p-value below which two ratios of time contradict each other
BYTES = 0.02  # relative difference of bytes that counts as the same
VERDICTS = ("contradicted", "gone", "new", "moved", "not judged", "does not apply", "same")
"""Of a key, worst first. `moved`: another value that contradicts nothing."""
_NOT_OF_THE_CLASS = ("commit", "memory_gb", "cores")
_OF_UNITS = {"bytes": "bytes", "ratio": "ratio", "s": "time", "items/s": "time"}
_TIMED = frozenset(
    ("timing", "decoding", "writing", "selftest")
)  # kinds of artifact that belong to the hour
_PLURALS = {"bytes": "bytes", "ratio": "ratios of time", "time": "times", "quality": "quality"}


def compare_tables(
    old: pd.DataFrame, new: pd.DataFrame, old_machines: pd.DataFrame, new_machines: pd.DataFrame
) -> pd.DataFrame:
    """Returns what became of each key of two tables.

    Args:
        old: rows, as published.
        new: rows of the repeat.
        old_machines: one row a machine, its index the rows' `machine`.
        new_machines: the same of the repeat.

    Returns:
        The key columns, `kind` (`quality`, `ratio`, `bytes`, `time`), `old` and `new` (values),
        `old_low`, `old_high`, `p_adjusted` (of ratios), `verdict` (one of `VERDICTS`) and `note`.
    """
    machines = [_classes(old_machines), _classes(new_machines)]
    sides = [
        {tuple(row[key] for key in results.KEY): row for row in records(table)}
        for table in (old, new)
    ]
    made = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        pair = before, after = sides[0].get(key), sides[1].get(key)
        found = dict(zip(results.KEY, key, strict=True)) | {"note": "", "p_adjusted": math.nan}
        found["kind"] = _kind(before or after or {})
        if before is None or after is None:
            found |= _one_sided(found["kind"], machines, gone=after is None)
        else:
            places = [
                m.get(row["machine"]) for m, row in zip(machines, (before, after), strict=True)
            ]
            found |= _judged(found["kind"], before, after, _differing(*places))
        values = [math.nan if row is None else row["value"] for row in pair]
        bar = [math.nan if before is None else before[end] for end in ("ci_low", "ci_high")]
        made.append(found | dict(zip(_VALUES, [*values, *bar], strict=True)))
    frame = pd.DataFrame(made, columns=[*results.KEY, "kind", *_VALUES, "p_adjusted", *_VERDICT])
    return _corrected(frame)


_VALUES, _VERDICT = ("old", "new", "old_low", "old_high"), ("verdict", "note")


def _kind(row: Mapping[Any, Any]) -> str:
    """Returns by which rule a row is judged: by its unit, or by what its metric reads."""
    if row["unit"] in _OF_UNITS:
        return _OF_UNITS[row["unit"]]
    name, _ = split_name(row["metric"])
    read = metrics.get(name).traits["artifacts"] if name in metrics.names() else ()
    return "quality" if _TIMED.isdisjoint(read) else "time"


def _classes(machines: pd.DataFrame) -> dict[int, dict[str, str]]:
    """Returns of each machine what decides its numbers, as text."""
    kept = machines.drop(columns=[c for c in _NOT_OF_THE_CLASS if c in machines])
    return {
        int(number): {str(name): str(value) for name, value in row.items()}
        for number, row in zip(kept.index, records(kept), strict=True)
    }


def _differing(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> list[str]:
    """Returns in what two machines differ, of what is recorded of both; empty for one class."""
    if old is None or new is None:
        return [] if old is new else ["machine"]
    return [name for name in old if name in new and old[name] != new[name]]


def _one_sided(
    kind: str, machines: list[dict[int, dict[str, str]]], *, gone: bool
) -> dict[str, str]:
    if not gone:
        return {"verdict": "new"}
    classes = [{tuple(sorted(one.items())) for one in side.values()} for side in machines]
    if kind == "quality" and classes[0] == classes[1]:
        return {"verdict": "contradicted", "note": "the repeat has no such row"}
    return {"verdict": "gone"}


def _judged(
    kind: str, before: Mapping[Any, Any], after: Mapping[Any, Any], differ: list[str]
) -> dict[str, Any]:
    """Returns the verdict on a key that both tables have, Welch's test left to `_corrected`."""
    old, new = before["value"], after["value"]
    if before["status"] != after["status"]:
        note = f"was {before['status']}, is {after['status']}: {after['note'] or before['note']}"
        broke = after["status"] == "error" or (kind == "quality" and not differ)
        return {"verdict": "contradicted" if broke else "not judged", "note": note}
    if before["status"] != "ok":
        return {"verdict": "same", "note": str(before["note"])}
    low, high = before["ci_low"], before["ci_high"]
    if kind == "quality":
        return _quality(before, after, differ)
    if differ:
        return {"verdict": "does not apply", "note": f"another {', '.join(differ)}"}
    if kind == "bytes":
        if math.isclose(old, new, rel_tol=BYTES):
            return {"verdict": "same" if old == new else "moved"}
        return {"verdict": "contradicted", "note": f"more than {BYTES:.0%} apart"}
    if kind == "ratio":
        p_value = welch(before, after)
        if p_value is None:
            return {"verdict": "not judged", "note": "too few launches for a test"}
        return {"verdict": "", "p_adjusted": p_value}
    outside = (
        not low <= new <= high if not math.isnan(low) else not math.isclose(old, new, rel_tol=0.1)
    )
    note = "belongs to its hour" if outside else ""
    return {"verdict": "moved" if outside else "same", "note": note}


def _quality(
    before: Mapping[Any, Any], after: Mapping[Any, Any], differ: list[str]
) -> dict[str, str]:
    texts = [f"{row['value']:.6g}" for row in (before, after)]
    if texts[0] == texts[1]:
        return {"verdict": "same"}
    if not differ and before["run_id"] == after["run_id"]:
        note = "the same run on the same class of machine must come out equal"
        return {"verdict": "contradicted", "note": note}
    why = f"another {', '.join(differ)}" if differ else "another run_id: code, data or spec changed"
    if math.isnan(before["ci_low"]):
        return {"verdict": "not judged", "note": f"{why}; no interval"}
    if before["ci_low"] <= after["value"] <= before["ci_high"]:
        return {"verdict": "moved", "note": f"{why}; within the old interval"}
    return {"verdict": "contradicted", "note": f"{why}; outside the old interval"}


def welch(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> float | None:
    """Returns the two-sided p-value of equal ratios, by Welch's test on the launches' logarithms.

    Mean and spread of the logarithms are recovered from the row: the value is their mean, the
    interval `mean +- t(0.975, n-1) * sd / sqrt(n)`. None where a side has no interval.
    """
    from scipy.stats import ttest_ind_from_stats

    means, spreads, counts = [], [], []
    for row in (before, after):
        numbers = [row[name] for name in ("value", "ci_low", "ci_high")]
        n = 0 if pd.isna(row["n"]) else int(row["n"])
        if n < 2 or not all(number > 0 for number in numbers):
            return None
        half = (math.log(numbers[2]) - math.log(numbers[1])) / 2
        means.append(math.log(numbers[0]))
        spreads.append(half * math.sqrt(n) / t_quantile(0.975, n - 1))
        counts.append(n)
    if not any(spreads):
        return float(means[0] == means[1])
    found = ttest_ind_from_stats(
        means[0], spreads[0], counts[0], means[1], spreads[1], counts[1], equal_var=False
    )
    return float(found.pvalue)


def _corrected(frame: pd.DataFrame) -> pd.DataFrame:
    """Fills in the verdict on ratios, their p-values corrected over the table."""
    tested = frame.index[frame["p_adjusted"].notna()]
    adjusted = holm(np.asarray(frame.loc[tested, "p_adjusted"], dtype=np.float64))
    frame.loc[tested, "p_adjusted"] = adjusted
    wrong = frame.loc[tested, "p_adjusted"] < LEVEL
    equal = frame.loc[tested, "old"] == frame.loc[tested, "new"]
    frame.loc[tested, "verdict"] = np.select([wrong, equal], ["contradicted", "same"], "moved")
    frame.loc[tested, "note"] = np.where(wrong, f"p below {LEVEL:.0%} (Welch, Holm)", "")
    return frame


def summary(name: str, found: pd.DataFrame) -> str:
    """Returns the comparison as one paragraph."""
    counts = found["verdict"].value_counts()
    parts = [f"{counts[verdict]:,} {verdict}" for verdict in VERDICTS if verdict in counts]
    text = f"{name}: {len(found):,} rows compared: {', '.join(parts)}."
    away = found[found["verdict"] == "does not apply"]
    if len(away):
        kinds = ", ".join(_PLURALS[kind] for kind in sorted(set(away["kind"])))
        text += f" On this machine ({away['note'].iloc[0]}) these do not apply: {kinds}."
    unjudged = int(((found["verdict"] == "not judged") & (found["kind"] == "quality")).sum())
    if unjudged:
        text += f" {unjudged:,} rows of quality moved and have no interval to be judged by."
    bad = int(counts.get("contradicted", 0))
    who = {0: "Nothing contradicts", 1: "One row contradicts"}.get(bad, f"{bad:,} rows contradict")
    return f"{text} {who} the table."
