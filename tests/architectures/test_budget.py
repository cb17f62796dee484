from __future__ import annotations

import pytest
import torch
from torch import nn

from kit.architectures.budget import count_parameters, flops_per_token, solve_width
from kit.architectures.model import make_model
from kit.architectures.states import state_bytes
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Budget


@pytest.mark.parametrize("parameters", [30_000, 1_000_000, 7_000_000])
@pytest.mark.parametrize("name", ["llama", "lfm2", "lstm"])
def test_within_three_percent(name: str, parameters: int) -> None:
    ref = solve_width(Ref(name), Budget(parameters=parameters), 256)
    with torch.device("meta"):
        _, size = count_parameters(make_model(ref, None, seed=0).module)
    assert abs(size / parameters - 1) <= 0.03
    assert solve_width(ref, Budget(parameters=parameters), 256) == ref


def test_what_is_fixed_stays() -> None:
    ref = solve_width(Ref("llama", width=64, depth=3), Budget(parameters=200_000), 256)
    assert (ref.args["width"], ref.args["depth"]) == (64, 3)
    assert ref.args["feed_forward"] > 64
    for name in ("ngram", "minilm", "majority"):
        assert "width" not in solve_width(Ref(name), Budget(parameters=1_000), 256).args
    assert "width" not in solve_width(Ref("llama"), Budget(tokens=1_000), 256).args


@pytest.mark.parametrize(
    ("ref", "parameters"),
    [(Ref("llama", width=256), 1_000), (Ref("lstm", width=8), 5_000_000), (Ref("llama"), 100)],
)
def test_out_of_reach(ref: Ref, parameters: int) -> None:
    with pytest.raises(SpecError, match=f"nearest to the budget of {parameters:,}"):
        solve_width(ref, Budget(parameters=parameters), 256)


def test_embeddings_are_left_out() -> None:
    body = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50))
    assert count_parameters(body) == (50 * 8 + 72 + 450, 72)
    body[2].weight = body[0].weight
    assert count_parameters(body) == (50 * 8 + 72 + 50, 72)


def test_flops_are_the_products() -> None:
    ids = torch.zeros(2, 10, dtype=torch.int64)
    lstm = make_model(Ref("lstm", width=8), None, seed=0).module
    expected = 2 * (2 * 8 * 8 * 8 + 8 * 256)
    assert flops_per_token(lstm, {"input_ids": ids}) == expected
    llama = make_model(Ref("llama", width=16, depth=1, feed_forward=24), None, seed=0).module
    matrices = 2 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 24 + 16 * 256)
    attention = 2 * 2 * 16 * 10  # scores and mixed values, over the whole square
    got = flops_per_token(llama, {"input_ids": ids})
    assert got - matrices - attention == pytest.approx(0, abs=100)  # the rotary angles
    with pytest.raises(Undefined, match="no operation"):
        flops_per_token(make_model(Ref("ngram"), None, seed=0).module, {"input_ids": ids})


def test_flops_of_a_mixture_are_those_of_the_experts_that_run() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 48}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    model = MixtralForCausalLM(MixtralConfig(**size, **heads, num_local_experts=4, use_cache=False))
    before = model.get_experts_implementation()
    attention = 2 * (2 * 32 * 32 + 2 * 32 * 16) + 2 * 2 * 32 * 8  # over 8 tokens
    experts = 2 * (2 * 3 * 32 * 64)  # two of four run
    expected = attention + 2 * 32 * 4 + experts + 2 * 32 * 48
    ids = torch.arange(8).view(1, 8)
    got = flops_per_token(model, {"input_ids": ids})
    assert got - expected == pytest.approx(0, abs=100)  # the rotary angles
    assert model.get_experts_implementation() == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_flops_where_a_layer_is_given_a_parameter() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(8, 8)
            self.layer = nn.Linear(8, 8)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.table(input_ids) @ self.layer(self.table.weight).T

    found = flops_per_token(Positions(), {"input_ids": torch.zeros(1, 8, dtype=torch.int64)})
    assert found == 2 * 8 * 8 + 2 * 8 * 8


def test_tables_that_are_no_embedding_layer_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(8, 8))
    module.position_embeddings = nn.Parameter(torch.zeros(1, 20, 8))
    assert count_parameters(module) == (160 + 72, 72)


def test_a_packed_layer_has_the_parameters_it_multiplies_by() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = 8, 4
            self.register_buffer("qweight", torch.zeros(4, 4, dtype=torch.uint8))
            self.scales = nn.Parameter(torch.ones(4))

    assert count_parameters(nn.Sequential(Packed(), nn.Linear(4, 2))) == (32 + 10, 32 + 10)


def test_state_that_is_not_known() -> None:
    with pytest.raises(Undefined, match="no method state_bytes"):
        state_bytes(nn.Linear(2, 2), 10)
