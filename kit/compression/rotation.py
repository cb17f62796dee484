"""A rotation of the residual stream: the same model by other weights, before these get fewer bits.

Weights that have been rounded once lie on a grid. Rounding them again on a grid that matches
changes almost nothing, and says nothing of a model that was not rounded before. Rotated, the model
is the same function and its weights lie on no grid; outliers of single dimensions are spread over
all of them too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from kit.spec.checking import SpecError
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from torch import Tensor, nn

ROTATED = ("llama", "mistral", "qwen2", "qwen3")
"""Model types of transformers whose residual stream is read through plain RMSNorms alone."""
READS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
"""Of a layer, each norm and the linear layers that read what it gives."""
WRITES = ("self_attn.o_proj", "mlp.down_proj")
"""Of a layer, the linear layers that add to the residual stream."""
PARTS = {"self_attn", "mlp", *READS}


@register_scheme(form="module", version=1)
def rotated(model: nn.Module, *, seed: Annotated[int, Field(ge=0)] = 0) -> nn.Module:
    """Rotates the residual stream of a Llama-like language model: exact but for rounding in fp32.

    With R orthogonal, RMSNorm without weights commutes with R, so every linear layer that reads
    the stream takes its norm's weights and R into its own (`W diag(g) R`), every one that writes to
    it gives rotated outputs (`R^T W`), and the embedding is rotated (QuaRot, Ashkboos et al. 2024;
    SliceGPT, Ashkboos et al. 2024). The last norm turns the stream back, norms and turns again: an
    output layer that shares the embedding's weight goes on sharing it, so that a scheme that
    follows rounds the same matrices as without the rotation. That costs two multiplications by R a
    token.

    Args:
        model: a causal model of transformers, of one of the types in `ROTATED`; left as it is.
        seed: of the rotation.

    Raises:
        SpecError: a model of another type, or whose layers hold other parts than these types'.
    """
    import torch

    from kit.architectures.modules import RotatedNorm

    copied: Any = copy.deepcopy(model)
    decoder = _decoder(copied)
    rotation = torch.from_numpy(orthogonal(copied.config.hidden_size, seed))
    with torch.no_grad():
        for layer in decoder.layers:
            for norm, readers in READS.items():
                gain = getattr(layer, norm).weight
                for linear in map(layer.get_submodule, readers):
                    _set(linear.weight, linear.weight.double() * gain.double() @ rotation)
                gain.fill_(1.0)
            for linear in map(layer.get_submodule, WRITES):
                _set(linear.weight, rotation.T @ linear.weight.double())
                if linear.bias is not None:
                    _set(linear.bias, linear.bias.double() @ rotation)
        tables = (copied.get_input_embeddings().weight, copied.get_output_embeddings().weight)
        for table in {id(table): table for table in tables}.values():
            _set(table, table.double() @ rotation)
    decoder.norm = RotatedNorm(decoder.norm, rotation)
    return copied  # type: ignore[no-any-return]


def orthogonal(size: int, seed: int) -> np.ndarray:
    """Returns a random orthogonal matrix [size, size]: a Hadamard matrix with random signs.

    Where the size is no power of two, the Hadamard matrix of its largest factor that is one is
    combined (Kronecker) with a random rotation of the rest, so that every entry still mixes all
    dimensions.

    Args:
        size: of the residual stream.
        seed: of the signs and of the rest.
    """
    from scipy.linalg import hadamard

    rng = np.random.default_rng(seed)
    power = size & -size
    rest, _ = np.linalg.qr(rng.normal(size=(size // power, size // power)))
    signs = rng.choice([-1.0, 1.0], size)
    return np.asarray(signs[:, None] * np.kron(hadamard(power) / np.sqrt(power), rest))


def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.to(parameter.dtype))


def _decoder(model: Any) -> Any:
    """Returns the stack of layers of a model that can be rotated.

    Raises:
        SpecError: it cannot, with the reason.
    """
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind not in ROTATED:
        raise SpecError(
            f"rotated: a {kind} model's stream may be read otherwise than through plain RMSNorms; "
            f"expected one of {', '.join(ROTATED)}"
        )
    for wrong in _wrong(model):
        raise SpecError(
            f"rotated: this {kind} model has {wrong}; expected layers of {', '.join(sorted(PARTS))}"
            " with plain linear projections, as transformers makes them"
        )
    return model.model


def _wrong(model: Any) -> Iterator[str]:
    """Yields what of a model is not as in the types that are known."""
    from torch import nn

    names = ("embed_tokens", "layers", "norm")
    lacking = [name for name in names if not hasattr(getattr(model, "model", None), name)]
    if lacking:
        yield f"no part {lacking[0]}"
        return
    for number, layer in enumerate(model.model.layers):
        for name, _ in layer.named_children():
            if name not in PARTS:
                yield f"the part {name} in layer {number}"
        for name in (*(each for reads in READS.values() for each in reads), *WRITES):
            part, _, projection = name.partition(".")
            found = getattr(getattr(layer, part, None), projection, None)
            if not isinstance(found, nn.Linear) or not found.weight.is_floating_point():
                yield f"no linear layer {name} in layer {number}"
