"""The bytes of a cache by formula, beside what sessions allocate."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from kit.architectures.states import attention_bytes, cache_layers, state_bytes
from kit.runtimes.decoding import session_of
from kit.spec.checking import Undefined

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MAMBA = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_chunk_size": 16,
}
OTHERS: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64, "head_dim": 8},
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
}
ATTENTION = ("gpt2", "llama", "mistral", "gemma3_text")
LATENT, SINGLE = ("deepseek_v3",), ("gpt_bigcode", "falcon")
HYBRID = ("jamba", "qwen3_next", *OTHERS)
RECURRENT = ("mamba", "mamba2")


def tiny(name: str, **settings: Any) -> Any:
    """Returns a small model of transformers."""
    if name in OTHERS:
        config = AutoConfig.for_model(name, **{**SMALL, **OTHERS[name]})
    else:
        config = tiny_models.configuration(name)
    for key, value in settings.items():
        setattr(config, key, value)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", [*ATTENTION, *LATENT, *SINGLE, *HYBRID, *RECURRENT])
def test_a_session_allocates_what_the_model_says(name: str) -> None:
    module = tiny(name)
    session = session_of(module)
    for context in (1, 7, 33):
        _, state = session.prefill(torch.full((1, context), 5))  # type: ignore[attr-defined]
        said = state_bytes(module, context)
        assert session.bytes(state) == said > 0  # type: ignore[attr-defined]
        assert session.bytes(session.fork(state, 3)) == 3 * said  # type: ignore[attr-defined]


def test_the_formula_of_attention() -> None:
    for name in ATTENTION:
        module = tiny(name)
        for context in (1, 7, 33):
            assert attention_bytes(module.config, context) == state_bytes(module, context)
    llama = tiny("llama").bfloat16()
    assert state_bytes(llama, 9) == attention_bytes(llama.config, 9, itemsize=2)
    assert attention_bytes(llama.config, 9, batch=5) == 5 * 2 * 2 * 2 * 16 * 9 * 4


def test_a_formula_by_heads_is_wrong_where_heads_are_latent() -> None:
    module = tiny("deepseek_v3")
    latent = module.config.kv_lora_rank + module.config.qk_rope_head_dim  # one for all heads
    assert state_bytes(module, 10) == 2 * latent * 10 * 4  # of two layers
    assert attention_bytes(module.config, 10) != state_bytes(module, 10)


def test_layers_are_told_apart() -> None:
    sliding, full, _ = cache_layers(tiny("gemma3_text"))
    assert sliding.token == full.token
    assert (sliding.most, full.most) == (15, float("inf"))
    recurrent, attention, _ = cache_layers(tiny("jamba"))
    assert recurrent.fixed > 0 == recurrent.token
    assert attention.token > 0 == attention.fixed


def test_a_recurrence_outside_of_transformers_caches() -> None:
    rwkv = tiny("rwkv")
    assert state_bytes(rwkv, 3) == state_bytes(rwkv, 40) == 5 * 32 * 2 * 4


def test_a_model_that_keeps_nothing_is_told() -> None:
    with pytest.raises(Undefined, match="OpenAIGPTLMHeadModel gives no cache"):
        state_bytes(tiny("openai-gpt"), 10)
