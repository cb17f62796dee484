"""Simulated rounding against a loop that says the same, number by number."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from kit.compression.rounding import map_linear_weights
from kit.compression.rounding import round as round_weights
from kit.compression.stored import merged
from kit.spec import registry
from kit.spec.ref import Ref

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
    rounded = round_weights(module, bits=bits, group=group).module.weight.detach().numpy()
    scale = np.abs(weight).max() + 1e-6
    np.testing.assert_allclose(rounded / scale, naive(weight, bits, group) / scale, atol=1e-6)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weight)
    for row in rounded:
        assert group or len(np.unique(row)) <= 2**bits - 1


@settings(deadline=None, max_examples=20)
@given(weights, st.integers(2, 8))
def test_an_error_is_at_most_half_a_step(weight: np.ndarray, bits: int) -> None:
    rounded = round_weights(linear(weight), bits=bits, group=None).module.weight.detach().numpy()
    step = np.abs(weight).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(rounded - weight) <= step * 0.5001 + 1e-6).all()


Rows = dict[str, Iterator[tuple[Any, ...]]]
"""Name of a parameter -> an index for each output: that of all the weights it is made with."""
every = slice(None)


def first(count: int) -> Iterator[tuple[Any, ...]]:
    """The first dimension counts the outputs."""
    return ((output,) for output in range(count))


def mixtral() -> tuple[nn.Module, Rows]:
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(hidden_size=6, intermediate_size=5, num_local_experts=3)
    return MixtralSparseMoeBlock(config), {
        "gate.weight": first(3),
        "experts.gate_up_proj": product(range(3), range(10)),
        "experts.down_proj": product(range(3), range(6)),
    }


def gpt_oss() -> tuple[nn.Module, Rows]:
    from transformers import GptOssConfig
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

    config = GptOssConfig(hidden_size=6, intermediate_size=5, num_local_experts=3)
    return GptOssExperts(config), {
        "gate_up_proj": product(range(3), [every], range(10)),
        "down_proj": product(range(3), [every], range(6)),
    }


def xlnet() -> tuple[nn.Module, Rows]:
    from transformers import XLNetConfig
    from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

    heads = {name: product([every], range(2), range(3)) for name in "qkvr"}
    return XLNetRelativeAttention(XLNetConfig(d_model=6, n_head=2)), {**heads, "o": first(6)}


def conv1d() -> tuple[nn.Module, Rows]:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(4, 9), {"weight": product([every], range(4))}


def attention() -> tuple[nn.Module, Rows]:
    module = nn.MultiheadAttention(6, 2, kdim=4, vdim=5)
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
    return module, {name: first(6) for name in names}


LAYERS: dict[str, Callable[[], tuple[nn.Module, Rows]]] = {
    "Linear": lambda: (nn.Linear(9, 4), {"weight": first(4)}),
    "Conv1D": conv1d,
    "Conv1d": lambda: (nn.Conv1d(4, 6, 3, groups=2), {"weight": first(6)}),
    "Conv2d": lambda: (nn.Conv2d(3, 5, (2, 3)), {"weight": first(5)}),
    "LSTM": lambda: (
        nn.LSTM(3, 4, proj_size=2),
        {"weight_ih_l0": first(16), "weight_hh_l0": first(16), "weight_hr_l0": first(2)},
    ),
    "GRUCell": lambda: (nn.GRUCell(3, 4), {"weight_ih": first(12), "weight_hh": first(12)}),
    "attention": lambda: (
        nn.MultiheadAttention(6, 2),
        {"in_proj_weight": first(18), "out_proj.weight": first(6)},
    ),
    "attention of three widths": attention,
    "Mixtral": mixtral,
    "gpt-oss": gpt_oss,
    "XLNet": xlnet,
}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(LAYERS)),
    st.integers(2, 8),
    st.sampled_from([None, 8]),
    st.integers(0, 2**32 - 1),
)
def test_every_layer_is_rounded_output_by_output(
    layer: str, bits: int, group: int | None, seed: int
) -> None:
    module, rows = LAYERS[layer]()
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    rounded = round_weights(module, bits=bits, group=group)
    expected = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    for name, indices in rows.items():
        for index in indices:
            row = expected[name][index]
            expected[name][index] = naive(row.reshape(1, -1), bits, group).reshape(row.shape)
    for name, value in rounded.module.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[name], atol=1e-5, err_msg=name)
    assert set(rounded.bits) == set(rows)


def before(weight: torch.Tensor, bits: int, group: int | None) -> torch.Tensor:
    """The formula that made the published tables, for a weight whose outputs come first."""
    given = weight.detach().flatten(1)
    size = group or given.shape[1]
    padded = nn.functional.pad(given, (0, -given.shape[1] % size))
    blocks = padded.reshape(len(given), -1, size)
    scale = blocks.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
    values = ((blocks / scale).round() * scale).reshape(len(given), -1)
    return values[:, : given.shape[1]].reshape(weight.shape)


@pytest.mark.parametrize(("bits", "group"), [(8, None), (3, None), (4, 32)])
def test_linear_layers_and_convolutions_round_to_the_same_bits_as_ever(
    bits: int, group: int | None
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(72, 4))
    rounded = round_weights(model, bits=bits, group=group)
    for at in (0, 3):
        assert torch.equal(rounded.module[at].weight, before(model[at].weight, bits, group))
    sizes = {"0.weight": 27, "3.weight": 72}
    assert rounded.bits == {n: bits + 16 / (group or size) for n, size in sizes.items()}


def test_a_rounded_lstm_computes_with_the_rounded_weights() -> None:
    torch.manual_seed(0)
    lstm, inputs = nn.LSTM(3, 4), torch.randn(5, 1, 3)
    rounded = round_weights(lstm, bits=2).module
    fresh = nn.LSTM(3, 4)
    fresh.load_state_dict(rounded.state_dict())
    torch.testing.assert_close(rounded(inputs)[0], fresh(inputs)[0])
    assert not torch.allclose(rounded(inputs)[0], lstm(inputs)[0], atol=1e-3)


def test_bits_of_a_stack_are_the_mean_of_its_matrices() -> None:
    block, _ = mixtral()
    shares = map_linear_weights(block, lambda weight: weight, bits=len)
    assert shares.bits["experts.gate_up_proj"] == 10
    halved = map_linear_weights(block, lambda weight: weight * (weight > 0))
    assert set(halved.bits.values()) == {None}
    assert float((halved.module.experts.down_proj != 0).float().mean()) < 1


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
    compressed = round_weights(model, bits=2, group=None)
    rounded = compressed.module
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    changed = {
        name for name, value in rounded.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"inner.weight"}
    assert rounded.output.weight is rounded.embedding.weight
    assert compressed.bits == {"inner.weight": 2 + 16 / 8}


@pytest.mark.parametrize(("alias", "bits"), [("w8", 8.0), ("w3", 3.0), ("w4g32", 4.5), ("w2", 2)])
def test_bits_count_a_scale_of_16_bits_a_group(alias: str, bits: float) -> None:
    ref = registry.schemes.canonical(alias)
    model = nn.Sequential(nn.Linear(64, 4))
    stored = registry.schemes.get(ref.name).function(model, **ref.args).bits["0.weight"]
    assert stored == (bits if "g" in alias else bits + 16 / 64)
    assert registry.schemes.get("round").traits["simulated"]


def test_a_scheme_of_the_user_by_map() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    signs = map_linear_weights(model, torch.sign, bits=1)
    assert set(signs.module[0].weight.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert signs.bits == {"0.weight": 1, "2.weight": 1}
    again = map_linear_weights(signs.module, lambda weight: weight * 2)
    assert merged(signs.bits, again.bits) == signs.bits


def test_another_shape_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"0\.weight: expected a weight of shape \(4, 8\), got \(8, 4\)"
    ):
        map_linear_weights(nn.Sequential(nn.Linear(8, 4)), lambda weight: weight.T)


def test_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match="round: bits is 9; Input should be less than or equal"):
        registry.schemes.canonical(Ref("round", bits=9))
    with pytest.raises(ValueError, match="round: group is 4; Input should be greater than or"):
        registry.schemes.canonical(Ref("round", group=4))
