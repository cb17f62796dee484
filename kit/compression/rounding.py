"""Simulated weight rounding: what a number of bits costs in quality, computed in fp32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kit.registry import register_scheme

if TYPE_CHECKING:
    from torch import Tensor, nn

ALIASES = {f"w{bits}": {"bits": bits} for bits in (8, 4, 3, 2)}
GROUPED = {f"w4g{group}": {"bits": 4, "group": group} for group in (32, 64, 128)}


def map_linear_weights(
    model: nn.Module,
    function: Callable[[Tensor], Tensor],
    *,
    bits: float | Callable[[Tensor], float] | None = None,
) -> nn.Module:
    """Returns a copy of a model with every linear layer's weight replaced.

    A convolution over an image is linear in each patch: its weight counts as [out, in * h * w].
    Embeddings, norms and biases stay; so does an output layer that shares an embedding's weight,
    since rounding it would round the embedding too.

    Args:
        model: any module; it is left as it is.
        function: weight [out, in] -> weight of the same shape.
        bits: bits a weight takes when stored this way, scales included, or a function of the
            weight that says so; noted on the copy for `weight_bytes`. None: as its dtype.

    Raises:
        ValueError: `function` changed the shape.
    """
    import torch

    copied = copy.deepcopy(model)
    embeddings = {
        id(module.weight) for module in copied.modules() if isinstance(module, torch.nn.Embedding)
    }
    stored: dict[str, float] = dict(getattr(model, "stored_bits", {}))
    with torch.no_grad():
        for name, module in copied.named_modules():
            if isinstance(module, linear_layers()) and id(module.weight) not in embeddings:
                given = module.weight.detach().flatten(1)
                weight = function(given)
                if weight.shape != given.shape:
                    raise ValueError(
                        f"{name}: expected a weight of shape {tuple(given.shape)}, "
                        f"got {tuple(weight.shape)}"
                    )
                if bits is not None:
                    stored[f"{name}.weight"] = bits(weight) if callable(bits) else bits
                module.weight.copy_(weight.view_as(module.weight))
    copied.stored_bits = stored  # type: ignore[assignment]
    return copied


def linear_layers() -> tuple[type[nn.Linear], type[nn.Conv2d]]:
    """Returns the classes of layers that are compressed: their weight is a matrix [out, in]."""
    from torch import nn

    return nn.Linear, nn.Conv2d


@register_scheme(stage="torch", simulated=True, version=1, aliases={**ALIASES, **GROUPED})
def round(  # noqa: A001 (the literature's word; only ever reached through the registry)
    model: nn.Module,
    *,
    bits: Annotated[int, Field(ge=2, le=8)] = 4,
    group: Annotated[int, Field(ge=8)] | None = None,
) -> nn.Module:
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

    return map_linear_weights(
        model, rounded, bits=lambda weight: bits + 16 / (group or weight.shape[1])
    )


def _padded(weight: Tensor, padding: int) -> Tensor:
    import torch

    return torch.nn.functional.pad(weight, (0, padding)) if padding else weight
