"""What an architecture has to beat: an LSTM, and n-grams that are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class LSTM(nn.Module):
    """Embedding, stacked LSTM layers of one width, normalization, output matrix.

    Args:
        vocab_size: number of ids.
        width: of the embedding and of every layer's state.
        depth: number of layers.
    """

    def __init__(self, vocab_size: int, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.LSTM(width, width, num_layers=depth, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocab_size, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Returns logits [b, t, v] of ids [b, t]."""
        return self.decode(input_ids)[0]

    def decode(
        self, input_ids: Tensor, state: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns logits [b, t, v] of the next ids [b, t], and the state, [b, layers, w] twice."""
        held = None if state is None else tuple(s.transpose(0, 1).contiguous() for s in state)
        states, held = self.layers(self.embedding(input_ids), held)
        return self.output(self.norm(states)), tuple(s.transpose(0, 1) for s in held)

    def state_bytes(self, context: int, itemsize: int = 4) -> int:
        """Returns the bytes of one sequence's state: two vectors a layer, whatever the context."""
        del context
        return 2 * self.layers.num_layers * self.layers.hidden_size * itemsize


class NGram(nn.Module):
    """Interpolated n-gram probabilities with Witten-Bell weights (Witten and Bell 1991).

    With c the count of a context and T the number of distinct ids seen after it,
    P_k(w | context) = (c(w) + T P_{k-1}(w | shorter context)) / (c + T), down to the uniform
    distribution; a context never seen leaves the shorter one's distribution. Each level is a
    sorted table of contexts and, row by row, the ids seen after them.

    Args:
        vocab_size: number of ids v.
        order: length n of the n-grams; the context is at most n - 1 ids.
    """

    def __init__(self, vocab_size: int, order: int) -> None:
        super().__init__()
        if vocab_size**order >= 2**63:
            raise ValueError(
                f"order={order} with {vocab_size} ids does not fit a 64-bit key; "
                f"the largest order is {int(63 / np.log2(vocab_size))}"
            )
        self.vocab_size, self.order = vocab_size, order
        for level in range(order):
            for name in ("contexts", "offsets", "symbols"):
                self.register_buffer(f"{name}_{level}", torch.zeros(0, dtype=torch.int64))
            for name in ("shares", "backoff"):
                table = nn.Parameter(torch.zeros(0), requires_grad=False)
                self.register_parameter(f"{name}_{level}", table)

    def fit(self, documents: Sequence[Sequence[int] | npt.NDArray[np.integer[Any]]]) -> None:
        """Counts the n-grams of token lists; none reaches over the border of two lists."""
        sizes = np.array([len(document) for document in documents], dtype=np.int64)
        ids = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, documents)]).astype(np.int64)
        position = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        context = np.zeros(len(ids), dtype=np.int64)
        power = 1
        for level in range(self.order):
            if level:
                context[level:] += ids[:-level] * power
                power *= self.vocab_size
            chosen = position >= level
            keys, counts = np.unique(
                context[chosen] * self.vocab_size + ids[chosen], return_counts=True
            )
            self._set_level(level, keys, counts)

    def _set_level(
        self, level: int, keys: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
    ) -> None:
        contexts, first, kinds = np.unique(
            keys // self.vocab_size, return_index=True, return_counts=True
        )
        totals = np.add.reduceat(counts, first) if len(first) else np.zeros(0, np.int64)
        weight = (totals + kinds).astype(np.float64)
        tables = {
            "contexts": contexts,
            "offsets": np.append(first, len(keys)),
            "symbols": keys % self.vocab_size,
            "shares": (counts / np.repeat(weight, kinds)).astype(np.float32),
            "backoff": (kinds / weight).astype(np.float32),
        }
        for name, table in tables.items():
            old = getattr(self, f"{name}_{level}")
            old.data = torch.from_numpy(np.ascontiguousarray(table))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Returns log probabilities of the next id, [b, t, v], after each prefix of ids [b, t]."""
        rows, width = input_ids.shape
        shape = (rows * width, self.vocab_size)
        shares = torch.full(shape, 1 / self.vocab_size, device=input_ids.device)
        context = torch.zeros_like(input_ids)
        power = 1
        for level in range(self.order):
            if level:
                shifted = nn.functional.pad(input_ids, (level - 1, 0))[:, :width]
                context = context + shifted * power
                power *= self.vocab_size
            inside = torch.arange(width, device=input_ids.device) >= level - 1
            self._interpolate(shares, level, context.flatten(), inside.repeat(rows))
        return shares.log().view(rows, width, self.vocab_size)

    def _interpolate(self, shares: Tensor, level: int, context: Tensor, inside: Tensor) -> None:
        """Replaces the rows of `shares` [n, v] whose context this level has seen."""
        tables = ("contexts", "offsets", "symbols", "shares", "backoff")
        contexts, offsets, symbols, share, backoff = (
            getattr(self, f"{name}_{level}") for name in tables
        )
        if not len(contexts):
            return
        index = torch.searchsorted(contexts, context).clamp(max=len(contexts) - 1)
        rows = ((contexts[index] == context) & inside).nonzero().flatten()
        index = index[rows]
        shares[rows] *= backoff[index].unsqueeze(1)
        counts = offsets[index + 1] - offsets[index]
        skip = offsets[index] - (counts.cumsum(0) - counts)
        entries = torch.arange(int(counts.sum()), device=context.device)
        entries = entries + skip.repeat_interleave(counts)
        shares[rows.repeat_interleave(counts), symbols[entries]] += share[entries]

    def state_bytes(self, context: int, itemsize: int = 8) -> int:
        """Returns the bytes of one sequence's state: the ids of the last n - 1 positions."""
        return min(context, self.order - 1) * itemsize

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # The tables' sizes come with the data, so they follow what is loaded.
        for name, table in [*self.named_parameters(), *self.named_buffers()]:
            if prefix + name in state_dict:
                table.data = torch.empty_like(state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args)
