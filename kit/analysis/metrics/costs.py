"""What a variant costs beside time: memory, arithmetic, training."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.registry import metrics


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
