"""Decoding by llama.cpp: a context a state, and in it a sequence a row."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.runtimes.llama_cpp_calls import Batch, Loaded, library, said
from kit.runtimes.session import Inputs
from kit.spec.checking import SpecError, Undefined

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 512
"""Tokens of a call: llama.cpp's own choice."""
BLOCK = 256
"""Cells by which contexts grow, as llama.cpp has it."""


class Context:
    """Cells that the sequences of a model share, freed when nothing holds this object any more.

    Args:
        loaded: the model, which is not freed before.
        settings: `llama_context_params`.

    Raises:
        SpecError: llama.cpp makes no such context.
    """

    def __init__(self, loaded: Loaded, settings: Any) -> None:
        self.pointer = library().llama_init_from_model(loaded.pointer, settings)
        if not self.pointer:
            raise SpecError(f"llama.cpp makes no context of this model: {said()}")
        self.memory = library().llama_get_memory(self.pointer)
        self.room = int(library().llama_n_ctx(self.pointer))
        weakref.finalize(self, _free, self.pointer, loaded)


def _free(pointer: Any, loaded: Loaded) -> None:
    del loaded
    library().llama_free(pointer)


@dataclass
class Cells:
    """What decoding keeps of the tokens so far.

    Attributes:
        context: has a sequence for each row.
        lengths: tokens of each row, [b].
    """

    context: Context
    lengths: np.ndarray


class LlamaSession:
    """Decodes by llama.cpp, whatever the model keeps.

    A token takes a cell of its own in each layer, sliding ones too: all can be taken back.

    Args:
        loaded: the model.
        threads: of a call.
        kv_cache: what keys and values are held in, by the name of a type of ggml.
    """

    def __init__(self, loaded: Loaded, threads: int, kv_cache: str) -> None:
        self._loaded, self._threads, self._kind = loaded, threads, kv_cache
        self._batch = Batch(AT_ONCE)
        self._alone: Cells | None = None

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns the logits [b, t, v] of a batch that is padded on the right, row by row."""
        import torch

        ids = inputs["input_ids"]
        length = ids.shape[1]
        if self._alone is None or self._alone.context.room < length:
            self._alone = self._start(1, length)
        found = []
        for row in (ids[k : k + 1] for k in range(len(ids))):
            library().llama_memory_clear(self._alone.context.memory, False)
            self._alone.lengths[:] = 0
            found.append(self._step(self._alone, row, length))
        return torch.cat(found)

    def prefill(self, ids: Tensor) -> tuple[Tensor, Cells]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state = self._start(len(ids), _room(ids.numel()))
        return self._step(state, ids, 1)[:, -1], state

    def step(self, state: Cells, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        return self._step(state, ids, ids.shape[1])

    def fork(self, state: Cells, n: int) -> Cells:
        """Returns a new state with every row n times."""
        return self.merge([(state, [row for row in range(len(state.lengths)) for _ in range(n)])])

    def merge(self, parts: Sequence[tuple[Cells, Sequence[int]]]) -> Cells:
        """Returns a new state of some rows of several, whatever their lengths."""
        lengths = np.concatenate([state.lengths[[*rows]] for state, rows in parts])
        made = self._start(len(lengths), _room(int(lengths.sum())))
        made.lengths = lengths
        places = iter(range(len(lengths)))
        for state, rows in parts:
            _copy(state.context, rows, made.context, places)
        return made

    def bytes(self, state: Cells) -> int:
        """Returns what the cells of the tokens held take; room for the next ones is left out."""
        sizes = library().llama_state_seq_get_size
        return sum(int(sizes(state.context.pointer, row)) for row in range(len(state.lengths)))

    def _start(self, rows: int, cells: int) -> Cells:
        calls = library()
        if rows > (most := int(calls.llama_max_parallel_sequences())):
            raise Undefined(f"a batch of {rows:,} on llama.cpp; expected at most {most}")
        settings = calls.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = -(-cells // BLOCK) * BLOCK, rows
        settings.n_batch = settings.n_ubatch = AT_ONCE
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.type_k = settings.type_v = self._loaded.kind(self._kind)
        settings.flash_attn_type = int(self._kind != "f32")  # it would round fp32 to fp16
        settings.kv_unified = settings.swa_full = settings.no_perf = True
        context = Context(self._loaded, settings)
        return Cells(context, np.zeros(rows, np.int64))

    def _step(self, state: Cells, ids: Tensor, kept: int) -> Tensor:
        """Runs the model on the next ids; returns the logits of the last `kept` of them."""
        import torch

        rows, fresh = ids.shape
        total, window = int(state.lengths.max()) + fresh, self._loaded.window
        if total > window:
            raise SpecError(
                f"a text of {total:,} tokens; expected at most {window:,}, the model's window"
            )
        self._make_room(state, ids.numel())
        given = {
            "token": ids.numpy().reshape(-1),
            "pos": (state.lengths[:, None] + np.arange(fresh)).reshape(-1),
            "row": np.arange(rows).repeat(fresh),
            "logits": np.tile(np.arange(fresh) >= fresh - kept, rows),
        }
        logits = np.empty((rows * kept, self._loaded.vocabulary), np.float32)
        done = 0
        for start in range(0, rows * fresh, AT_ONCE):
            part = {name: each[start : start + AT_ONCE] for name, each in given.items()}
            found = self._batch.run(state.context.pointer, part, logits.shape[1])
            logits[done : done + len(found)] = found
            done += len(found)
        state.lengths = state.lengths + fresh
        return torch.from_numpy(logits).view(rows, kept, -1)

    def _make_room(self, state: Cells, fresh: int) -> None:
        """Moves a state into a larger context where so many more tokens do not fit."""
        total = int(state.lengths.sum()) + fresh
        if total > state.context.room:
            rows = range(len(state.lengths))
            grown = self._start(len(rows), _room(total))
            _copy(state.context, rows, grown.context, iter(rows))
            state.context = grown.context


class CropSession(LlamaSession):
    """Decodes a model all of whose layers are attention: its state can forget."""

    def crop(self, state: Cells, n: int) -> None:
        """Forgets the last n tokens of every row."""
        state.lengths = (state.lengths - n).clip(min=0)
        for row, length in enumerate(state.lengths):
            library().llama_memory_seq_rm(state.context.memory, row, int(length), -1)

    def state_bytes(self, context: int) -> int:
        """Returns the bytes of one text's keys and values at a context, by formula."""
        return context * int(self._loaded.token_bytes(self._kind))


def _copy(old: Context, rows: Sequence[int], new: Context, places: Iterator[int]) -> None:
    """Copies rows of one context to places of another."""
    calls, copies = library(), {}
    for row in {*rows}:
        size = calls.llama_state_seq_get_size(old.pointer, row)
        copies[row] = (ctypes.c_uint8 * size)()
        calls.llama_state_seq_get_data(old.pointer, copies[row], size, row)
    for row, place in zip(rows, places, strict=False):  # the places of other parts come after
        held = copies[row]
        if not calls.llama_state_seq_set_data(new.pointer, held, len(held), place):
            raise RuntimeError(f"llama.cpp does not copy a sequence of its own: {said()}")


def _room(tokens: int) -> int:
    """Returns the cells of a context that is to hold so many tokens: an eighth more."""
    return tokens + tokens // 8 + 1
