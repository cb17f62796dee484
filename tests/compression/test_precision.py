"""bfloat16, float16, and int8 by torchao."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kit.compression.precision import bf16, fp16, torchao_int8, torchao_int8_weights
from kit.compression.stored import stored
from kit.spec import registry


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def test_bf16_is_a_copy_with_half_the_bytes(model: nn.Module) -> None:
    small = bf16(model)
    assert {parameter.dtype for parameter in small.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    inputs = torch.randn(3, 32)
    torch.testing.assert_close(small(inputs.bfloat16()).float(), model(inputs), atol=0.05, rtol=0.1)
    assert registry.schemes.get("bf16").traits["dtype"] == "bfloat16"


def test_fp16_is_a_copy_with_half_the_bytes_and_a_finer_grain(model: nn.Module) -> None:
    small = fp16(model)
    assert {parameter.dtype for parameter in small.parameters()} == {torch.float16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    inputs = torch.randn(3, 32)
    torch.testing.assert_close(small(inputs.half()).float(), model(inputs), atol=3e-3, rtol=1e-2)
    assert stored(small, {}).disk_bytes * 2 == stored(model, {}).disk_bytes
    assert registry.schemes.get("fp16").traits["runtimes"] == ("eager", "compiled")


@pytest.mark.parametrize("scheme", [bf16, fp16])
@pytest.mark.parametrize("name", ["Bert", "Llama"])
def test_half_precision_runs_in_models_of_the_library(name: str, scheme: Any) -> None:
    import transformers

    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(vocab_size=48, intermediate_size=40, **size)
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    inputs = {
        "input_ids": torch.arange(1, 13).view(2, 6),
        "attention_mask": torch.ones(2, 6).long(),
    }
    with torch.no_grad():
        exact, found = model(**inputs).logits, scheme(model)(**inputs).logits
    tolerance = registry.schemes.get(scheme.__name__).traits["tolerance"]
    assert found.dtype != exact.dtype
    assert (found.float() - exact).abs().max() <= tolerance * exact.abs().max()


def test_int8_weights_are_the_nearest_of_255_levels_a_row(model: nn.Module) -> None:
    compressed = torchao_int8_weights(model)
    for place in ("0", "2"):
        given = model.get_submodule(place).weight
        found = compressed.module.get_submodule(place).weight.dequantize()
        step = given.abs().amax(1, keepdim=True) / 127
        assert ((found - given).abs() <= 0.51 * step).all() and not torch.equal(found, given)
    inputs = torch.randn(3, 32)
    with torch.no_grad():  # nothing but the weights is rounded
        twice = compressed.module(torch.cat([inputs, 1000 * inputs]))
        torch.testing.assert_close(twice[:3], compressed.module(inputs))
    found = stored(compressed.module, compressed.bits)
    assert 8 < found.bits_per_weight < 17  # scales included


def test_torchao_int8_is_a_copy_near_the_original(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compressed = torchao_int8(model)
    small = compressed.module
    inputs = torch.randn(3, 32)
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), model(inputs), atol=0.05, rtol=0.1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert compressed.bits == {"0.weight": 8 + 32 / 32, "2.weight": 8 + 32 / 16}
    assert registry.schemes.get("torchao_int8").traits["runtimes"] == ("compiled",)
