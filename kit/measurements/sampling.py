"""Which token comes next: the likeliest, or one drawn by a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def chooser(
    temperature: float = 0.0, seed: str = "0", top_p: float = 1.0
) -> Callable[[Tensor], int]:
    """Returns what picks the next token by its logits [v].

    A drawn token takes one random number, and what draws has a generator of its own, so that an
    item's answer depends on its seed alone and not on what is written beside it.

    Args:
        temperature: 0 takes the likeliest; above, the logits are divided by it and a token is drawn
            by its probability.
        seed: of the random numbers, in hexadecimal digits.
        top_p: draws from the fewest tokens that have this share of the probability together, the
            likeliest first (nucleus sampling, Holtzman et al. 2020, by transformers); 1 from all.
    """
    if not temperature:
        return lambda logits: int(logits.argmax())
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    generator = torch.Generator().manual_seed(int(seed, 16) % 2**63)
    warm = TemperatureLogitsWarper(float(temperature))
    nucleus = TopPLogitsWarper(float(top_p)) if top_p < 1 else None

    def drawn(logits: Tensor) -> int:
        none = torch.empty(1, 0, dtype=torch.int64)
        scores = warm(none, logits.double()[None])
        if nucleus is not None:
            scores = nucleus(none, scores)
        heaped = torch.softmax(scores[0], -1).cumsum(-1)
        number = torch.rand((), dtype=torch.float64, generator=generator)
        return int(torch.searchsorted(heaped, number * heaped[-1], right=True))

    return drawn
