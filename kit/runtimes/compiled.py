"""PyTorch compiled by inductor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from kit.runtimes.failures import cause
from kit.spec.checking import Undefined
from kit.spec.register_models import register_runtime
from kit.store.store import store_root

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.runtimes.session import Inputs
    from kit.runtimes.stepping import StepSession


@register_runtime(version=2, compiles=True)
def compiled(
    model: nn.Module, *, cache: Literal["static"] | None = None
) -> Callable[[Mapping[str, Tensor]], Tensor] | StepSession:
    """`torch.compile` with inductor, for any batch and length.

    Kernels are kept in the store, so that a second process does not compile them again; tracing is
    repeated, so a batch of one shares the trace of all others (half of the seconds). A call raises
    `Undefined` where the model cannot be compiled.

    Args:
        model: goes forward.
        cache: `static` decodes too, by a compiled step for one token (`kit.runtimes.stepping`) that
            takes as long again to compile, once for one text and once for several.

    Raises:
        Undefined: a model with another state than the keys and values of every token.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(store_root() / "inductor"))
    import torch
    from torch.fx.experimental import _config as shapes

    from kit.architectures.outputs import logits
    from kit.architectures.preprocessing import free_dimensions

    model.eval()
    compiled_model = torch.compile(model, dynamic=True)
    first = True

    def forward(inputs: Mapping[str, Tensor]) -> Tensor:
        nonlocal first
        with contextlib.ExitStack() as stack:
            if first:  # sizes of one are dynamic too, as vLLM compiles
                stack.enter_context(shapes.patch(backed_size_oblivious=True))  # type: ignore[attr-defined]
                for tensor in inputs.values():
                    free = free_dimensions(tensor)
                    torch._dynamo.maybe_mark_dynamic(tensor, tuple(range(free)))
                    torch._dynamo.mark_static(tensor, list(range(free, tensor.ndim)))
                first = False
            stack.enter_context(torch.no_grad())
            try:
                return logits(compiled_model(**inputs))
            except torch._dynamo.exc.TorchDynamoException as error:
                raise Undefined(f"torch.compile cannot take this model: {cause(error)}") from error

    return forward if cache is None else _stepping(model, forward)


def _stepping(model: nn.Module, forward: Callable[[Inputs], Tensor]) -> StepSession:
    from kit.runtimes.decoding import CropSession, session_of
    from kit.runtimes.stepping import StepSession

    if not isinstance(session_of(model), CropSession):
        raise Undefined(
            f"compiled(cache='static') decodes models whose layers all keep every token; "
            f"{type(model).__name__} does not, and decodes on eager"
        )
    return StepSession(model, forward)
