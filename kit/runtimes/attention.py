"""Attention of many short branches in one row, without what a mask closes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 96
"""Tokens that look together; with fewer each call costs more than it saves."""


class Narrow(TorchFunctionMode):
    """While it lasts, attention computes only with the keys that some of its queries look at.

    torch's attention takes every query with every key and then closes what the mask closes. In a
    row of many branches that is nearly everything: a branch sees itself and what all share. Here
    queries go some at a time, each time with the keys that any of them may look at.

    Args:
        allowed: bool [t, past + t], which keys each of the row's tokens may look at; a mask that
            closes more, as that of a sliding window, closes it still.
    """

    def __init__(self, allowed: Tensor) -> None:
        super().__init__()
        self._shape = allowed.shape
        self._looks = [_place(rows.any(0).nonzero()[:, 0]) for rows in torch.split(allowed, ROWS)]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what was called, attention over this row's mask piece by piece."""
        del types
        given = dict(kwargs or {})
        mask = given.get("attn_mask")
        if func is not scaled_dot_product_attention or mask is None or len(args) != 3:
            return func(*args, **given)
        query, key, value = args
        if (query.shape[-2], key.shape[-2]) != self._shape or mask.shape[-2:] != self._shape:
            return func(*args, **given)
        found = []
        for k, place in enumerate(self._looks):
            rows = slice(k * ROWS, (k + 1) * ROWS)
            given["attn_mask"] = mask[..., rows, :][..., place]
            found.append(
                func(query[..., rows, :], key[..., place, :], value[..., place, :], **given)
            )
        return torch.cat(found, -2)


def _place(columns: Tensor) -> slice | Tensor:
    """Returns columns as a slice, which copies nothing, where they lie side by side."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first == len(columns) - 1 else columns
