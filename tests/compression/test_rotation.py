"""A rotated model is the same function; its weights are others, and lie on no grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from kit.compression.grid import grid_bits
from kit.compression.rotation import orthogonal, rotated
from kit.compression.rounding import round as rounded
from kit.spec.checking import SpecError

IDS = torch.arange(22).reshape(2, 11)


def made(kind: str, **settings: Any) -> Any:
    """A tiny language model of transformers, its norms and biases far from where they start."""
    sizes = {"vocab_size": 61, "hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **heads, **settings})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.copy_(torch.randn_like(parameter))
    return model


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Llama", {"attention_bias": True, "mlp_bias": True}),
        ("Llama", {"tie_word_embeddings": True}),
        ("Mistral", {"sliding_window": 4}),
        ("Qwen2", {}),
        ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    ],
)
def test_the_same_logits(kind: str, settings: dict[str, Any]) -> None:
    model = made(kind, **settings)
    before = logits(model)
    turned: Any = rotated(model)
    assert torch.equal(logits(model), before)
    assert before.std() > 0.5
    assert (logits(turned) - before).abs().max() < 1e-4
    for name in ("q_proj", "o_proj"):
        old, new = (getattr(m.model.layers[1].self_attn, name).weight for m in (model, turned))
        assert (old - new).abs().max() > 0.1
    assert (turned.model.embed_tokens.weight - model.model.embed_tokens.weight).abs().max() > 0.1
    tied = turned.lm_head.weight is turned.model.embed_tokens.weight
    assert tied == settings.get("tie_word_embeddings", False)
    again = rotated(model, seed=1)
    assert (logits(again) - before).abs().max() < 1e-4
    assert not torch.equal(again.lm_head.weight, turned.lm_head.weight)
    assert torch.equal(rotated(model).lm_head.weight, turned.lm_head.weight)
    twice = rotated(turned)
    assert (logits(twice) - before).abs().max() < 1e-4


@pytest.mark.parametrize("size", [1, 2, 9, 12, 64, 576])
def test_rotations_are_orthogonal_and_mix_everything(size: int) -> None:
    found = orthogonal(size, 3)
    assert np.abs(found @ found.T - np.eye(size)).max() < 1e-12
    assert size == 1 or np.abs(found).max() < 1
    assert (np.abs(found) > 0).all()


def test_weights_leave_their_grid() -> None:
    """Rounding again what has been rounded changes nothing, until it is rotated."""
    model = rounded(made("Llama"), bits=4, group=32).module
    again = rounded(model, bits=4, group=32)
    before = logits(model)
    assert (logits(again.module) - before).abs().max() < 1e-4
    (note,) = again.notes
    assert note.startswith("15 of 15 matrices lay on a grid of 4 bits before they were rounded")
    turned: Any = rotated(model)
    layer = turned.model.layers[0]
    for linear in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp.down_proj):
        assert grid_bits(linear.weight) is None
    assert (logits(turned) - before).abs().max() < 1e-4
    after = rounded(turned, bits=4, group=32)
    assert after.notes == ()
    assert (logits(after.module) - before).abs().max() > 0.1


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Linear(4, 4), "rotated: a Linear model's stream .*; expected one of llama, mistral"),
        (made("Olmo2"), "rotated: a olmo2 model's stream"),
    ],
)
def test_other_models_are_refused(model: nn.Module, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        rotated(model)


def test_other_parts_are_refused() -> None:
    model = made("Llama")
    model.model.layers[1].extra = nn.Linear(2, 2)
    with pytest.raises(SpecError, match="has the part extra in layer 1; expected layers of"):
        rotated(model)
    model = made("Llama")
    model.model.layers[0].mlp.up_proj = nn.Identity()
    with pytest.raises(SpecError, match="no linear layer mlp.up_proj in layer 0"):
        rotated(model)
    del model.model.norm
    with pytest.raises(SpecError, match="no part norm"):
        rotated(model)
