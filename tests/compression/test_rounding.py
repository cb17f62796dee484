"""Simulated rounding against a loop that says the same, number by number."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from kit import registry
from kit.compression.rounding import map_linear_weights
from kit.compression.rounding import round as round_weights
from kit.spec import Ref

finite = st.floats(-1e3, 1e3, width=32)
weights = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 20)), elements=finite
)


def naive(weight: np.ndarray, bits: int, group: int | None) -> np.ndarray:
    """Each group of a row: the nearest multiple of its largest value over the levels."""
    out = np.zeros_like(weight)
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], group or weight.shape[1]):
            block = weight[row, start : start + (group or weight.shape[1])]
            scale = np.float32(max(np.abs(block).max(), np.float32(1e-12))) / np.float32(
                2 ** (bits - 1) - 1
            )
            for index, value in enumerate(block):
                out[row, start + index] = np.round(value / scale) * scale
    return out


def linear(weight: np.ndarray) -> nn.Linear:
    module = nn.Linear(weight.shape[1], weight.shape[0])
    module.weight.data = torch.from_numpy(weight.copy())
    return module


@settings(deadline=None, max_examples=60)
@given(weights, st.integers(2, 8), st.sampled_from([None, 8, 16]))
def test_rounding_is_the_naive_loop(weight: np.ndarray, bits: int, group: int | None) -> None:
    module = linear(weight)
    rounded = round_weights(module, bits=bits, group=group).weight.detach().numpy()
    scale = np.abs(weight).max() + 1e-6
    np.testing.assert_allclose(rounded / scale, naive(weight, bits, group) / scale, atol=1e-6)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weight)
    for row in rounded:
        assert group or len(np.unique(row)) <= 2**bits - 1


@settings(deadline=None, max_examples=20)
@given(weights, st.integers(2, 8))
def test_an_error_is_at_most_half_a_step(weight: np.ndarray, bits: int) -> None:
    rounded = round_weights(linear(weight), bits=bits, group=None).weight.detach().numpy()
    step = np.abs(weight).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(rounded - weight) <= step * 0.5001 + 1e-6).all()


class Tied(nn.Module):
    """An output layer that shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.inner = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.output = nn.Linear(8, 10, bias=False)
        self.output.weight = self.embedding.weight


def test_only_linear_weights_change_and_the_old_model_stays() -> None:
    torch.manual_seed(0)
    model = Tied()
    before = copy.deepcopy(model.state_dict())
    rounded = round_weights(model, bits=2, group=None)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    changed = {
        name for name, value in rounded.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"inner.weight"}
    assert rounded.output.weight is rounded.embedding.weight
    assert rounded.stored_bits == {"inner.weight": 2 + 16 / 8}


@pytest.mark.parametrize(("alias", "bits"), [("w8", 8.0), ("w3", 3.0), ("w4g32", 4.5), ("w2", 2)])
def test_bits_count_a_scale_of_16_bits_a_group(alias: str, bits: float) -> None:
    ref = registry.schemes.canonical(alias)
    model = nn.Sequential(nn.Linear(64, 4))
    stored = registry.schemes.get(ref.name).function(model, **ref.args).stored_bits["0.weight"]
    assert stored == (bits if "g" in alias else bits + 16 / 64)
    assert registry.schemes.get("round").traits["simulated"]


def test_a_scheme_of_the_user_by_map() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    signs = map_linear_weights(model, torch.sign, bits=1)
    assert set(signs[0].weight.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert signs.stored_bits == {"0.weight": 1, "2.weight": 1}
    again = map_linear_weights(signs, lambda weight: weight * 2)
    assert again.stored_bits == signs.stored_bits


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0: expected a weight of shape \(4, 8\), got \(8, 4\)"):
        map_linear_weights(nn.Sequential(nn.Linear(8, 4)), lambda weight: weight.T)


def test_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match="round: bits is 9; Input should be less than or equal"):
        registry.schemes.canonical(Ref("round", bits=9))
    with pytest.raises(ValueError, match="round: group is 4; Input should be greater than or"):
        registry.schemes.canonical(Ref("round", group=4))
