"""From raw examples to a module's input: a class a modality, so that nothing else tells them apart.

Training, runners, exports and timings handle examples, rows and batches, whatever these hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kit.architectures.tokenizers import Tokenizer, pad
from kit.spec.checking import SpecError, Undefined
from kit.tasks.prepare import pixels

if TYPE_CHECKING:
    from torch import Tensor


class Preprocessor(Protocol):
    """How raw examples become a batch. `len(row)` is a row's number of tokens; an image is one."""

    def encode(self, examples: Sequence[Any], length: int | None = None) -> list[Any]:
        """Returns a row an example, cut after `length` tokens.

        Raises:
            SpecError: an example is of another modality.
        """

    def filled(self, examples: Sequence[Any], length: int) -> list[Any]:
        """Returns rows of exactly `length` tokens: each example followed by itself.

        Raises:
            Undefined: examples have one size.
        """

    def made_up(self, count: int, length: int) -> list[Any]:
        """Returns rows for a use in which their shape alone matters."""

    def collate(self, rows: Sequence[Any], width: int = 1) -> dict[str, Tensor]:
        """Returns the module's keyword arguments for a batch of rows.

        Args:
            rows: what `encode` gave.
            width: tokens to which rows are padded at least; means nothing to images.
        """


@dataclass(frozen=True)
class Texts:
    """Texts to `input_ids` [b, t], padded on the right, and `attention_mask` where asked for.

    Attributes:
        tokenizer: makes a row of ids of a text.
        masked: whether the module takes a mask; causal ones need none.
    """

    tokenizer: Tokenizer
    masked: bool

    def encode(self, examples: Sequence[Any], length: int | None = None) -> list[list[int]]:
        """Returns the ids of each text, cut after `length` tokens."""
        for example in examples:
            if not isinstance(example, str):
                raise SpecError(f"the model reads texts; it was given a {type(example).__name__}")
        return self.tokenizer.encode(list(examples), length)

    def filled(self, examples: Sequence[Any], length: int) -> list[list[int]]:
        """Returns rows of exactly `length` ids: each text followed by itself."""
        encoded = self.encode(examples, length)
        return [list(itertools.islice(itertools.cycle(ids), length)) for ids in encoded]

    def made_up(self, count: int, length: int) -> list[list[int]]:
        """Returns `count` times the ids from 1 on."""
        return [[index % self.tokenizer.vocab_size for index in range(1, length + 1)]] * count

    def collate(self, rows: Sequence[Any], width: int = 1) -> dict[str, Tensor]:
        """Returns `input_ids` and, where asked for, `attention_mask`, int64 [b, t]."""
        inputs = pad(rows, self.tokenizer.pad_id, width=width)
        return inputs if self.masked else {"input_ids": inputs["input_ids"]}


@dataclass(frozen=True)
class Images:
    """Images to `pixels`, float32 [b, c, h, w] in 0..1.

    Attributes:
        shape: c, h, w.
    """

    shape: tuple[int, ...]

    def encode(self, examples: Sequence[Any], length: int | None = None) -> list[np.ndarray]:
        """Returns each image of 0..255 as a batch of one in 0..1; `length` has no meaning."""
        del length
        rows = []
        for values in map(pixels, examples):
            if values.size != math.prod(self.shape):
                size = f"{math.prod(self.shape)} for the shape {self.shape}"
                raise SpecError(f"the model was given {values.size} pixels; expected {size}")
            rows.append(values.reshape(1, *self.shape).astype(np.float32) / 255)
        return rows

    def filled(self, examples: Sequence[Any], length: int) -> list[np.ndarray]:
        """Images are not filled up."""
        raise Undefined(f"images have one size; length={length} needs texts, length='task' none")

    def made_up(self, count: int, length: int) -> list[np.ndarray]:
        """Returns `count` black images."""
        del length
        return [np.zeros((1, *self.shape), np.float32)] * count

    def collate(self, rows: Sequence[Any], width: int = 1) -> dict[str, Tensor]:
        """Returns `pixels`, float32 [b, c, h, w]."""
        import torch

        del width
        return {"pixels": torch.from_numpy(np.concatenate(rows))}


def free_dimensions(tensor: Tensor) -> int:
    """Returns how many leading dimensions of an input change from batch to batch.

    Of ids [b, t] both do, of pixels [b, c, h, w] the first.
    """
    return 2 if tensor.ndim == 2 else 1


def positions(inputs: Mapping[str, Tensor]) -> int:
    """Returns the tokens of a batch, padding included; an image is one."""
    first = next(iter(inputs.values()))
    return math.prod(first.shape[: free_dimensions(first)])
