"""What a variant costs: time, memory, arithmetic.

Timing metrics return one value a launch, the unit of replication. The trait `where` says which
records of the artifact a metric reads; each condition of those gets its own row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from kit.analysis.statistics.intervals import Array
from kit.registry import metrics, register_metric
from kit.results import parse_condition
from kit.values import Undefined

_variant_calls = {"phase": "call", "side": "variant"}


def _medians(launch: Array, seconds: Array) -> dict[int, float]:
    return {int(one): float(np.median(seconds[launch == one])) for one in np.unique(launch)}


_launches = partial(register_metric, artifact="timing", interval="launches", version=1)
_percentile = partial(
    register_metric,
    artifact="timing",
    higher_is_better=False,
    unit="s",
    interval=None,
    version=1,
    where=_variant_calls,
    note="calls of all launches pooled; their shared luck allows no interval",
)


@_launches(higher_is_better=False, unit="s", where=_variant_calls)
def latency(launch: Array, seconds: Array) -> Array:
    """Median seconds of a call, by launch."""
    return np.array([*_medians(launch, seconds).values()])


@_launches(higher_is_better=True, unit="items/s", where=_variant_calls)
def throughput(launch: Array, seconds: Array, condition: Array) -> Array:
    """Items a second at the median call, by launch."""
    size = parse_condition(str(condition[0])).get("batch_size")
    if size is None:
        raise Undefined("the condition has no batch_size")
    return np.asarray(size / latency(launch, seconds))


@_launches(higher_is_better=True, unit="ratio", where={"phase": "call"}, null=1.0)
def speedup(launch: Array, side: Array, seconds: Array) -> Array:
    """The baseline's median time over the variant's in the same launch; above 1 is faster."""
    ours, theirs = side == "variant", side == "baseline"
    variant = _medians(launch[ours], seconds[ours])
    baseline = _medians(launch[theirs], seconds[theirs])
    pairs = [baseline[one] / variant[one] for one in variant if one in baseline]
    if not pairs:
        raise Undefined("no launch has calls of both sides")
    return np.array(pairs)


def launch_ratios(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Returns for each condition of a timing the speed-up in each launch."""
    calls = columns["phase"] == "call"
    found = {}
    for text in np.unique(columns["condition"][calls]):
        chosen = calls & (columns["condition"] == text)
        found[str(text)] = speedup(*(columns[n][chosen] for n in ("launch", "side", "seconds")))
    return found


_start = {"condition": ""}  # what a launch recorded of its start belongs to no condition


def _sums(launch: Array, seconds: Array) -> Array:
    return np.array([seconds[launch == one].sum() for one in np.unique(launch)])


@_launches(higher_is_better=False, unit="s", where={**_start, "side": "variant"})
def cold_start_seconds(launch: Array, seconds: Array) -> Array:
    """Seconds from the start of a process to its first answer: what a serverless user waits for.

    Imports, loading, compiling and the first call; files are in the system's cache.
    """
    return _sums(launch, seconds)


@_launches(higher_is_better=False, unit="s", where={**_start, "side": "variant"})
def cold_start_phase_seconds(launch: Array, phase: Array, seconds: Array) -> dict[str, Array]:
    """The parts of the cold start: `import`, `load`, `compile` (where it does) and `first_call`."""
    return {
        f"phase={one}": _sums(launch[phase == one], seconds[phase == one])
        for one in np.unique(phase)
    }


@_launches(higher_is_better=True, unit="ratio", where=_start, null=1.0)
def cold_start_speedup(launch: Array, side: Array, seconds: Array) -> Array:
    """The baseline's cold start over the variant's in the same launch."""
    theirs, ours = side == "baseline", side == "variant"
    return _sums(launch[theirs], seconds[theirs]) / _sums(launch[ours], seconds[ours])


_load = partial(_launches, higher_is_better=None, where={**_start, "side": "variant"})


def _each(launch: Array, values: Array) -> Array:
    return values[np.unique(launch, return_index=True)[1]]


