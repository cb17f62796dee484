"""Rows from rows: what no metric of one artifact can tell, such as a price or the noise floor.

What `register_derived` registers stands among the metrics and reads rows. A row that it gives has
no interval but what it says, with what that is over (`interval`); one without says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kit.analysis.rows import Row
from kit.spec.arguments import positional
from kit.spec.checking import Undefined
from kit.spec.registry import ROWS, Entry, metrics
from kit.store.results import KEY, row

_OF_VARIANT = ("variant", "architecture", "schemes", "runtime", "seed")


def key_of(of: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Returns the key columns of a row and the id of its run, some of them set otherwise."""
    return {name: of[name] for name in (*KEY, "run_id")} | fields


def derive(names: Sequence[str], rows: Sequence[Row], **study: Any) -> list[Row]:
    """Returns what derivations give of a study that has rows of all that they read.

    Args:
        names: of metrics, derivations among them.
        rows: of single runs and comparisons.
        **study: what derivations that read no rows ask for by name: `artifacts`, `samples`,
            `baseline`, `again` and `lost` (see `kit.analysis.findings.noise_floor`).
    """
    made: list[Row] = []
    for entry in map(metrics.get, names):
        if entry.traits["artifacts"] == ROWS:
            reads = entry.traits["reads"]
            read = [one for one in [*rows, *made] if one["metric"] in reads]
            if not reads:
                asked = {name: study[name] for name in positional(entry.function)}
                made += entry.function(**asked)
            elif {one["metric"] for one in read} == set(reads):
                made += _derived(entry, read)
    return made


def _derived(entry: Entry, read: Sequence[Row]) -> list[Row]:
    """Returns the rows of one derivation; of a variant that it gives none of, the reason."""
    why = {
        one["variant"]: ("undefined", f"it needs {one['metric']}: {one['note']}")
        for one in read
        if one["status"] != "ok"
    }
    made: list[Row] = []
    measured = [one for one in read if one["status"] == "ok"]
    try:
        made = [_completed(entry, each) for each in entry.function(measured)] if measured else []
    except Undefined as error:
        why = {one["variant"]: ("undefined", str(error)) for one in read}
    except Exception as error:
        why = {one["variant"]: ("error", f"{type(error).__name__}: {error}") for one in read}
    there = {one["variant"] for one in made}
    first = {one["variant"]: one for one in reversed(read)}
    for variant, (status, note) in why.items():
        if variant not in there:
            about = {name: first[variant][name] for name in _OF_VARIANT}
            made.append(_completed(entry, {**about, "status": status, "note": note}))
    return made


def _completed(entry: Entry, fields: Mapping[str, Any]) -> Row:
    """Returns a row with what its derivation does not say."""
    made = row(**{"unit": entry.traits["unit"], **fields, "metric": entry.name})
    if made["status"] == "ok" and math.isnan(made["ci_low"]) and not made["note"]:
        made["note"] = f"derived from {' and '.join(entry.traits['reads'])}: no interval"
    return made
