"""What the matrices of a module are, and where each keeps its outputs and inputs.

A matrix is a parameter that multiplies activations. Most are the weight of an `nn.Linear`, [out,
in]; others are stored the other way round, over several dimensions (the kernel of a convolution,
the heads of an attention) or as a stack (the experts of a mixture). Whoever compresses or counts
weights asks here, so that nothing is reached by one and passed over by the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

Layout = str
"""A letter a dimension: `o` output, `i` input, `e` one of a stack; a last `*` repeats the letter
before it. `oi` is an `nn.Linear`, `ioo` a projection [model, head, head size]."""

LAYOUTS: Mapping[str, Mapping[str, Layout]] = {
    "torch.Linear": {"weight": "oi"},
    "torch._ConvTransposeNd": {},  # it has its inputs first, and in groups
    "torch._ConvNd": {"weight": "oi*"},
    "torch.RNNBase": {"weight": "oi"},
    "torch.RNNCellBase": {"weight": "oi"},
    "torch.MultiheadAttention": {
        "in_proj_weight": "oi",
        "q_proj_weight": "oi",
        "k_proj_weight": "oi",
        "v_proj_weight": "oi",
    },
    "transformers.Conv1D": {"weight": "io"},
    "transformers.QuantLinear": {"weight": "oi"},
    "transformers.GroupedLinearLayer": {"weight": "eio"},
    "transformers.JetMoeParallelExperts": {"weight": "eoi"},
    "transformers.Llama4TextExperts": {"gate_up_proj": "eio", "down_proj": "eio"},
    "transformers.RecurrentGemmaRglru": {
        "input_gate_weight": "eio",
        "recurrent_gate_weight": "eio",
    },
    "transformers.XLNetRelativeAttention": {
        "q": "ioo",
        "k": "ioo",
        "v": "ioo",
        "r": "ioo",
        "o": "oii",
    },
    "transformers.FunnelRelMultiheadAttention": {"r_kernel": "ioo"},
}
"""By package and class, the start of a parameter's name and its layout."""


@dataclass(frozen=True)
class Matrix:
    """A parameter that multiplies activations: one matrix, or a stack of them.

    Attributes:
        name: as in `named_parameters`; of a layer that keeps packed codes, its own name and
            `weight`.
        count: weights in it, as the layer multiplies them.
        tensors: what holds it: the parameter, or the codes and scales of a packed layer.
        layout: of the parameter's dimensions; empty where it is not known or not plain numbers.
    """

    name: str
    count: int
    tensors: tuple[Tensor, ...]
    layout: Layout

    def values(self) -> Iterator[Tensor]:
        """Yields each matrix as [out, in]; dimensions that are one of these are joined in order."""
        for part in self._parts():
            yield self._joined(part)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Replaces the weights in place by a function of each matrix of `values`.

        Raises:
            ValueError: the function changed the shape.
        """
        import torch

        with torch.no_grad():
            for part in self._parts():
                given = self._joined(part)
                value = function(given)
                if value.shape != given.shape:
                    raise ValueError(
                        f"{self.name}: expected a weight of shape {tuple(given.shape)}, "
                        f"got {tuple(value.shape)}"
                    )
                part.copy_(value.reshape(part.shape))

    def _joined(self, part: Tensor) -> Tensor:
        outputs = self.layout.count("o")
        return part.flatten(outputs).flatten(0, outputs - 1).contiguous()

    def _parts(self) -> tuple[Tensor, ...]:
        """Returns views of the parameter, one a matrix: output dimensions, then input ones."""
        letters = self.layout
        order = [at for kind in "eoi" for at, letter in enumerate(letters) if letter == kind]
        view = self.tensors[0].detach().permute(order)
        return view.unbind(0) if "e" in letters else (view,)


def matrices(module: nn.Module) -> Iterator[Matrix]:
    """Yields every matrix of a module once, in the order of its parameters.

    None are embeddings (by `embeddings`, so an output layer that shares an embedding's weight is
    none either), norms, biases, and parameters with one dimension above 1. A floating parameter
    with more is a matrix: where the layout is not known, or the numbers are not plain floats, it
    has none and can only be counted.
    """
    seen = set(embeddings(module))
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        if packed := _packed(part):
            yield Matrix(f"{prefix}weight", part.in_features * part.out_features, packed, "")
            seen |= {id(tensor) for tensor in packed}
        for name, parameter in part.named_parameters(recurse=False):
            layout = _layout(part, name, parameter)
            matrix = parameter.numel() and (layout or _unknown(part, name, parameter))
            if id(parameter) in seen or not matrix:
                continue
            seen.add(id(parameter))
            known = layout if _plain(parameter) else ""
            yield Matrix(f"{prefix}{name}", parameter.numel(), (parameter,), known)


def embeddings(module: nn.Module) -> dict[int, nn.Parameter]:
    """Returns the parameters that are looked up or added by position, by their `id`.

    Those of every `nn.Embedding` and, of layers whose layout is not known, those that have `embed`
    in their own name, their layer's path or its class.
    """
    from torch import nn

    found = {}
    for path, part in module.named_modules():
        table = isinstance(part, nn.Embedding | nn.EmbeddingBag)
        for name, parameter in part.named_parameters(recurse=False):
            said = "embed" in f"{path}.{name} {type(part).__name__}".lower()
            if table or (said and parameter.ndim > 1 and not _layout(part, name, parameter)):
                found[id(parameter)] = parameter
    return found


def _layout(part: nn.Module, name: str, parameter: Tensor) -> Layout:
    """Returns the layout that a layer's class is known for, empty where it is not."""
    for kind in type(part).__mro__:
        package = kind.__module__.partition(".")[0]
        known = LAYOUTS.get(f"{package}.{kind.__name__}")
        if known is not None:
            found = next((known[start] for start in known if name.startswith(start)), "")
            if found.endswith("*"):
                found = found[:-1].ljust(parameter.ndim, found[-2])
            return found if len(found) == parameter.ndim else ""
        if package == "transformers":
            if name == "weight" and kind.__name__.endswith("Router") and parameter.ndim == 2:
                return "oi"  # applied by `F.linear` in every mixture of the library
            transposed = getattr(part, "is_transposed", None)  # said by its experts
            if isinstance(transposed, bool) and parameter.ndim == 3:
                return "eio" if transposed else "eoi"
    return ""


def _unknown(part: nn.Module, name: str, parameter: Tensor) -> bool:
    """Says whether a parameter of no known layout is a matrix, not a norm, a bias or a vector."""
    stays = "bias" in name or "norm" in f"{name} {type(part).__name__}".lower()
    return not stays and sum(size > 1 for size in parameter.shape) > 1


def _plain(tensor: Tensor) -> bool:
    """Says whether a tensor holds floats that can be computed with, not codes of fewer bits."""
    import torch

    usual = type(tensor.data) is torch.Tensor
    return usual and tensor.is_floating_point() and tensor.element_size() > 1


def _packed(part: nn.Module) -> tuple[Tensor, ...]:
    """Returns codes and scales of a linear layer that holds no weight of its own shape."""
    shape = (getattr(part, "out_features", None), getattr(part, "in_features", None))
    if not all(isinstance(size, int) for size in shape) or any(part.children()):
        return ()
    named = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
    held = [tensor for name, tensor in named if "bias" not in name]
    whole = any(
        _plain(tensor) or tuple(tensor.shape) == shape for tensor in held if tensor.ndim > 1
    )
    return () if whole or all(map(_plain, held)) else tuple(held)
