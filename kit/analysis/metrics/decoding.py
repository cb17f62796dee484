"""How fast a language model reads and writes, and how far that is from what the machine allows."""

from __future__ import annotations

from functools import partial

import numpy as np

from kit.analysis.metrics.timing import latency
from kit.analysis.statistics.clusters import Array
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

_calls = {"phase": "call", "writes": True}
_prefill = partial(register_metric, artifact="decoding", where={**_calls, "writes": False})
_step = partial(register_metric, artifact="decoding", where=_calls)
_writes = partial(register_metric, artifact=("decoding", "writing"), where=_calls)


@_prefill(higher_is_better=False, unit="s")
def time_to_first_token(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> Array:
    """Median seconds from a prompt to its first new token, by launch (TTFT)."""
    return latency(launch, side, seconds, turn, foreign)


@_step(higher_is_better=False, unit="s")
def time_per_output_token(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> Array:
    """Median seconds until the next token of every text of a batch, by launch (TPOT)."""
    return latency(launch, side, seconds, turn, foreign)


@_writes(higher_is_better=True, unit="tokens/s")
def tokens_per_second(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array, tokens: Array
) -> Array:
    """Tokens written a second, those of all texts of a batch together, by launch."""
    return float(tokens[0]) / latency(launch, side, seconds, turn, foreign)


@_step(higher_is_better=True, unit="share")
def bandwidth_utilisation(
    launch: Array,
    side: Array,
    seconds: Array,
    turn: Array,
    foreign: Array,
    moved_bytes: Array,
    bandwidth: Array,
) -> Array:
    """Share of the memory's bandwidth that writing a token reaches, by launch.

    Model-bandwidth utilisation: the bytes that a step has to read (weights once for the whole
    batch, the state of each text) over those that the memory gives in its time. Above 1 part of
    them came from the processor's caches.
    """
    return _share(moved_bytes, bandwidth, side, latency(launch, side, seconds, turn, foreign))


@_prefill(higher_is_better=True, unit="share")
def flops_utilisation(
    launch: Array,
    side: Array,
    seconds: Array,
    turn: Array,
    foreign: Array,
    flops: Array,
    flop_rate: Array,
) -> Array:
    """Share of the fastest product in float32 that reading a prompt reaches, by launch.

    Model-FLOPs utilisation. Above 1 it computes in something quicker than float32.
    """
    return _share(flops, flop_rate, side, latency(launch, side, seconds, turn, foreign))


def _share(work: Array, rate: Array, side: Array, seconds: Array) -> Array:
    """Returns the share of a rate that work in some seconds is."""
    ours = work[side == "variant"]
    if not ours.any():
        raise Undefined("what the call has to do is not known")
    return np.asarray(ours[0] / rate[0] / seconds)


@register_metric(
    artifact="writing",
    higher_is_better=None,
    unit="share",
    where={**_calls, "side": "variant"},
    no_interval="the same tokens are guessed in every launch",
)
def guesses_right(guessed: Array, right: Array) -> float:
    """Share of the tokens guessed ahead that greedy decoding writes (the acceptance rate)."""
    if not guessed.any():
        raise Undefined("nothing is guessed ahead")
    return float(right[0] / guessed[0])
