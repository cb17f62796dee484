"""Decoding by a model of OpenVINO that keeps keys and values as its own state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.runtimes.session import Inputs
from kit.spec.checking import SpecError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

KEPT = "logits_to_keep"
"""The model's input that says of which of its tokens logits are wanted."""
ROWS = "beam_idx"
"""The model's input that says which row of the state each row goes on with."""
WINDOW = ["kit", "window"]
"""Where a model says at how many tokens its positions end."""
BITS = {"f32": 32, "f16": 16, "u8": 8}
SCALES = 64
"""Bits of the scale and zero point of what a head holds of a token, in 8 bits."""


@dataclass
class Held:
    """What decoding keeps of the tokens so far.

    Attributes:
        request: of OpenVINO, which has keys and values of its own.
        filled: tokens by which each row is filled on its left, [b].
        length: tokens that each row holds, filling included.
    """

    request: Any
    filled: Tensor
    length: int = 0


class DecoderSession:
    """Decodes by a model that `kit.runtimes.openvino_decoder` converts.

    Args:
        model: an `openvino.Model`.
        compiled: the same, compiled.
        kv_cache: what keys and values are held in.

    Attributes:
        lossy: whether that is less than they are computed in, which going forward does not see.
    """

    def __init__(self, model: Any, compiled: Any, kv_cache: str) -> None:
        self._compiled = compiled
        self._window = int(model.get_rt_info(WINDOW).astype(str))
        sizes = [each.get_info().data_shape for each in model.get_variables()]
        bits = BITS[kv_cache]
        self.lossy = bits < 32
        scales = SCALES if bits == 8 else 0
        self._token_bits = sum(
            shape[1].get_length() * (shape[3].get_length() * bits + scales) for shape in sizes
        )
        self._free = compiled.create_infer_request()

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns the logits [b, t, v] of a batch that is padded on the right."""
        import torch

        ids = inputs["input_ids"]
        self._free.reset_state()
        state = Held(self._free, torch.zeros(len(ids), dtype=torch.int64))
        found = self._step(state, ids, ids.shape[1])
        self._free.reset_state()
        return found

    def prefill(self, ids: Tensor) -> tuple[Tensor, Held]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state = self._start(len(ids))
        return self._step(state, ids, 1)[:, -1], state

    def step(self, state: Held, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        return self._step(state, ids, ids.shape[1])

    def fork(self, state: Held, n: int) -> Held:
        """Returns a new state with every row n times."""
        rows = range(len(state.filled))
        return self.merge([(state, [row for row in rows for _ in range(n)])])

    def merge(self, parts: Sequence[tuple[Held, Sequence[int]]]) -> Held:
        """Returns a new state of some rows of several; shorter rows are filled on their left.

        What all rows would be filled with is left out.
        """
        import torch

        own = torch.cat([state.length - state.filled[[*rows]] for state, rows in parts])
        longest = int(own.max())
        made = self._start(len(own))
        made.filled, made.length = longest - own, longest
        old = [(_tensors(state.request), rows) for state, rows in parts]
        for name, place in _states(made.request).items():
            place.state = _tensor(_joined([(each[name], rows) for each, rows in old], longest))
        return made

    def crop(self, state: Held, n: int) -> None:
        """Forgets the last n tokens of every row."""
        state.length -= n
        for place in _states(state.request).values():
            place.state = _tensor(place.state.data[:, :, : state.length])

    def bytes(self, state: Held) -> int:
        """Returns what the tokens held take; room that OpenVINO has for the next is not seen."""
        bits: int = self._token_bits
        return bits * len(state.filled) * state.length // 8

    def _start(self, rows: int) -> Held:
        import torch

        return Held(self._compiled.create_infer_request(), torch.zeros(rows, dtype=torch.int64))

    def _step(self, state: Held, ids: Tensor, kept: int) -> Tensor:
        """Runs the model on the next ids; returns the logits of the last `kept` of them."""
        import torch

        rows, fresh = ids.shape
        total = state.length + fresh
        if (longest := total - int(state.filled.min())) > self._window:
            raise SpecError(
                f"a text of {longest:,} tokens; expected at most {self._window:,}, the model's "
                "window"
            )
        places = torch.arange(total)
        own = places[-fresh:] - state.filled[:, None]
        given = {
            "input_ids": ids,
            "attention_mask": (places >= state.filled[:, None]).long(),
            "position_ids": own.clamp(min=0),
            KEPT: torch.arange(fresh - kept, fresh),
            ROWS: torch.arange(rows, dtype=torch.int32),
        }
        found = state.request.infer({name: tensor.numpy() for name, tensor in given.items()})
        state.length = total
        return torch.from_numpy(found["logits"].copy())  # the next call writes over it


def _states(request: Any) -> dict[str, Any]:
    return {each.name: each for each in request.query_state()}


def _tensors(request: Any) -> dict[str, np.ndarray]:
    return {name: each.state.data for name, each in _states(request).items()}


def _tensor(values: np.ndarray) -> Any:
    import numpy as np
    from openvino import Tensor

    return Tensor(np.ascontiguousarray(values))


def _joined(parts: Sequence[tuple[np.ndarray, Sequence[int]]], longest: int) -> np.ndarray:
    """Returns the last tokens of some rows of [b, heads, t, size], filled on the left."""
    import numpy as np

    found = []
    for values, rows in parts:
        kept = values[[*rows]][:, :, -longest:]
        short = longest - kept.shape[2]
        found.append(np.pad(kept, ((0, 0), (0, 0), (short, 0), (0, 0))))
    return np.concatenate(found)
