"""Simulated weight rounding: what a number of bits costs in quality, computed in fp32."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kit.architectures.matrices import matrices
from kit.compression.grid import on_grid
from kit.compression.stored import Compressed
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from torch import Tensor, nn

ALIASES = {f"w{bits}": {"bits": bits} for bits in (8, 4, 3, 2)}
GROUPED = {f"w4g{group}": {"bits": 4, "group": group} for group in (32, 64, 128)}


def map_linear_weights(
    model: nn.Module,
    function: Callable[[Tensor], Tensor],
    *,
    bits: float | Callable[[Tensor], float] | None = None,
) -> Compressed:
    """Returns a copy of a model with the weights of every matrix replaced, and what they take.

    Matrices are those of linear layers and of whatever multiplies as they do (see
    `kit.architectures.matrices`): convolutions, linear in each patch, are [out, in * h * w], and
    each expert of a mixture is a matrix of its own. Embeddings, norms and biases stay; so does an
    output layer that shares an embedding's weight, since rounding it would round the embedding
    too. A matrix whose layout is not known is left as it is: the memory of the variant names it
    and counts its true bits.

    Args:
        model: any module; it is left as it is.
        function: weight [out, in] -> weight of the same shape.
        bits: bits a weight takes when stored this way, scales included, or a function of the
            weight that says so. None: as its dtype.

    Raises:
        ValueError: `function` changed the shape.
    """
    copied = copy.deepcopy(model)
    stored: dict[str, float | None] = {}
    for matrix in [found for found in matrices(copied) if found.layout]:
        matrix.apply(function)
        stored[matrix.name] = fmean(map(bits, matrix.values())) if callable(bits) else bits
    return Compressed(copied, stored)


@register_scheme(form="module", simulated=True, version=1, aliases={**ALIASES, **GROUPED})
def round(  # noqa: A001 (the literature's word; only ever reached through the registry)
    model: nn.Module,
    *,
    bits: Annotated[int, Field(ge=2, le=8)] = 4,
    group: Annotated[int, Field(ge=8)] | None = None,
) -> Compressed:
    """Rounds linear weights to the nearest of 2^bits - 1 symmetric levels (absmax scaling).

    Args:
        model: module in; a rounded copy out, computing in its own dtype.
        bits: bits a weight.
        group: inputs that share a scale; None is one scale an output channel.
    """

    def rounded(weight: Tensor) -> Tensor:
        rows, columns = weight.shape
        size = group or columns
        padding = -columns % size
        blocks = _padded(weight, padding).reshape(rows, -1, size)
        levels = 2 ** (bits - 1) - 1
        scale = blocks.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / levels
        values: Tensor = (blocks / scale).round() * scale
        return values.reshape(rows, -1)[:, :columns]

    made = map_linear_weights(
        model, rounded, bits=lambda weight: bits + 16 / (group or weight.shape[1])
    )
    return dataclasses.replace(made, notes=on_grid(model, bits))


def _padded(weight: Tensor, padding: int) -> Tensor:
    import torch

    return torch.nn.functional.pad(weight, (0, padding)) if padding else weight
