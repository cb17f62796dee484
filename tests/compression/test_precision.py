"""bfloat16, and int8 by torchao."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kit import registry
from kit.compression.precision import bf16, torchao_int8


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


def test_torchao_int8_is_a_copy_near_the_original(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = torchao_int8(model)
    inputs = torch.randn(3, 32)
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), model(inputs), atol=0.05, rtol=0.1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert small.stored_bits == {"0.weight": 8 + 32 / 32, "2.weight": 8 + 32 / 16}
    assert registry.schemes.get("torchao_int8").traits["runtimes"] == ("compiled",)
