"""Decoding by a graph of ONNX Runtime, whose cache of keys and values it writes in place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.runtimes.session import Inputs
from kit.spec.checking import SpecError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

KEPT = "logits_to_keep"
"""The graph's input that says of how many last tokens logits are wanted; as in transformers."""
PAST = "past_key_values."
INPUTS = ("input_ids", "attention_mask", "position_ids", KEPT)
"""What a graph takes beside its layers' past keys and values."""
WINDOW = "window"
"""Where a graph's metadata says at how many tokens its positions end."""
BLOCK = 64
"""Tokens by which buffers grow at least."""


@dataclass
class Buffers:
    """What decoding keeps of the tokens so far.

    Attributes:
        held: keys and values of each layer, [b, heads, room, size], rows beginning at their left.
        lengths: tokens of each row, [b].
        binding: the graph's inputs and outputs that lie in them; None where they are new.
    """

    held: list[Tensor]
    lengths: Tensor
    binding: Any = None


class DecoderSession:
    """Decodes by a graph of `kit.runtimes.onnx_decoder`.

    Past and present of a layer are one buffer, so that a step writes its own tokens alone. Rows
    begin at the buffer's left, whatever their lengths: the mask tells the graph how long each is.

    Args:
        graph: an `onnxruntime.InferenceSession`.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        shapes = {each.name: each.shape for each in graph.get_inputs()}
        self._placed = "position_ids" in shapes
        self._window = int(graph.get_modelmeta().custom_metadata_map.get(WINDOW, sys.maxsize))
        self._layers = {n: shape for n, shape in shapes.items() if n.startswith(PAST)}
        outputs = {each.name: each.shape for each in graph.get_outputs()}
        self._vocabulary = int(outputs["logits"][-1])

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns the logits [b, t, v] of a batch that is padded on the right."""
        ids = inputs["input_ids"]
        return self._step(self._start(*ids.shape), ids, ids.shape[1])

    def prefill(self, ids: Tensor) -> tuple[Tensor, Buffers]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state = self._start(len(ids), _room(ids.shape[1]))
        return self._step(state, ids, 1)[:, -1], state

    def step(self, state: Buffers, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        if len(ids) == 1 or ids.shape[1] == 1 or not state.lengths.any():
            return self._step(state, ids, ids.shape[1])
        return self._row_by_row(state, ids)

    def _row_by_row(self, state: Buffers, ids: Tensor) -> Tensor:
        """Steps with several tokens of several rows, which the graph's attention does not take."""
        import torch

        self._make_room(state, int(state.lengths.max()) + ids.shape[1])
        found = []
        for k in range(len(ids)):
            row = slice(k, k + 1)
            own = Buffers([each[row] for each in state.held], state.lengths[row])
            found.append(self._step(own, ids[row], ids.shape[1]))
        state.lengths = state.lengths + ids.shape[1]
        return torch.cat(found)

    def fork(self, state: Buffers, n: int) -> Buffers:
        """Returns a new state with every row n times."""
        return self.merge([(state, [row for row in range(len(state.lengths)) for _ in range(n)])])

    def merge(self, parts: Sequence[tuple[Buffers, Sequence[int]]]) -> Buffers:
        """Returns a new state of some rows of several, whatever their lengths."""
        import torch

        lengths = torch.cat([state.lengths[[*rows]] for state, rows in parts])
        longest = int(lengths.max())
        made = self._start(len(lengths), _room(longest))
        for k, whole in enumerate(made.held):
            first = 0
            for state, rows in parts:
                old = state.held[k][[*rows], :, :longest]
                whole[first : first + len(rows), :, : old.shape[2]] = old
                first += len(rows)
        made.lengths = lengths
        return made

    def crop(self, state: Buffers, n: int) -> None:
        """Forgets the last n tokens of every row."""
        state.lengths = (state.lengths - n).clamp(min=0)

    def bytes(self, state: Buffers) -> int:
        """Returns what a state takes in memory, room for the next tokens included."""
        return sum(each.nbytes for each in state.held)

    def state_bytes(self, context: int) -> int:
        """Returns the bytes of one text's state by formula: whole blocks of room."""
        sizes = (heads * size for _, heads, _, size in self._layers.values())
        return 4 * _room(context) * sum(map(int, sizes))

    def _start(self, rows: int, room: int) -> Buffers:
        import torch

        held = [torch.zeros(rows, heads, room, size) for _, heads, _, size in self._layers.values()]
        return Buffers(held, torch.zeros(rows, dtype=torch.int64))

    def _step(self, state: Buffers, ids: Tensor, kept: int) -> Tensor:
        """Runs the graph on the next ids; returns the logits of the last `kept` of them."""
        import torch

        rows, fresh = ids.shape
        ends = state.lengths + fresh
        total = int(ends.max())
        if total > self._window:
            raise SpecError(
                f"a text of {total:,} tokens; expected at most {self._window:,}, the model's window"
            )
        self._make_room(state, total)
        given = {"input_ids": ids.contiguous(), KEPT: torch.tensor([kept])}
        given["attention_mask"] = (torch.arange(total) < ends[:, None]).long()
        if self._placed:
            given["position_ids"] = state.lengths[:, None] + torch.arange(fresh)
        logits = torch.empty(rows, kept, self._vocabulary)
        binding = state.binding or self._bound(state)
        for name, tensor in given.items():
            _bind(binding.bind_input, name, tensor)
        _bind(binding.bind_output, "logits", logits)
        self._graph.run_with_iobinding(binding)
        state.lengths = ends
        return logits

    def _make_room(self, state: Buffers, total: int) -> None:
        """Moves a state into larger buffers where so many tokens do not fit."""
        if total <= state.held[0].shape[2]:
            return
        grown = self._start(len(state.lengths), _room(total))
        for whole, old in zip(grown.held, state.held, strict=True):
            whole[:, :, : old.shape[2]] = old
        state.held, state.binding = grown.held, None

    def _bound(self, state: Buffers) -> Any:
        """Returns a binding in which each layer's past and present are its buffer."""
        state.binding = self._graph.io_binding()
        for name, tensor in zip(self._layers, state.held, strict=True):
            _bind(state.binding.bind_input, name, tensor)
            present = name.replace(PAST, "present.")
            _bind(state.binding.bind_output, present, tensor)
        return state.binding


def _room(tokens: int) -> int:
    """Returns the tokens of a buffer that holds so many: an eighth more, in whole blocks."""
    return -(-(tokens + tokens // 8 + 1) // BLOCK) * BLOCK


def _bind(bind: Any, name: str, tensor: Tensor) -> None:
    bind(name, "cpu", 0, _numbers(tensor), [*tensor.shape], tensor.data_ptr())


def _numbers(tensor: Tensor) -> type[np.generic]:
    import numpy as np

    return np.float32 if tensor.is_floating_point() else np.int64
