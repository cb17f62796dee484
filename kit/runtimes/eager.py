"""PyTorch as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kit.spec.register_models import register_runtime

if TYPE_CHECKING:
    from torch import Tensor, nn


@register_runtime(version=1)
def eager(model: nn.Module) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """PyTorch, operation by operation."""
    import torch

    from kit.architectures.outputs import logits

    model.eval()

    def forward(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            return logits(model(**inputs))

    return forward
