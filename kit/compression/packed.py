"""Keys and values as whole numbers of few bits, as KIVI groups them (Liu et al. 2024).

Keys differ by channel, so a group is some tokens of one channel; values differ by token, so a group
is some channels of one token. Each group has its smallest number and its step in half precision.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = float(torch.finfo(torch.float16).smallest_normal)
"""Step of a group of equal numbers."""


class Grid(NamedTuple):
    """How numbers are rounded.

    Attributes:
        bits: a number, 2, 4 or 8.
        group: tokens of a channel's keys that share a step, and at most so many channels of a
            token's values.
        residual: latest tokens at least that stay as they are; up to a group less one more do.
    """

    bits: int
    group: int
    residual: int

    def rounds(self, tokens: int) -> int:
        """Returns how many of the first tokens are rounded: whole groups."""
        return max(0, (tokens - self.residual) // self.group * self.group)

    def encode(self, numbers: Tensor, *, keys: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Returns whole numbers, steps and smallest numbers of whole groups of tokens.

        Args:
            numbers: [b, heads, tokens, size].
            keys: whether they are grouped as keys are.

        Returns:
            uint8 [b, heads, groups, group, size] and two of half precision, which `decode` takes.
        """
        blocks = self._blocks(numbers, keys=keys).float()
        axis = 3 if keys else 5
        low, high = blocks.amin(axis, keepdim=True), blocks.amax(axis, keepdim=True)
        top = 2**self.bits - 1
        least, step = low.half(), ((high - low) / top).clamp(min=SMALLEST).half()
        codes = ((blocks - least.float()) / step.float()).round_().clamp_(0, top)
        shape = (*codes.shape[:4], -1)
        return codes.to(torch.uint8).reshape(shape), step, least

    def _blocks(self, numbers: Tensor, *, keys: bool) -> Tensor:
        """Returns a view [b, heads, groups, group, size], of values [..., groups, size]."""
        rows, heads, _, size = numbers.shape
        channels = math.gcd(size, self.group)
        grouped = (size,) if keys else (size // channels, channels)
        return numbers.view(rows, heads, -1, self.group, *grouped)

    def decode(self, into: Tensor, step: Tensor, least: Tensor, *, keys: bool) -> None:
        """Turns whole numbers into what they stand for, in place.

        Args:
            into: [b, heads, tokens, size].
            step: of `encode`.
            least: of `encode`.
            keys: whether they are grouped as keys are.
        """
        blocks = self._blocks(into, keys=keys)
        blocks.mul_(step.to(into.dtype)).add_(least.to(into.dtype))

    def pack(self, codes: Tensor) -> Tensor:
        """Returns whole numbers [b, heads, groups, group, size], several in each byte.

        A byte holds tokens that lie far from each other in their group, so that each lot is
        unpacked as one block.
        """
        parts = codes.chunk(8 // self.bits, 3)
        packed = parts[0].clone()
        for place, part in enumerate(parts[1:], 1):
            packed |= part << (self.bits * place)
        return packed

    def unpack(self, packed: Tensor, into: Tensor) -> None:
        """Writes the whole numbers of packed ones to [b, heads, tokens, size]."""
        blocks = self._blocks(into, keys=True)
        last = 8 // self.bits - 1
        for place, part in enumerate(blocks.chunk(last + 1, 3)):
            codes = packed >> (self.bits * place) if place else packed
            part.copy_(codes & (2**self.bits - 1) if place < last else codes)

    def rounded(self, numbers: Tensor, *, keys: bool) -> Tensor:
        """Returns numbers [b, heads, tokens, size] as they are read back: the first ones rounded.

        Args:
            numbers: as they came.
            keys: whether they are grouped as keys are.
        """
        count, read = self.rounds(numbers.shape[2]), numbers.clone()
        if count:
            codes, step, least = self.encode(numbers[:, :, :count], keys=keys)
            read[:, :, :count] = codes.flatten(2, 3).to(numbers.dtype)
            self.decode(read[:, :, :count], step, least, keys=keys)
        return read


class PackedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer of a cache that packs what is older than its latest tokens.

    What a call adds is attended to exactly; it is rounded once, when it is packed.

    Attributes:
        keys: of the latest tokens, as they came [b, heads, t, size]; `values` too.
        packed: bytes, steps and smallest numbers of those before, groups on the third axis.
        cumulative_length: tokens seen.
    """

    is_croppable = False
    keys: Tensor
    values: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.grid = grid
        self.packed: dict[str, Tensor] = {}
        self.cumulative_length = 0

    @property
    def touched(self) -> bool:
        """Whether anything is rounded yet."""
        return bool(self.packed)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds keys and values [b, heads, t, size]; returns those of all tokens.

        Args:
            key_states: of the call's tokens.
            value_states: of the call's tokens.
            *args: not used.
            **kwargs: not used.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        packed = self.cumulative_length - self.keys.shape[2]
        self.cumulative_length += key_states.shape[2]
        count = self.grid.rounds(self.cumulative_length) - packed
        found = []
        for name, new in (("keys", key_states), ("values", value_states)):
            read = self._read(name, packed, new)
            latest = read[:, :, packed:]
            if count > 0:
                self._pack(name, latest[:, :, :count])
            setattr(self, name, latest[:, :, max(count, 0) :].clone())  # else all of it stays alive
            found.append(read)
        return found[0], found[1]

    def _read(self, name: str, packed: int, new: Tensor) -> Tensor:
        """Returns all tokens' keys or values, and room filled with the new ones."""
        latest: Tensor = getattr(self, name)
        rows, heads, _, size = new.shape
        read = new.new_empty(rows, heads, packed + latest.shape[2] + new.shape[2], size)
        if packed:
            old = read[:, :, :packed]
            self.grid.unpack(self.packed[f"{name} codes"], old)
            step, least = self.packed[f"{name} step"], self.packed[f"{name} least"]
            self.grid.decode(old, step, least, keys=name == "keys")
        torch.cat([latest, new], 2, out=read[:, :, packed:])
        return read

    def _pack(self, name: str, numbers: Tensor) -> None:
        codes, step, least = self.grid.encode(numbers, keys=name == "keys")
        parts = {"codes": self.grid.pack(codes), "step": step, "least": least}
        for part, tensor in parts.items():
            key = f"{name} {part}"
            before = [self.packed[key]] if key in self.packed else []
            self.packed[key] = torch.cat([*before, tensor], 2)

    def get_seq_length(self) -> int:
        """Returns how many tokens it has seen."""
        return self.cumulative_length
