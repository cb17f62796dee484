"""What attention each token of a cache receives, read while a model computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 256
"""Queries whose attention is computed at once, for its memory."""


class Watched(TorchFunctionMode):
    """While it lasts, layers are told what attention their tokens receive.

    Args:
        layers: which.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self._layers: Sequence[Any] = layers
        self.layer: Any = None

    def __enter__(self) -> Any:
        """Has each layer say when it is its turn."""
        for layer in self._layers:
            layer.watched = self
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        """Lets them go."""
        for layer in self._layers:
            layer.watched = None
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what was called, attention after a layer's turn by `attend`."""
        del types
        given = dict(kwargs or {})
        if func is not scaled_dot_product_attention or self.layer is None:
            return func(*args, **given)
        layer, self.layer = self.layer, None
        found, received = attend(*args, **given)
        layer.observe(received)
        return found


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns what torch's `scaled_dot_product_attention` does, and what each key received.

    Args:
        query: [b, heads, t, size].
        key: [b, heads or fewer, all, size].
        value: as the keys.
        attn_mask: of booleans, True for what is seen, or added.
        dropout_p: not used: nothing is trained.
        is_causal: whether a query sees the keys up to its own place.
        scale: of the products; by default one over the root of the size.
        enable_gqa: query heads share keys.

    Returns:
        [b, heads, t, size] and [b, heads, all], summed over queries.
    """
    del dropout_p
    if enable_gqa:
        share = query.shape[1] // key.shape[1]
        key, value = (each.repeat_interleave(share, 1) for each in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    t, every = query.shape[-2], key.shape[-2]
    if is_causal:
        attn_mask = torch.ones(t, every, dtype=torch.bool).tril()
    found, received = [], query.new_zeros(*query.shape[:2], every, dtype=torch.float32)
    for start in range(0, t, ROWS):
        rows = slice(start, start + ROWS)
        scores = (query[..., rows, :] @ key.mT) * scale
        if attn_mask is not None:
            seen = attn_mask if attn_mask.shape[-2] == 1 else attn_mask[..., rows, :]
            boolean = seen.dtype == torch.bool
            scores = scores.masked_fill(~seen, -torch.inf) if boolean else scores + seen
        weights = scores.float().softmax(-1)
        received += weights.sum(-2)
        found.append(weights.to(value.dtype) @ value)
    return torch.cat(found, -2), received
