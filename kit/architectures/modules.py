"""The kit's own `nn.Module`s. Imported by the functions that build them, never at start-up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kit.architectures.outputs import hidden, logits
from kit.spec.checking import Undefined


class Headed(nn.Module):
    """A classifier whose last layer reads a vector an item: its features."""

    def last_layer(self) -> nn.Linear | None:
        """Returns the layer that gives the logits; None where that is no linear layer."""
        raise NotImplementedError

    @contextlib.contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Collects what the last layer reads while the module runs, [b, d] a call.

        Raises:
            Undefined: there is no such layer, or it does not read vectors.
        """
        layer, read = self.last_layer(), []

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read.append(inputs[0])

        hook = layer.register_forward_pre_hook(keep) if layer is not None else None
        try:
            yield read
        finally:
            if hook is not None:
                hook.remove()
        if layer is None or any(each.ndim != 2 for each in read):
            name = type(getattr(self, "network", self)).__name__
            raise Undefined(f"{name} has no last linear layer that reads a vector an item")


class Classifier(Headed):
    """An encoder, the mean of its hidden states over the mask, dropout and a linear head.

    Args:
        encoder: input_ids, attention_mask [b, t] -> hidden [b, t, d], or an output that has
            `.last_hidden_state`.
        width: d.
        classes: number of labels.
        dropout: share of pooled features dropped in training.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def last_layer(self) -> nn.Linear:
        return self.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns logits [b, classes]; padding takes no part in the mean."""
        states = hidden(self.encoder(input_ids=input_ids, attention_mask=attention_mask))
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return self.head(self.dropout(pooled))  # type: ignore[no-any-return]


class ImageClassifier(Headed):
    """A network for images, given its input in its own dtype.

    Args:
        network: pixels [b, c, h, w] in 0..1 -> logits [b, classes], or an output with `.logits`.
        classes: number of labels.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes

    def last_layer(self) -> nn.Linear | None:
        """Returns the last linear layer with an output a class."""
        linears = [part for part in self.network.modules() if isinstance(part, nn.Linear)]
        heads = [part for part in linears if part.out_features == self.classes]
        return heads[-1] if heads else None

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns logits [b, classes]."""
        output = self.network(pixels.to(next(self.network.parameters()).dtype))
        return logits(output)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, added to what went in.

    Where the shape changes, a 1 x 1 convolution makes the shortcut fit (option B of He et al.).

    Args:
        before, after: channels that go in and come out.
        stride: of the first convolution.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            fit = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(fit, nn.BatchNorm2d(after))

    def forward(self, states: Tensor) -> Tensor:
        """Returns [b, after, h / stride, w / stride] of [b, before, h, w]."""
        return torch.relu(self.body(states) + self.shortcut(states))


class Deployed(nn.Module):
    """A classifier of transformers that takes what its tokenizer makes and gives logits alone.

    Args:
        model: gives an output with `.logits` [b, its labels].
        names: of the inputs that it takes.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Returns logits [b, the model's labels]."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        output = self.model(**{name: given[name] for name in self.names})
        return output.logits  # type: ignore[no-any-return]


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
        states, _ = self.layers(self.embedding(input_ids))
        return self.output(self.norm(states))  # type: ignore[no-any-return]

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
