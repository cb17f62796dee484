"""Bits of weights: as noted, as held, and what was left."""

from __future__ import annotations

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from kit.compression.precision import torchao_int8
from kit.compression.rounding import map_linear_weights
from kit.compression.rounding import round as round_weights
from kit.compression.stored import Compressed, Stored, held_bytes, merged, stored


class Mixed(nn.Module):
    """An embedding, a linear layer, and a matrix whose layout nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.layer = nn.Linear(8, 6)
        self.first = nn.Parameter(torch.ones(4, 3))
        self.second = nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))


def counted(compressed: Compressed) -> Stored:
    return stored(compressed.module, compressed.bits)


def test_without_a_scheme_everything_is_as_held() -> None:
    found = stored(Mixed(), {})
    assert found.disk_bytes == found.nominal_bytes == 4 * (80 + 48 + 6 + 12) + 2 * 12
    assert found.bits_per_weight == (32 * 60 + 16 * 12) / 72
    assert found.notes == []


def test_what_a_scheme_left_is_named_at_its_true_bits() -> None:
    found = counted(round_weights(Mixed(), bits=4))
    bits = 48 * (4 + 16 / 8)
    assert found.bits_per_weight == (bits + 32 * 12 + 16 * 12) / 72
    assert found.nominal_bytes == 4 * (80 + 6 + 12) + 2 * 12 + bits / 8
    assert found.disk_bytes == 4 * (80 + 48 + 6 + 12) + 2 * 12
    assert found.left == {"first": 32, "second": 16}
    assert found.notes == ["not compressed, at 16 to 32 bits: first and 1 more"]


def test_a_scheme_that_tells_no_bits_has_left_nothing_it_changed() -> None:
    found = counted(map_linear_weights(nn.Sequential(nn.Linear(8, 6)), torch.relu))
    assert (found.bits_per_weight, found.notes) == (32, [])


def test_torchao_leaves_what_is_no_linear_layer() -> None:
    torch.manual_seed(0)
    found = counted(torchao_int8(nn.Sequential(nn.Linear(32, 16), Conv1D(4, 16))))
    bits = 512 * (8 + 32 / 32)
    assert found.bits_per_weight == (bits + 32 * 64) / (512 + 64)
    assert found.disk_bytes == found.nominal_bytes == bits / 8 + 4 * (16 + 64 + 4)
    assert found.notes == ["not compressed, at 32 bits: 1.weight"]


def test_a_quantized_tensor_counts_what_it_holds() -> None:
    model = torchao_int8(nn.Sequential(nn.Linear(32, 16, bias=False))).module
    codes, scales, zero_points = 32 * 16, 4 * 16, 16
    assert held_bytes(model[0].weight) == codes + scales + zero_points
    found = stored(model, {})  # as transformers loads a quantized checkpoint
    assert found.disk_bytes == found.nominal_bytes == codes + scales + zero_points
    assert found.bits_per_weight == 8 * (codes + scales + zero_points) / (32 * 16)
    again = counted(round_weights(nn.Sequential(model, nn.Linear(16, 4)), bits=4))
    assert again.notes == ["not compressed, at 9.25 bits: 0.0.weight"]


def test_bits_of_several_schemes_add_up() -> None:
    first = {"weight": 4.0}
    assert merged(first, {"weight": None, "other": None}) == {"weight": 4.0, "other": None}
    assert merged(first, {"weight": 3.0}) == {"weight": 3.0}
    assert merged(first, {}) == first
