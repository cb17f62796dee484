"""Which weights lie on a grid already, and that the rows of what is rounded again say so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kit.compression.grid import grid_bits, on_grid
from kit.compression.rounding import round as rounded


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("group", [32, 64])
def test_grids_are_told_with_their_bits(bits: int, group: int) -> None:
    """A scale and a smallest value a group, as in GGUF's Q4_1."""
    torch.manual_seed(bits)
    codes = torch.randint(0, 2**bits, (100, 4, group))
    codes[..., 0], codes[..., 1] = 0, 2**bits - 1
    codes[:, :, : 2**bits] = torch.arange(2**bits)
    scale, least = torch.rand(2, 100, 4, 1)
    assert grid_bits((codes * scale - least).reshape(100, -1)) == bits


def test_others_lie_on_none() -> None:
    torch.manual_seed(0)
    weight = torch.randn(100, 256)
    assert grid_bits(weight) is None
    assert grid_bits(weight.bfloat16()) is None
    assert grid_bits(torch.zeros(64, 64)) is None
    assert grid_bits(torch.ones(64, 16)) is None
    nearly = rounded(nn.Linear(256, 100), bits=4, group=32).module.weight.detach().clone()
    assert grid_bits(nearly) == 4
    nearly[0, :32] = weight[0, :32]
    assert grid_bits(nearly) is None


def test_a_note_where_rounding_flatters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    assert on_grid(model, 4) == ()
    model[0] = rounded(model[0], bits=4, group=32).module
    (note,) = on_grid(model, 4)
    assert note.startswith("1 of 2 matrices lay on a grid of 4 bits") and "flatters 4 bits" in note
    assert on_grid(model, 8) and not on_grid(model, 3)
