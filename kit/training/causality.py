"""The check that a causal model is causal, made before it is trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from kit.architectures.model import seeded
from kit.architectures.outputs import logits

if TYPE_CHECKING:
    from torch import nn

LENGTH = 128
"""Tokens of the probe."""


def peeks_ahead(module: nn.Module, vocab_size: int) -> str | None:
    """Tells whether a later token, or another sequence of the batch, changes earlier logits.

    A copy of the module with slightly disturbed weights is probed in fp32, so that an output
    matrix that starts at zero hides nothing.

    Args:
        module: input_ids [b, t] -> logits [b, t, v].
        vocab_size: v.

    Returns:
        A sentence that says what was expected and what was got, or None if all is well.
    """
    import torch

    with seeded(0), torch.no_grad():
        probe = copy.deepcopy(module).float().eval()
        for parameter in probe.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
        device = next((parameter.device for parameter in probe.parameters()), torch.device("cpu"))
        ids = torch.randint(1, vocab_size, (2, LENGTH)).to(device)
        before = logits(probe(input_ids=ids))
        expected = (2, LENGTH, vocab_size)
        if tuple(before.shape) != expected:
            return f"it returned logits of shape {tuple(before.shape)}; expected {expected}"
        if not bool(before.isfinite().all()):
            return "its logits are not all finite numbers before any training"
        tolerance = 1e-4 * float(before.abs().max().clamp(min=1e-6))
        for position in (1, LENGTH // 2 + 1, LENGTH - 1):
            changed = ids.clone()
            changed[0, position] = (changed[0, position] + 1) % vocab_size
            difference = (logits(probe(input_ids=changed)) - before).abs().amax(-1)
            if float(difference[0, :position].max()) > tolerance:
                first = int((difference[0, :position] > tolerance).nonzero()[0])
                return (
                    f"it looks ahead: another token at position {position} changed the logits at "
                    f"position {first} by {float(difference[0, first]):.2g}; expected no change "
                    f"before position {position}"
                )
            if float(difference[1].max()) > tolerance:
                return "it mixes sequences: a token of one changed the logits of another"
    return None
