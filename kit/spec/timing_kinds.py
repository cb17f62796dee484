"""The kinds of artifact that timings save: calls of a variant and of the baseline beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.spec.kinds import Columns, register_artifact

CALLS = 2000
"""Of a timing, so that it has samples enough for a 99th percentile."""
COLUMNS = ("side", "condition", "turn", "phase", "seconds", "foreign")
DECODED = (*COLUMNS, "writes", "tokens", "moved_bytes", "flops", "bandwidth", "flop_rate")
_CALLS: Mapping[str, Any] = {
    "record": "call",
    "columns": COLUMNS,
    "optional": ("stolen", "switches"),
}


@register_artifact(
    **_CALLS,
    metrics=(
        *("speedup", "latency", "throughput", "latency_p90", "latency_p99", "first_call_seconds"),
        *("cold_start_seconds", "cold_start_phase_seconds", "cold_start_speedup"),
        *("foreign_load", "stolen_load", "context_switches"),
    ),
)
def timing() -> Columns:
    """Seconds of each call of a variant and the baseline beside it, and of what comes before."""
    rng, count = np.random.default_rng(0), np.arange(CALLS)
    return {
        "launch": count % 4,
        "side": np.where(count // 4 % 2, "baseline", "variant"),
        "condition": np.full(CALLS, "batch_size=2;length=8;threads=1"),
        "turn": count // 8,
        "phase": np.full(CALLS, "call"),
        "seconds": 0.01 + rng.random(CALLS) / 100,
        "foreign": 0.01 * (count % 4),
        "stolen": 0.001 * (count % 4),
        "switches": 10.0 * (count % 4),
    }


@register_artifact(
    **{**_CALLS, "columns": DECODED},
    metrics=(
        *("speedup", "time_to_first_token", "time_per_output_token", "tokens_per_second"),
        *("bandwidth_utilisation", "flops_utilisation", "foreign_load"),
    ),
)
def decoding() -> Columns:
    """A timing of calls of which each reads a prompt, or writes a token of some texts (`writes`).

    Of each the tokens it gives, and of the variant's the bytes it reads (`moved_bytes`) and its
    operations (`flops`) at least, beside what the machine does at most in a second.
    """
    writes = np.arange(CALLS) % 16 < 8
    known = {"moved_bytes": 1e6, "flops": 2e6, "bandwidth": 1e9, "flop_rate": 1e9, "tokens": 2.0}
    beside = {name: np.full(CALLS, value) for name, value in known.items()}
    condition = np.where(writes, "batch_size=2;context=8;stage=step", "context=8;stage=prefill")
    return {**timing(), **beside, "condition": condition, "writes": writes}


@register_artifact(
    **{**_CALLS, "columns": (*DECODED, "guessed", "right")},
    metrics=("speedup", "tokens_per_second", "guesses_right", "foreign_load"),
)
def writing() -> Columns:
    """A timing of calls that write whole texts, and how many of the guessed tokens are right."""
    known = {"guessed": np.full(CALLS, 8.0), "right": np.full(CALLS, 6.0)}
    return {**decoding(), **known, "writes": np.full(CALLS, True)}


@register_artifact(
    **_CALLS,
    metrics=(
        *("false_alarm_rate", "detection_rate", "launch_spread", "call_spread", "busy_launches"),
        "launches_needed",
    ),
)
def selftest() -> Columns:
    """A timing of many launches of a variant against itself."""
    return timing()
