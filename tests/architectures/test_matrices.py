"""Which parameters of a module are matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kit.architectures.matrices import embeddings, matrices


def layouts(module: nn.Module) -> dict[str, str]:
    return {matrix.name: matrix.layout for matrix in matrices(module)}


class Raw(nn.Module):
    """A parameter of each kind that no layer of torch holds."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.ones(3, 4))
        self.position_embedding = nn.Parameter(torch.ones(1, 8, 4))
        self.bias_table = nn.Parameter(torch.ones(3, 4))
        self.norm_scale = nn.Parameter(torch.ones(3, 4))
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.codes = nn.Parameter(torch.ones(3, 4, dtype=torch.int8), requires_grad=False)


def test_what_is_raw_is_named_but_not_guessed() -> None:
    assert layouts(Raw()) == {"mixing": "", "codes": ""}
    assert [*embeddings(Raw()).values()][0].shape == (1, 8, 4)
    assert layouts(nn.ConvTranspose1d(2, 3, 2)) == layouts(nn.Bilinear(2, 3, 2)) == {"weight": ""}


def test_a_class_of_the_same_name_is_not_taken_for_the_librarys() -> None:
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))

    class Router(Conv1D):
        pass

    assert layouts(Conv1D()) == layouts(Router()) == {"weight": ""}


def test_a_subclass_counts_as_its_parent() -> None:
    class Scaled(nn.Linear):
        pass

    assert layouts(nn.Sequential(Scaled(2, 3))) == {"0.weight": "oi"}


def test_shared_weights_count_once_and_those_of_an_embedding_never() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Embedding(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[3].weight = model[2].weight
    assert layouts(model) == {"0.weight": "oi"}


class PackedLinear(nn.Module):
    """Two weights a byte, as quantizers without a tensor class of their own keep them."""

    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.in_features, self.out_features = 8, 4
        self.register_buffer("qweight", torch.zeros(4, 4, dtype=torch.uint8))
        self.register_buffer("scales", torch.ones(4))
        self.bias = nn.Parameter(torch.zeros(4))


def test_a_packed_layer_counts_the_weights_it_multiplies_by() -> None:
    (matrix,) = matrices(nn.Sequential(PackedLinear()))
    assert (matrix.name, matrix.count, matrix.layout) == ("0.weight", 32, "")
    assert sum(tensor.numel() * tensor.element_size() for tensor in matrix.tensors) == 16 + 16


@pytest.mark.parametrize(
    ("name", "size", "others"),
    [
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 2}, set()),
        ("OpenAIGPT", {"n_embd": 32, "n_layer": 2, "n_head": 2}, set()),
        ("Mixtral", {"num_local_experts": 4}, set()),
        ("Qwen2Moe", {"num_experts": 4, "moe_intermediate_size": 24}, set()),
        ("Llama4Text", {"num_local_experts": 4}, set()),
        ("Funnel", {"d_model": 32, "n_head": 2, "d_head": 16, "block_sizes": [1, 1]}, set()),
        ("XLNet", {"d_model": 32, "n_layer": 2, "n_head": 2}, set()),
        ("DebertaV2", {"conv_kernel_size": 3}, set()),
        ("Reformer", {"attention_head_size": 16, "axial_pos_embds_dim": [16, 16]}, set()),
        ("Mamba", {}, {"layers.0.mixer.A_log"}),
    ],
)
def test_the_models_of_the_library(name: str, size: dict[str, Any], others: set[str]) -> None:
    import transformers

    usual = {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 2, "head_dim": 16}
    usual |= {"num_hidden_layers": 1, "intermediate_size": 40, "num_key_value_heads": 1}
    kind = getattr(transformers, f"{name}Config")
    config = kind(**({} if "n_head" in size else usual), **size, architectures=[f"{name}Model"])
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    found = layouts(model)
    assert {matrix for matrix, layout in found.items() if not layout} == others
    tables = embeddings(model)
    passed = {
        parameter_name
        for parameter_name, parameter in model.named_parameters()
        if sum(length > 1 for length in parameter.shape) > 1 and id(parameter) not in tables
    }
    assert {left for left in passed - set(found) if "bias" not in left} == set()
