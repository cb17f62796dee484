"""Do weights lie on a grid already, as those of a checkpoint that was quantized do?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kit.architectures.matrices import matrices

if TYPE_CHECKING:
    from torch import Tensor, nn

GROUP = 32
"""Inputs that share a scale in the finest of usual formats; a coarser grid is seen in them too."""
MOST_BITS = 4
"""Of a grid that can be told: a group of 32 weights has no more than 32 values by itself."""
ROWS = 64
"""Of a matrix that are looked at: the chance that no group of them betrays real numbers is none."""


def grid_bits(weight: Tensor) -> int | None:
    """Returns the bits of the grid on which a matrix [out, in] lies; None where on none.

    It lies on a grid of b bits where no group of 32 inputs has more than 2^b different values.
    Rows at even distances are looked at, the rest of inputs that fill no group is not.

    Args:
        weight: of any floating dtype.
    """
    rows, columns = weight.shape
    chosen = weight[:: math.ceil(rows / ROWS), : columns - columns % GROUP]
    if not chosen.numel():
        return None
    ordered = chosen.reshape(-1, GROUP).sort(dim=-1).values
    values = 1 + int((ordered.diff(dim=-1) != 0).sum(dim=-1).max())
    bits = math.ceil(math.log2(values))
    return bits if 0 < bits <= MOST_BITS else None  # 0: a constant, such as a matrix of zeros


def on_grid(model: nn.Module, bits: int) -> tuple[str, ...]:
    """Returns a note where rounding to so many bits flatters: matrices lie on such a grid already.

    Args:
        model: before it is rounded.
        bits: that its matrices are to have.
    """
    known = [found for found in matrices(model) if found.layout]
    each = [grid_bits(values) for matrix in known for values in matrix.values()]
    there = [found for found in each if found is not None and found <= bits]
    if not there:
        return ()
    return (
        f"{len(there)} of {len(each)} matrices lay on a grid of {max(there)} bits before they were "
        f"rounded (no more than {2 ** max(there)} values in a group of {GROUP}): this flatters "
        f"{bits} bits; the scheme `rotated` before it takes them off the grid",
    )
