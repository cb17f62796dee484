"""How names of metrics and numbers are written for a reader."""

from __future__ import annotations

import math

from kit.store.meaning import split_name

_WORDS = {
    "acc": "right answers",
    "acc_norm": "right answers by likelihood a byte",
    "cold_start_seconds": "cold start",
    "bits_per_byte": "bits per byte",
    "disk_bytes": "size on disk",
    "ece": "calibration error (ECE)",
    "kl": "divergence (KL)",
    "nll": "negative log-likelihood",
    "peak_bytes": "peak memory",
    "resident_bytes": "resident memory",
    "allocated_state_bytes": "decoding state, allocated",
    "expected_state_bytes": "decoding state, by formula",
    "held_bytes": "memory with users",
    "state_bytes": "decoding state",
    "users": "users that fit",
    "top1_agreement": "same likeliest token",
    "weight_bytes": "size of weights",
}


def words(metric: str) -> str:
    """Returns a metric's name as words."""
    name, statistic = split_name(metric)
    if statistic == "change":
        return f"change in {words(name)}"
    return _WORDS.get(metric, metric.replace("_", " "))


def number(value: float) -> str:
    """Returns a number with about three significant digits, never in powers of ten if readable."""
    if math.isnan(value):
        return ""
    size = abs(value)
    if size and (size < 1e-4 or size >= 1e7):
        return f"{value:.2e}"
    if size and size < 0.001:
        return f"{value:.2g}"
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
