"""Lower precision that the machine computes in: bfloat16, float16, and int8 by torchao."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from kit.compression.stored import Compressed
from kit.machine.quiet import import_quietly
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from torch import nn


@register_scheme(
    form="module",
    version=1,
    dtype="bfloat16",
    runtimes=("eager", "compiled"),
    tolerance=0.05,
)
def bf16(model: nn.Module) -> nn.Module:
    """Computes in bfloat16: half the bytes, 8 bits of mantissa.

    A checkpoint stored in bfloat16 then computes as it is stored.
    """
    import torch

    return copy.deepcopy(model).to(torch.bfloat16)


@register_scheme(form="module", version=1, runtimes=("eager", "compiled"), tolerance=0.02)
def fp16(model: nn.Module) -> nn.Module:
    """Computes in float16: half the bytes, 11 bits of mantissa, nothing above 65,504.

    A checkpoint stored in float16 then computes as it is stored.
    """
    import torch

    return copy.deepcopy(model).to(torch.float16)


@register_scheme(form="module", version=1, runtimes=("compiled",), tolerance=0.1)
def torchao_int8(model: nn.Module) -> Compressed:
    """Int8 weights and dynamic int8 activations in linear layers, by torchao.

    `Int8DynamicActivationInt8WeightConfig`: per-token activations, per-channel weights. Its kernels
    pay only under `torch.compile`, so it runs on no other runtime.
    """
    return _by_torchao(model, "Int8DynamicActivationInt8WeightConfig")


@register_scheme(form="module", version=1, runtimes=("eager",), tolerance=0.1)
def torchao_int8_weights(model: nn.Module) -> Compressed:
    """Int8 weights in linear layers, by torchao: a quarter of the bytes, computed with in fp32.

    `Int8WeightOnlyConfig`, a scale an output channel: no activation is rounded, so that outliers
    among them, which language models have, do no harm.
    """
    return _by_torchao(model, "Int8WeightOnlyConfig")


def _by_torchao(model: nn.Module, config: str) -> Compressed:
    """Returns a copy whose linear layers torchao has turned to int8, a scale an output channel."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CPU builds lack some of its .so files: harmless
        import_quietly("torchao.quantization")
        from torchao import quantization

        copied = copy.deepcopy(model).eval()
        quantization.quantize_(copied, getattr(quantization, config)())
    done = {
        f"{name}.weight": 8 + 32 / module.in_features
        for name, module in copied.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    return Compressed(copied, done)
