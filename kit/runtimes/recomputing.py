"""Decoding without a state: the whole text is read again for every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kit.runtimes.session import Session

if TYPE_CHECKING:
    from torch import Tensor

Rows = list[list[int]]


class Recomputing:
    """Decodes by what goes forward alone; its state is the text so far.

    Args:
        session: that goes forward.
        collate: makes a batch of rows of tokens, filled on the right.
    """

    def __init__(self, session: Session, collate: Callable[[Rows], Any]) -> None:
        self._session, self._collate = session, collate
        self.forward = session.forward

    def prefill(self, ids: Tensor) -> tuple[Tensor, Rows]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state: Rows = [[] for _ in ids]
        return self.step(state, ids)[:, -1], state

    def step(self, state: Rows, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        import torch

        for row, fresh in zip(state, ids.tolist(), strict=True):
            row.extend(fresh)
        found = torch.as_tensor(self._session.forward(self._collate([[*row] for row in state])))
        ends, count = [len(row) for row in state], ids.shape[1]
        rows = (logits[end - count : end] for logits, end in zip(found, ends, strict=True))
        return torch.stack([*rows])

    def fork(self, state: Rows, n: int) -> Rows:
        """Returns a new state with every row n times."""
        return [[*row] for row in state for _ in range(n)]

    def merge(self, parts: Sequence[tuple[Rows, Sequence[int]]]) -> Rows:
        """Returns a new state of some rows of several."""
        return [[*state[row]] for state, rows in parts for row in rows]

    def crop(self, state: Rows, n: int) -> None:
        """Forgets the last n tokens of every row."""
        for row in state:
            del row[len(row) - n :]

    def bytes(self, state: Rows) -> int:
        """Returns what a state takes in memory: nothing is kept but the text."""
        del state
        return 0
