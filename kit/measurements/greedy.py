"""Greedy texts: does a variant write what eager writes, and where do they part?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


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


def parting(decoder: Any, reference: Any, prompt: Sequence[int], tokens: int) -> Parting:
    """Returns where the first so many greedy tokens part."""
    texts = zip(greedy(decoder, prompt), greedy(reference, prompt), range(tokens), strict=False)
    for (ours, _), (theirs, logits), place in texts:
        if ours != theirs:
            return Parting(place, float((logits[theirs] - logits[ours]) / logits.abs().max()))
    return Parting(tokens, 0.0)
