"""What the weights of a GGUF file take."""

from __future__ import annotations

from pathlib import Path

from kit.compression.stored import Stored, size_of

TABLES = ("token_embd", "token_types", "position_embd")
"""How the names of tensors begin that are looked up; one of words may be the last layer too."""


def stored_gguf(path: Path, *, compressed: bool) -> Stored:
    """Returns what the matrices of a file take, scales included.

    A tensor of two dimensions and more is a matrix, but for tables that are looked up.

    Args:
        path: the file.
        compressed: a scheme has made it, so that matrices in 16 bits and more were left.
    """
    from gguf import GGUFReader

    held = {
        each.name: (int(each.n_elements), 8 * int(each.n_bytes))
        for each in GGUFReader(path).tensors
        if len(each.shape) > 1 and not each.name.startswith(TABLES)
    }
    total = sum(count for count, _ in held.values())
    mean = sum(bits for _, bits in held.values()) / total if total else 0.0
    left = {name: bits / count for name, (count, bits) in held.items() if bits >= 16 * count}
    size = size_of(path)
    return Stored(size, size, mean, left if compressed else {})
