"""A language model that looks up: what followed what it has just read, where it stood before."""

from __future__ import annotations

from typing import Any

import torch

import kit
from kit.build.runner import Runner
from kit.spec.ref import Ref
from kit.spec.spec import Variant

SURE = 12.0
SUFFIX = 14
"""Bytes that have to be equal."""


class Looking(torch.nn.Module):
    """Says with certainty what followed the last bytes when they stood there before.

    Its state are the bytes it has read, of which it keeps the last `keep`.
    """

    def __init__(self, vocab_size: int, keep: int) -> None:
        super().__init__()
        self.vocab_size, self.keep = vocab_size, keep

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.decode(input_ids)[0]

    def decode(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        whole = ids if state is None else torch.cat([state[0], ids], 1)
        new = range(whole.shape[1] - ids.shape[1] + 1, whole.shape[1] + 1)
        logits = torch.zeros(*ids.shape, self.vocab_size)
        for row, text in enumerate(map(bytes, whole.tolist())):
            for place, end in enumerate(new):
                found = text.rfind(text[max(end - SUFFIX, 0) : end], 0, end - 1)
                if end >= SUFFIX and found >= 0:
                    logits[row, place, text[found + SUFFIX]] = SURE
        return logits, (whole[:, max(whole.shape[1] - self.keep, 0) :],)


def looking(vocab_size: int, width: int, *, keep: int = 100_000) -> torch.nn.Module:
    """Logits [b, t, vocab_size] of a model without weights."""
    del width
    return Looking(vocab_size, keep)


def runner_of(*, keep: int | None = None) -> Runner:
    """Returns a runner of the model; one that keeps less than it reads says that it is lossy."""
    kit.register_architecture(kind="causal", version=1)(looking)
    args = {} if keep is None else {"keep": keep}
    runner = Runner(Variant(Ref("looking", width=8, **args)), 1)
    if keep is not None:
        runner.session.lossy = True  # type: ignore[attr-defined]
    return runner
