"""What a training run reads, as a pure function of the seed and the step.

Because batch k depends on nothing but the data, the seed and k, a run that was cut goes on exactly
where it stopped, and every architecture sees the same items in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from kit.architectures.preprocessing import Preprocessor
from kit.architectures.tokenizers import Tokenizer
from kit.spec.checking import SpecError
from kit.spec.spec import Training

if TYPE_CHECKING:
    import torch

    from kit.tasks.task import Task

VALIDATION_TOKENS = 8_192
"""Tokens of the validation split that a causal model's loss is taken on while it trains."""

VALIDATION_ITEMS = 1_000
"""Items of the validation split that a classifier's loss is taken on while it trains."""

POOL = 32
"""Batches whose items are sorted by length together."""


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        inputs: keyword arguments of the module.
        targets: int64, [b, t] next tokens or [b] labels.
        tokens: how many tokens of it are no padding; an image counts as one.
    """

    inputs: dict[str, torch.Tensor]
    targets: torch.Tensor
    tokens: int


class Feed(Protocol):
    """Training batches by step, and the validation batches."""

    @property
    def steps(self) -> int: ...

    @property
    def marks(self) -> frozenset[int]:
        """Numbers of finished steps after which the validation loss is taken."""

    def batch(self, step: int) -> Batch: ...

    def validation(self) -> Iterator[Batch]: ...


def steps(training: Training, size: int, kind: str = "causal") -> int:
    """Returns the optimizer steps of a training run, without reading its data.

    Args:
        training: batch size, length and budget.
        size: of the training split: tokens for `causal`, items for `classifier`.
        kind: of the architecture.
    """
    budget = training.budget
    if kind == "classifier":
        items = min(size, budget.examples or size)
        return -(-items // training.batch_size) * (budget.epochs or 1)
    tokens = min(t for t in (budget.tokens, _all(budget.epochs, size)) if t is not None)
    return -(-(tokens // training.length) // training.batch_size)


def _all(epochs: int | None, size: int) -> int | None:
    return None if epochs is None else epochs * size


class CausalFeed:
    """Documents in a seeded order, joined by the separator and cut into windows.

    Each pass over the split has its own order of documents; the windows of all passes are then
    drawn in one seeded order. A window's targets are its tokens moved by one.

    Raises:
        SpecError: the training split holds less than one window.
    """

    def __init__(self, task: Task, tokenizer: Tokenizer, training: Training, seed: int) -> None:
        self.length, self.batch_size = training.length, training.batch_size
        self.tokenizer = tokenizer
        budget = training.budget
        texts = list(task.split("train", budget.examples)["text"])
        wanted = None if budget.tokens is None else budget.tokens // self.length * self.length + 1
        self.stream = self._read(texts, seed, wanted, budget.epochs)
        windows = (len(self.stream) - 1) // self.length
        if windows < 1:
            raise SpecError(
                f"the training split of {task.ref.name} gives {len(self.stream)} tokens within "
                f"the budget; one window takes length + 1 = {self.length + 1}"
            )
        order = np.random.default_rng([seed, 1]).permutation(windows)
        self.starts = order * self.length
        held_out = list(task.split("validation", 4096)["text"])
        self.held_out = self._read(held_out, 0, VALIDATION_TOKENS + 1, 1)
        # A short validation split gives one short window rather than none.
        self.held_length = max(1, min(self.length, len(self.held_out) - 1))

    def _read(
        self, texts: list[str], seed: int, wanted: int | None, passes: int | None
    ) -> npt.NDArray[np.int32]:
        """Encodes documents until there are `wanted` tokens or `passes` passes are over."""
        parts: list[npt.NDArray[np.int32]] = []
        count = number = 0
        while texts and (passes is None or number < passes):
            order = np.random.default_rng([seed, 0, number]).permutation(len(texts))
            for first in range(0, len(order), 256):
                chunk = [texts[index] for index in order[first : first + 256]]
                for ids in self.tokenizer.encode(chunk):
                    parts.append(np.array([self.tokenizer.separator_id, *ids], dtype=np.int32))
                    count += len(parts[-1])
                if wanted is not None and count >= wanted:
                    return np.concatenate(parts)[:wanted]
            number += 1
        return np.concatenate([np.zeros(0, np.int32), *parts])

    @property
    def steps(self) -> int:
        return -(-len(self.starts) // self.batch_size)

    @property
    def marks(self) -> frozenset[int]:
        """Ten even parts of the run."""
        return frozenset(max(1, round(self.steps * part / 10)) for part in range(1, 11))

    def batch(self, step: int) -> Batch:
        """Returns the windows of a step."""
        chosen = self.starts[step * self.batch_size : (step + 1) * self.batch_size]
        return _windows(self.stream, chosen, self.length)

    def validation(self) -> Iterator[Batch]:
        """Yields the first windows of the validation split, the same for every seed."""
        starts = np.arange(0, len(self.held_out) - self.held_length, self.held_length)
        for first in range(0, len(starts), 8):
            yield _windows(self.held_out, starts[first : first + 8], self.held_length)


def _windows(stream: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], length: int) -> Batch:
    import torch

    rows = stream[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    ids = torch.from_numpy(rows)
    return Batch({"input_ids": ids[:, :-1].contiguous()}, ids[:, 1:].contiguous(), rows[:, 1:].size)


class ClassifierFeed:
    """Labelled examples, encoded once, in batches of like length.

    Each epoch shuffles the items, sorts pools of 32 batches by length and shuffles the batches, so
    that little is padded and the order of lengths teaches nothing. Images have one length, and stay
    as they were shuffled.

    Raises:
        SpecError: the budget has no epochs.
    """

    def __init__(
        self, task: Task, preprocessor: Preprocessor, training: Training, seed: int
    ) -> None:
        if training.budget.epochs is None:
            raise SpecError(
                "a classifier's training needs Budget(epochs=...): it is counted in items"
            )
        self.epochs, self.batch_size, self.seed = (
            training.budget.epochs,
            training.batch_size,
            seed,
        )
        self.collate = preprocessor.collate

        def encoded(rows: Any) -> tuple[list[Any], list[int]]:
            examples = preprocessor.encode(task.examples(rows), training.length)
            return examples, [int(label) for label in rows["label"]]

        self.rows, self.labels = encoded(task.split("train", training.budget.examples))
        self.held_rows, self.held_labels = encoded(task.split("validation", VALIDATION_ITEMS))
        self._order: tuple[int, list[npt.NDArray[np.int64]]] = (-1, [])

    @property
    def epoch_steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.rows) // self.batch_size)

    @property
    def steps(self) -> int:
        return self.epoch_steps * self.epochs

    @property
    def marks(self) -> frozenset[int]:
        """The end of each epoch."""
        return frozenset(self.epoch_steps * (epoch + 1) for epoch in range(self.epochs))

    def batch(self, step: int) -> Batch:
        """Returns the items of a step."""
        epoch, number = divmod(step, self.epoch_steps)
        if self._order[0] != epoch:
            self._order = (epoch, self._epoch(epoch))
        return self._batch(self.rows, self.labels, self._order[1][number])

    def _epoch(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, epoch])
        shuffled = random.permutation(len(self.rows))
        sizes = np.array([len(self.rows[index]) for index in shuffled])
        pool = self.batch_size * POOL
        batches: list[npt.NDArray[np.int64]] = []
        for first in range(0, len(shuffled), pool):
            part = shuffled[first : first + pool]
            part = part[np.argsort(sizes[first : first + pool], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        return [batches[index] for index in random.permutation(len(batches))]

    def validation(self) -> Iterator[Batch]:
        """Yields the validation items, sorted by length."""
        order = np.argsort([len(row) for row in self.held_rows], kind="stable")
        for first in range(0, len(order), 64):
            yield self._batch(self.held_rows, self.held_labels, order[first : first + 64])

    def _batch(self, rows: list[Any], labels: list[int], chosen: Any) -> Batch:
        import torch

        part = [rows[index] for index in chosen]
        targets = torch.tensor([labels[index] for index in chosen], dtype=torch.int64)
        return Batch(self.collate(part), targets, sum(map(len, part)))
