"""PyTorch compiled by inductor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kit.registry import register_runtime
from kit.store import store_root

if TYPE_CHECKING:
    from torch import Tensor, nn


@register_runtime(version=1, compiles=True)
def compiled(model: nn.Module) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """`torch.compile` with inductor, for any batch and length.

    Kernels are kept in the store, so that a second process does not compile them again.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(store_root() / "inductor"))
    import torch

    from kit.architectures.model import logits

    model.eval()
    compiled_model = torch.compile(model, dynamic=True)

    def forward(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return logits(compiled_model(**inputs))

    return forward
