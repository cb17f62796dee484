"""How many bits the weights of a module take: as a scheme says, else as they are held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.architectures.matrices import Matrix

Bits = Mapping[str, float | None]
"""Name of a matrix -> bits a weight, scales included; None is as held."""


@dataclass(frozen=True)
class Compressed:
    """What a scheme may give in place of a module.

    Attributes:
        module: a new one.
        bits: what each matrix takes in the scheme's format; what it left has no entry.
        notes: sentences that belong beside every number of it.
    """

    module: nn.Module
    bits: Bits
    notes: tuple[str, ...] = ()


def merged(before: Bits, after: Bits) -> Bits:
    """Returns the bits after a further scheme; where it says None, an earlier number stays."""
    return {**before, **{n: before.get(n) if v is None else v for n, v in after.items()}}


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


def size_of(path: Path) -> float:
    """Returns the bytes of an exported model's files: its own, and those named after it."""
    if path.is_dir():
        return float(sum(file.stat().st_size for file in path.rglob("*")))
    return float(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")))


@dataclass(frozen=True)
class Stored:
    """What the weights of a model take.

    Attributes:
        disk_bytes: as they would be saved: simulated schemes save what they compute with.
        nominal_bytes: in the formats of the schemes.
        bits_per_weight: mean over all matrices, scales included; 0 where there is none.
        left: for those that the schemes left as they were, bits a weight by name.
    """

    disk_bytes: float
    nominal_bytes: float
    bits_per_weight: float
    left: Mapping[str, float]

    @property
    def notes(self) -> list[str]:
        """One sentence that names what the schemes left, or none."""
        if not self.left:
            return []
        least, most = min(self.left.values()), max(self.left.values())
        bits = f"{most:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
        first, *more = self.left
        others = f" and {len(more)} more" if more else ""
        return [f"not compressed, at {bits} bits: {first}{others}"]


def files_alone(path: Path, *, compressed: bool) -> Stored:
    """Counts the files of an exported model of which nobody says how its weights are held."""
    del compressed
    size = size_of(path)
    return Stored(size, size, 0.0, {})


def stored(module: nn.Module, bits: Bits) -> Stored:
    """Counts the parameters of a module, and the codes of packed layers, which may be buffers.

    Args:
        module: what computes.
        bits: what its schemes say of each matrix.
    """
    from kit.architectures.matrices import matrices

    weights = {matrix.name: matrix for matrix in matrices(module)}
    held = {name: sum(map(held_bytes, each.tensors)) for name, each in weights.items()}
    nominal = {name: _nominal(each, held[name], bits.get(name)) for name, each in weights.items()}
    saved = {
        name: nominal[name] if _is_packed(each) else held[name] for name, each in weights.items()
    }
    inside = {id(tensor) for each in weights.values() for tensor in each.tensors}
    others = sum(held_bytes(each) for each in module.parameters() if id(each) not in inside)
    count = sum(each.count for each in weights.values())
    return Stored(
        float(others + sum(saved.values())),
        float(others + sum(nominal.values())),
        8 * sum(nominal.values()) / count if count else 0.0,
        {n: 8 * size / weights[n].count for n, size in held.items() if bits and n not in bits},
    )


def _nominal(matrix: Matrix, held: int, bits: float | None) -> float:
    return held if bits is None else matrix.count * bits / 8


def _is_packed(matrix: Matrix) -> bool:
    """Says whether a matrix is held in the format its bits are noted for, not in a simulation."""
    import torch

    return any(type(tensor.data) is not torch.Tensor for tensor in matrix.tensors)
