"""Schemes on what decoding keeps: keys and values rounded, or those of few tokens kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kit.spec.checking import SpecError
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from torch import Tensor

Bits = Literal[2, 4, 8]
Group = Annotated[int, Field(ge=8, multiple_of=4)]
Residual = Annotated[int, Field(ge=0)]
Budget = Annotated[int, Field(ge=1)]


@register_scheme(form="state", simulated=True, version=1)
def kv_round(
    keys: Tensor, values: Tensor, *, bits: Bits = 4, group: Group = 32, residual: Residual = 32
) -> tuple[Tensor, Tensor]:
    """Rounds cached keys by channel and values by token, as KIVI does (Liu et al. 2024).

    The numbers of `kv_int`, computed and held in full precision.

    Args:
        keys: [b, heads, t, size] as they came.
        values: [b, heads, t, size] as they came.
        bits: of a number.
        group: tokens of a channel of keys, and channels of a token of values, that share a step.
        residual: latest tokens at least that stay as they are.
    """
    from kit.compression.packed import Grid

    grid = Grid(bits, group, residual)
    return grid.rounded(keys, keys=True), grid.rounded(values, keys=False)


@register_scheme(
    form="state", version=1, aliases={f"kv_int{bits}": {"bits": bits} for bits in (8, 4, 2)}
)
def kv_int(layer: Any, *, bits: Bits = 4, group: Group = 32, residual: Residual = 32) -> Any:
    """Packs cached keys by channel and values by token, as KIVI does (Liu et al. 2024).

    Each is rounded once; the latest tokens, and all that a call itself adds, are read exactly. A
    group has a step and a smallest number of 16 bits each: with groups of 32 one bit a number.

    Args:
        layer: an empty one of a cache.
        bits: of a number.
        group: tokens of a channel of keys, and channels of a token of values, that share a step.
        residual: latest tokens at least that stay as they are; up to a group less one more do.
    """
    del layer
    from kit.compression.packed import Grid, PackedLayer

    return PackedLayer(Grid(bits, group, residual))


@register_scheme(form="state", version=1, aliases={"window": {"sinks": 0}})
def streaming_llm(
    keys: Tensor, *, budget: Budget = 256, sinks: Annotated[int, Field(ge=0)] = 4
) -> Tensor:
    """Keeps the first tokens and the latest ones (StreamingLLM, Xiao et al. 2023).

    Args:
        keys: [b, heads, t, size].
        budget: tokens kept.
        sinks: of them from the beginning; without any it is a sliding window.
    """
    import torch

    if sinks >= budget:
        raise SpecError(f"streaming_llm: {sinks} sinks of a budget of {budget}; expected fewer")
    rows, heads, held, _ = keys.shape
    places = torch.arange(held)
    if held > budget:
        places = torch.cat([places[:sinks], places[held - budget + sinks :]])
    return places.expand(rows, heads, -1)


@register_scheme(form="state", version=1)
def observed_attention(
    keys: Tensor,
    attention: Tensor,
    *,
    budget: Budget = 256,
    recent: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Tensor:
    """Keeps the tokens that received most attention, and the latest (H2O, Zhang et al. 2023).

    Args:
        keys: [b, heads, t, size].
        attention: [b, heads, t] that each token received.
        budget: tokens kept.
        recent: share of the budget that the latest tokens have.
    """
    latest = round(budget * recent)
    scores = attention.clone()
    scores[..., max(keys.shape[2] - latest, 0) :] = float("inf")
    return scores.topk(min(budget, keys.shape[2]), -1).indices


@register_scheme(form="state", version=1)
def keydiff(keys: Tensor, *, budget: Budget = 256) -> Tensor:
    """Keeps the tokens whose keys differ most from the mean key (KeyDiff, Park et al. 2025).

    Args:
        keys: [b, heads, t, size].
        budget: tokens kept.
    """
    from torch.nn.functional import cosine_similarity, normalize

    mean = normalize(keys, dim=-1).mean(2, keepdim=True)
    scores = -cosine_similarity(keys, mean, dim=-1)
    return scores.topk(min(budget, keys.shape[2]), -1).indices
