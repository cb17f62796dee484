"""The grid of packed keys and values, over random numbers, and the layer that holds them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kit.compression.packed import Grid, PackedLayer

GRIDS = st.builds(
    Grid, st.sampled_from([2, 4, 8]), st.sampled_from([8, 16, 32]), st.integers(0, 40)
)


def numbers(seed: int, tokens: int, size: int, away: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    channels = away * torch.randn(1, 2, 1, size, generator=generator)
    return torch.randn(2, 2, tokens, size, generator=generator) + channels


@settings(max_examples=20, deadline=None)
@given(GRIDS, st.integers(0, 999), st.integers(1, 100), st.sampled_from([8, 20, 64]), st.booleans())
def test_an_error_is_half_a_step_at_most(
    grid: Grid, seed: int, tokens: int, size: int, keys: bool
) -> None:
    given = numbers(seed, tokens, size, away=3)
    read = grid.rounded(given, keys=keys)
    count = grid.rounds(tokens)
    assert torch.equal(read[:, :, count:], given[:, :, count:])
    channels = math.gcd(size, grid.group)
    for group in range(count // grid.group):
        rows = slice(group * grid.group, (group + 1) * grid.group)
        for first in range(0, size, 1 if keys else channels):
            block = given[:, :, rows, first : first + (1 if keys else channels)]
            axes = (2,) if keys else (3,)
            spread = block.amax(axes, keepdim=True) - block.amin(axes, keepdim=True)
            half = spread / (2**grid.bits - 1) / 2  # and what half precision takes of the ends
            error = (read[:, :, rows, first : first + block.shape[3]] - block).abs()
            assert (error <= half * 1.001 + 2**-10 * (block.abs().amax() + spread)).all()


@settings(max_examples=20, deadline=None)
@given(GRIDS, st.integers(0, 999), st.integers(1, 100), st.booleans())
def test_what_is_read_back_is_on_the_grid_already(
    grid: Grid, seed: int, tokens: int, keys: bool
) -> None:
    once = grid.rounded(numbers(seed, tokens, 16), keys=keys)
    assert torch.allclose(grid.rounded(once, keys=keys), once, rtol=0, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(GRIDS, st.integers(0, 999), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_a_packed_layer_reads_what_the_grid_says_whatever_the_calls(
    grid: Grid, seed: int, calls: list[int]
) -> None:
    keys, values = numbers(seed, sum(calls), 16, away=3), numbers(seed + 1, sum(calls), 16)
    layer, there = PackedLayer(grid), 0
    for count in calls:
        now = slice(there, there + count)
        read = layer.update(keys[:, :, now], values[:, :, now])
        for found, whole, is_keys in zip(read, (keys, values), (True, False), strict=True):
            before = grid.rounded(whole[:, :, :there], keys=is_keys)
            assert torch.allclose(found, torch.cat([before, whole[:, :, now]], 2), atol=1e-6)
        there += count
    assert layer.get_seq_length() == there
    assert layer.touched == (grid.rounds(there) > 0)


@settings(max_examples=20, deadline=None)
@given(GRIDS, st.integers(0, 200), st.integers(1, 3), st.sampled_from([16, 64]))
def test_its_bytes_are_those_of_the_formula(grid: Grid, tokens: int, rows: int, size: int) -> None:
    layer, heads = PackedLayer(grid), 2
    layer.update(*(torch.randn(rows, heads, tokens, size) for _ in range(2)))
    held: list[Any] = [layer.keys, layer.values, *layer.packed.values()]
    stores = {each.untyped_storage().data_ptr(): each for each in held}
    count = grid.rounds(tokens)
    steps = count // grid.group * size + count * size // math.gcd(size, grid.group)
    codes = 2 * count * size * grid.bits / 8
    formula = rows * heads * (codes + 2 * 2 * steps + 2 * 4 * (tokens - count) * size)
    assert sum(each.untyped_storage().nbytes() for each in stores.values()) == formula


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packing_loses_nothing(bits: int) -> None:
    grid = Grid(bits, 16, 0)
    codes = torch.tensor([*itertools.islice(itertools.cycle(range(2**bits)), 2 * 16 * 12)])
    codes = codes.to(torch.uint8).view(1, 1, 2, 16, 12)
    packed = grid.pack(codes)
    into = torch.empty(1, 1, 32, 12)
    grid.unpack(packed, into)
    assert packed.numel() == codes.numel() * bits // 8
    assert torch.equal(into.view_as(codes), codes.float())


def test_equal_numbers_are_a_group_too() -> None:
    given = torch.full((1, 1, 32, 8), 0.75)
    assert torch.equal(Grid(4, 32, 0).rounded(given, keys=True), given)