@_load(unit="share")
def foreign_load(launch: Array, foreign: Array) -> Array:
    """Share of all CPUs that others took during a launch, stolen time included."""
    return _each(launch, foreign)


@_load(unit="share")
def stolen_load(launch: Array, stolen: Array) -> Array:
    """Share of all CPUs that the hypervisor gave to other guests during a launch."""
    return _each(launch, stolen)


@_load(unit="1/s")
def context_switches(launch: Array, switches: Array) -> Array:
    """How often a second the variant's threads lost their CPU to another process."""
    return _each(launch, switches)


@_launches(higher_is_better=False, unit="s", where={"phase": "first_call", "side": "variant"})
def first_call_seconds(seconds: Array) -> Array:
    """Seconds of the first call in a process, compilation and warm caches included."""
    return seconds


def samples_needed(percentile: float, confidence: float = 0.99) -> int:
    """Returns how many calls a percentile needs.

    MLPerf inference's early-stopping rule: the smallest n with P(at most one call above the
    percentile) <= 1 - confidence, so that an estimate below the true percentile is unlikely.
    """
    n = 2
    tail = 1 - percentile
    while percentile**n + n * tail * percentile ** (n - 1) > 1 - confidence:
        n += 1
    return n


def _pooled(seconds: Array, percentile: float) -> float:
    needed = samples_needed(percentile)
    if len(seconds) < needed:
        raise Undefined(f"{len(seconds)} calls; p{100 * percentile:.0f} needs {needed}")
    return float(np.quantile(seconds, percentile))


@_percentile()
def latency_p90(seconds: Array) -> float:
    """Seconds within which nine calls of ten end."""
    return _pooled(seconds, 0.9)


@_percentile()
def latency_p99(seconds: Array) -> float:
    """Seconds within which 99 calls of 100 end."""
    return _pooled(seconds, 0.99)


def _quantity(artifact: str, name: str, unit: str, about: str, **traits: Any) -> None:
    """Registers a recorded quantity as a metric: no arithmetic, one row a condition."""

    def quantity(value: Array) -> Array | float:
        if traits.get("interval") is None and len(np.unique(value)) > 1:
            raise ValueError(f"{name} was recorded with different values: {np.unique(value)}")
        return value if traits.get("interval") else float(value[0])

    quantity.__doc__ = about
    settings: dict[str, Any] = {"higher_is_better": False, "interval": None} | traits
    if settings["interval"] is None:
        settings["note"] = "counted once, not sampled: no interval"
    metrics.register(
        quantity,
        name=name,
        version=1,
        owner=(__name__, name),
        artifacts=(artifact,),
        unit=unit,
        where={"quantity": name},
        **settings,
    )


_memory = partial(_quantity, "memory", unit="bytes")
_memory("disk_bytes", about="Bytes of the files a deployment ships.")
_memory("weight_bytes", about="Bytes of the weights in the scheme's own format.")
_memory(
    "resident_bytes", about="Bytes in memory after loading, over the imports.", interval="launches"
)
_memory("peak_bytes", about="Peak bytes of a fresh process over its imports.", interval="launches")
_quantity("memory", "bits_per_weight", "bits", "Bits of a linear layer's weight, scales included.")
_cost = partial(_quantity, "cost")
_cost("parameters", unit="count", about="Trainable numbers, tied ones once.")
_cost("non_embedding_parameters", unit="count", about="Parameters without the embedding tables.")
_cost("state_bytes", unit="bytes", about="Bytes kept for a sequence while decoding.")
_cost("flops_per_token", unit="FLOP", about="Floating-point operations a token, forward.")
_cost("training_seconds", unit="s", about="Seconds of optimizer steps, trials of rates left out.")
_cost("training_flops", unit="FLOP", about="Floating-point operations of the training.")
_cost("training_tokens", unit="count", about="Tokens seen in training.", higher_is_better=None)
_cost("rate", unit="1", about="Peak learning rate that the trials chose.", higher_is_better=None)
