"""Greedy texts: does a variant write what eager writes, and where do they part?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from kit.build.runner import Runner


class Parting(NamedTuple):
    """Where a greedy text parts from the reference's.

    Attributes:
        same: tokens that are equal before.
        gap: by how much the reference prefers its own token there to the other one, as a share of
            its largest logit: 0 where they never part, and nearly 0 in a tie.
    """

    same: int
    gap: float


def greedy(decoder: Any, prompt: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yields the likeliest next token, and the logits [v] that say so, without end.

    Args:
        decoder: a session that decodes.
        prompt: tokens, at least one.
    """
    import torch

    logits, state = decoder.prefill(torch.tensor([[*prompt]]))
    row = logits[0]
    while True:
        token = int(row.argmax())
        yield token, row
        row = decoder.step(state, torch.tensor([[token]]))[0, -1]


def parting(decoder: Any, reference: Runner, prompt: Sequence[int], tokens: int) -> Parting:
    """Returns where the first so many greedy tokens part from those of plain forwards.

    One forward over the whole text tells: up to there both have read the same.

    Args:
        decoder: a session that decodes.
        reference: goes forward.
        prompt: tokens, at least one.
        tokens: that are written.
    """
    import torch

    text = [token for token, _ in islice(greedy(decoder, prompt), tokens)]
    inputs = reference.model.preprocessor.collate([[*prompt, *text[:-1]]])
    logits = torch.as_tensor(reference.session.forward(inputs))[0, len(prompt) - 1 :].float()
    right = logits.argmax(-1).tolist()
    for place, (ours, theirs) in enumerate(zip(text, right, strict=True)):
        if ours != theirs:
            row = logits[place]
            return Parting(place, float((row[theirs] - row[ours]) / row.abs().max()))
    return Parting(tokens, 0.0)
