"""A layer of a cache that holds what a scheme on the state leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from kit.spec.checking import SpecError, Undefined

if TYPE_CHECKING:
    from torch import Tensor

    from kit.runtimes.keeping import Keeping

HELD = ("keys", "values", "attention", "positions")
"""What a layer may hold of each token."""


class KeptLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Holds keys and values of tokens, and what a scheme lets be read of them.

    Attributes:
        cumulative_length: tokens seen: positions go on counting those that were forgotten.
        read: keys and values that are read in place of those held; empty where these are.
        attention: [b, heads, t], where the scheme asks for it.
        positions: [b, heads, t], where the scheme asks for them.
        touched: whether the scheme changed or forgot anything yet.
    """

    is_croppable = False
    keys: Tensor
    values: Tensor

    def __init__(self, kept: Keeping) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = kept
        self.cumulative_length = 0
        self.read: dict[str, Tensor] = {}
        self.attention: Tensor | None = None
        self.positions: Tensor | None = None
        self.touched = False
        self.watched: Any = None
        self.observed = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds keys and values [b, heads, t, size]; returns those that are read, these at the end.

        Args:
            key_states: of the call's tokens.
            value_states: of the call's tokens.
            *args: not used.
            **kwargs: not used.
        """
        read = dict(self.read)
        keys, values = super().update(key_states, value_states)
        if read:
            keys = torch.cat([read["keys"], key_states], -2)
            values = torch.cat([read["values"], value_states], -2)
        new, (rows, heads, t, _) = key_states.shape[-2], self.keys.shape
        if "attention" in self.kept.asks:
            before = self.keys.new_zeros(rows, heads, 0, dtype=torch.float32)
            before = before if self.attention is None else self.attention
            self.attention = pad(before, (0, t - before.shape[-1]))
        if "positions" in self.kept.asks:
            places = torch.arange(self.cumulative_length, self.cumulative_length + new)
            fresh = places.expand(rows, heads, new)
            old = [] if self.positions is None else [self.positions]
            self.positions = torch.cat([*old, fresh], -1)
        self.cumulative_length += new
        if self.watched is not None:
            self.watched.layer = self
        return keys, values

    def get_seq_length(self) -> int:
        """Returns how many tokens it has seen."""
        return self.cumulative_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns how many tokens are looked at, and how many before them were forgotten."""
        there = self.keys.shape[-2] if self.is_initialized else 0
        return there + query_length, self.cumulative_length - there

    def observe(self, received: Tensor) -> None:
        """Adds the attention [b, heads, t] of a call's queries, summed over query heads."""
        assert self.attention is not None
        rows, heads, t = self.attention.shape
        grouped = received.view(rows, heads, -1, t)
        self.attention = self.attention + grouped.sum(2)
        self.observed = True

    def settle(self, *, observed: bool = True) -> None:
        """Asks the scheme what stays, after a call.

        Args:
            observed: whether the call's attention has to have been seen.

        Raises:
            Undefined: it was not: the model does not attend by torch's own function.
            SpecError: the scheme gave something else than it may.
        """
        if "attention" in self.kept.asks and observed and not self.observed:
            raise Undefined(
                f"{self.kept.name} reads attention, which this model does not compute by torch's "
                "scaled_dot_product_attention"
            )
        self.observed = False
        found = self.kept.apply(**{name: getattr(self, name) for name in HELD})
        shape = tuple(self.keys.shape)
        if isinstance(found, tuple):
            shapes = [tuple(each.shape) for each in found]
            if shapes != [shape, tuple(self.values.shape)]:
                raise SpecError(f"{self.kept.name} gave shapes {shapes} of keys of shape {shape}")
            self.read = dict(zip(("keys", "values"), found, strict=True))
            self.touched |= not torch.equal(found[0], self.keys)
            return
        if not torch.is_tensor(found) or found.is_floating_point() or found.shape[:2] != shape[:2]:
            what = tuple(found.shape) if torch.is_tensor(found) else type(found).__name__
            raise SpecError(
                f"{self.kept.name} gave {what}; expected (keys, values), or whole numbers of shape "
                f"{shape[:2]} + (n,): the places kept"
            )
        if found.shape[-1] < shape[2]:
            self._forget(found.sort(-1).values)

    def _forget(self, places: Tensor) -> None:
        """Keeps the tokens at some places [b, heads, n] alone."""
        self.touched = True
        for name in HELD:
            tensor = getattr(self, name)
            if tensor is not None:
                index = places if tensor.ndim == 3 else places[..., None]
                index = index.expand(*places.shape, *tensor.shape[3:])
                setattr(self, name, tensor.gather(2, index))
