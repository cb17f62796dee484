"""Decoding by a compiled step: what one new token needs, and nothing else.

Keys and values lie in buffers with room for tokens to come, so that a step writes one place instead
of copying all. A product of one row with a matrix is a sum over each of its rows, which a compiler
turns into one pass at the speed of memory; the library's product of matrices is half as quick.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from kit.architectures.outputs import logits
from kit.architectures.states import cache_layers
from kit.runtimes.decoding import CropSession
from kit.runtimes.failures import cause
from kit.spec.checking import Undefined

if TYPE_CHECKING:
    from torch import Tensor

    from kit.runtimes.session import Inputs

BLOCK = 256
"""Tokens by which buffers grow."""
ONE_TOKEN = "kit_one_token"


@dataclass
class Buffers:
    """The state of texts of one length.

    Attributes:
        length: tokens that count; what lies behind them is room.
        held: of each layer keys and values, [b, heads, room, size].
    """

    length: int
    held: list[tuple[Tensor, Tensor]]

    def upto(self, length: int) -> list[tuple[Tensor, Tensor]]:
        """Returns views of the first tokens of every layer."""
        return [(keys[:, :, :length], values[:, :, :length]) for keys, values in self.held]


class StepSession:
    """Decodes one token by a compiled step; prompts are read by PyTorch as it comes.

    Its first step, and the first of several texts at once, takes long: each is compiled.

    Args:
        model: whose layers all are attention that keeps every token.
        forward: what goes forward.
    """

    def __init__(self, model: nn.Module, forward: Callable[[Inputs], Tensor]) -> None:
        self.forward = forward
        self._plain, self._layers = CropSession(model), cache_layers(model)
        self._module = for_one_row(model)
        self._step = torch.compile(_step)

    def prefill(self, ids: Tensor) -> tuple[Tensor, Buffers]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        found, cache = self._plain.prefill(ids)
        held = [(layer.keys, layer.values) for layer in cache.layers]
        return found, _with_room(held, ids.shape[1])

    def step(self, state: Buffers, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        before, state.length = state.length, state.length + ids.shape[1]
        if state.length > state.held[0][0].shape[2]:
            state.held = _with_room(state.upto(before), state.length).held
        views = state.upto(state.length)
        if ids.shape[1] > 1:
            return self._several(state.upto(before), views, ids)
        for tensor in (ids, *(each for layer in views for each in layer)):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
            if tensor.ndim > 2:
                torch._dynamo.maybe_mark_dynamic(tensor, 2)
        with torch.no_grad():
            try:
                return self._step(self._module, ids, torch.tensor([[before]]), views)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise Undefined(f"torch.compile cannot take a step: {cause(error)}") from error

    def _several(
        self, before: list[tuple[Tensor, Tensor]], views: list[tuple[Tensor, Tensor]], ids: Tensor
    ) -> Tensor:
        """Computes several tokens at once, as PyTorch does, and writes what they leave."""
        cache: Any = DynamicCache(before, config=self._plain.model.config)
        found = self._plain.step(cache, ids)
        for (keys, values), layer in zip(views, cache.layers, strict=True):
            fresh = slice(-ids.shape[1], None)
            keys[:, :, fresh] = layer.keys[:, :, fresh]
            values[:, :, fresh] = layer.values[:, :, fresh]
        return found

    def fork(self, state: Buffers, n: int) -> Buffers:
        """Returns a new state with every row n times."""
        held = [
            (keys.repeat_interleave(n, 0), values.repeat_interleave(n, 0))
            for keys, values in state.upto(state.length)
        ]
        return _with_room(held, state.length)

    def crop(self, state: Buffers, n: int) -> None:
        """Forgets the last n tokens of every row."""
        state.length -= n

    def bytes(self, state: Buffers) -> int:
        """Returns what a state takes in memory, its room included."""
        return sum(each.nbytes for layer in state.held for each in layer)

    def state_bytes(self, context: int) -> int:
        """Returns the bytes of one text's state by formula: whole blocks, and room for a token."""
        return sum(layer.bytes(_room(context)) for layer in self._layers)


def for_one_row(model: nn.Module) -> nn.Module:
    """Returns a model of the same weights whose layers are quick to compile for one token."""
    shared: dict[int, Any] = {id(each): each for each in (*model.parameters(), *model.buffers())}
    made: Any = copy.deepcopy(model, shared)
    for part in made.modules():
        if type(part) is nn.Linear:
            part.__class__ = RowLinear
    if made.config._attn_implementation == "sdpa":
        AttentionInterface.register(ONE_TOKEN, _attention)
        made.config._attn_implementation = ONE_TOKEN
    module: nn.Module = made
    return module


class RowLinear(nn.Linear):
    """A linear layer that reads its matrix once, row by row, where it is given one vector."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Returns [..., out] of [..., in]."""
        if input.shape[:-1].numel() > 1:
            return super().forward(input)
        found = (self.weight * input.reshape(1, -1)).sum(-1)
        found = found if self.bias is None else found + self.bias
        return found.reshape(*input.shape[:-1], -1)


class Place(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer of a cache whose last place is free for the new token."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes the token; returns keys and values of all."""
        del args, kwargs
        place = torch.full((1,), self.keys.shape[2] - 1, dtype=torch.long)
        self.keys.index_copy_(2, place, key_states)
        self.values.index_copy_(2, place, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Returns the tokens before the new one."""
        return int(self.keys.shape[2]) - 1


def _step(
    module: nn.Module, ids: Tensor, place: Tensor, held: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Returns the logits [b, 1, v] after one token each, which is written to the last place."""
    cache = Cache(layers=[Place(keys, values) for keys, values in held])
    given = {"input_ids": ids, "position_ids": place, "past_key_values": cache, "use_cache": True}
    return logits(module(**given))


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one new token, which sees all: each group of heads reads its keys as they lie.

    Args:
        module: not needed, as the mask.
        query: [b, heads, 1, size].
        key: [b, key-value heads, t, size].
        value: [b, key-value heads, t, size].
        attention_mask: closes nothing.
        scaling: of the products; 1 / sqrt(size) where not given.
        **kwargs: not needed.

    Returns:
        [b, 1, heads, size], and no weights.
    """
    del module, attention_mask, kwargs
    batch, heads, _, size = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, 1, size)
    scores = (grouped * key[:, :, None]).sum(-1) * (size**-0.5 if scaling is None else scaling)
    weights = torch.softmax(scores.float(), -1).to(value.dtype)
    found = (weights[..., None] * value[:, :, None]).sum(-2)
    return found.reshape(batch, 1, heads, -1), None


def _room(length: int) -> int:
    """Returns the tokens of a buffer that holds so many and one more."""
    return -(-(length + 1) // BLOCK) * BLOCK


def _with_room(held: list[tuple[Tensor, Tensor]], length: int) -> Buffers:
    """Returns buffers that begin with what is held, with room for a token after `length`."""

    def larger(each: Tensor) -> Tensor:
        made = each.new_zeros(*each.shape[:2], _room(length), each.shape[3])
        made[:, :, : each.shape[2]] = each
        return made

    with torch.no_grad():
        return Buffers(length, [(larger(keys), larger(values)) for keys, values in held])
