"""How many bits the weights of a module take: as a scheme says, else as they are held.

A scheme notes on its copy, as `stored_bits`, what each matrix takes in its own format; what it left
has no entry and counts as held. This is the one place that writes and reads the note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.architectures.matrices import Matrix

Bits = Mapping[str, float | None]
"""Name of a matrix -> bits a weight, scales included; None is as held."""


def noted(module: nn.Module) -> dict[str, float | None]:
    """Returns what schemes have noted on a module."""
    return dict(getattr(module, "stored_bits", {}))


def note(module: nn.Module, bits: Bits) -> nn.Module:
    """Notes bits on a module, over what was noted before; None keeps an earlier number."""
    known = noted(module)
    added = {name: known.get(name) if value is None else value for name, value in bits.items()}
    module.stored_bits = known | added  # type: ignore[assignment]
    return module


def held_bytes(tensor: Tensor) -> int:
    """Returns the bytes a tensor holds; of one made of others (codes, scales), theirs."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    inner = tensor.data
    if is_traceable_wrapper_subclass(inner):
        names, _ = inner.__tensor_flatten__()
        return sum(held_bytes(getattr(inner, name)) for name in names)
    assert isinstance(inner, torch.Tensor)
    return inner.numel() * inner.element_size()


@dataclass(frozen=True)
class Stored:
    """What the weights of a model take.

    Attributes:
        held_bytes: as they are in memory.
        nominal_bytes: in the formats of the schemes.
        bits_per_weight: mean over all matrices, scales included; 0 where there is none.
        left: for those that the schemes left as they were, bits a weight by name.
    """

    held_bytes: float
    nominal_bytes: float
    bits_per_weight: float
    left: Mapping[str, float]

    @property
    def notes(self) -> list[str]:
        """Sentences that name what the schemes left."""
        return left_sentences(self.left)


def left_sentences(left: Mapping[str, float]) -> list[str]:
    """Returns a sentence for each number of bits: the first matrix's name and how many more."""
    sentences = []
    for bits in sorted(set(left.values()), reverse=True):
        first, *more = [name for name, found in left.items() if found == bits]
        others = f" and {len(more)} more" if more else ""
        sentences.append(f"not compressed, at {bits:g} bits: {first}{others}")
    return sentences


def stored(module: nn.Module) -> Stored:
    """Counts parameters, and the codes of packed layers, which may be buffers."""
    from kit.architectures.matrices import matrices

    weights = list(matrices(module))
    bits = noted(module)
    per_weight = {weight.name: _bits(weight, bits) for weight in weights}
    parts = {id(tensor): tensor for weight in weights for tensor in weight.tensors}
    everything = {id(tensor): tensor for tensor in module.parameters()} | parts
    held = sum(map(held_bytes, everything.values()))
    nominal = sum(per_weight[weight.name] * weight.count for weight in weights) / 8
    others = held - sum(map(held_bytes, parts.values()))
    return Stored(
        float(held),
        others + nominal,
        _mean(per_weight, weights),
        {name: each for name, each in per_weight.items() if bits and name not in bits},
    )


def _bits(weight: Matrix, bits: Bits) -> float:
    held = 8 * sum(map(held_bytes, weight.tensors)) / weight.count
    said = bits.get(weight.name)
    return held if said is None else said


def _mean(per_weight: Mapping[str, float], weights: Iterable[Matrix]) -> float:
    counts = {weight.name: weight.count for weight in weights}
    total = sum(counts.values())
    return sum(per_weight[name] * count for name, count in counts.items()) / total if total else 0.0
