"""PyTorch as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.runtimes.decoding import ModuleSession, session_of
from kit.spec.register_models import register_runtime

if TYPE_CHECKING:
    from torch import nn

    from kit.runtimes.keeping import Keeping


@register_runtime(version=1)
def eager(model: nn.Module, kept: Keeping | None = None) -> ModuleSession:
    """PyTorch, operation by operation."""
    model.eval()
    return session_of(model) if kept is None else kept.session(model)
