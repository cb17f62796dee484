"""A small Llama of transformers as a GGUF file, weights as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

MATRICES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def write_gguf(model: Any, path: Path, kind: GGMLQuantizationType | None = None) -> Path:
    """Writes a `LlamaForCausalLM` without a tokenizer; its layers' matrices in a type of ggml."""
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    values = {name: each.detach().numpy() for name, each in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", values["model.embed_tokens.weight"])
    writer.add_tensor("output.weight", values["lm_head.weight"])
    writer.add_tensor("output_norm.weight", values["model.norm.weight"])
    for layer in range(config.num_hidden_layers):
        for theirs, ours in NORMS.items():
            writer.add_tensor(
                f"blk.{layer}.{ours}.weight", values[f"model.layers.{layer}.{theirs}.weight"]
            )
        for theirs, ours in MATRICES.items():
            value = values[f"model.layers.{layer}.{theirs}.weight"]
            value = _turned(value, heads[ours]) if ours in heads else value
            packed = value if kind is None else quants.quantize(value, kind)
            writer.add_tensor(f"blk.{layer}.{ours}.weight", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _turned(value: np.ndarray, heads: int) -> np.ndarray:
    """Returns rows in GGUF's order: it turns neighbours, transformers the halves of a head."""
    halves = value.reshape(heads, 2, -1, value.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(value.shape))
