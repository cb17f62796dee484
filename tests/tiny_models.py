"""Small configurations of transformers' architectures, one entry each, in one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import transformers
from reading import READINGS

Head = Literal["classifier", "causal"]

LABELS = ("pos", "neg")
"""Of every classifier, in another order than the task's, which sorts them."""

WORDS = [f"w{number:02}" for number in range(80)]

SIZE = 32
SMALL = {
    **dict.fromkeys(["hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"], SIZE),
    **dict.fromkeys(["intermediate_size", "hidden_dim", "d_ff", "d_inner", "ffn_dim"], 2 * SIZE),
    **dict.fromkeys(["encoder_ffn_dim", "decoder_ffn_dim", "feed_forward_size", "dff"], 2 * SIZE),
    **dict.fromkeys(["num_hidden_layers", "n_layers", "n_layer", "num_layers"], 2),
    **dict.fromkeys(["encoder_layers", "decoder_layers", "num_decoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_heads", "n_head", "num_heads", "num_kv_heads"], 2),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads"], 2),
    **dict.fromkeys(["num_key_value_heads", "num_experts_per_tok"], 2),
    **dict.fromkeys(["head_dim", "d_head", "d_kv", "attention_head_size"], SIZE // 2),
    **dict.fromkeys(["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"], SIZE // 4),
    **dict.fromkeys(["kv_lora_rank", "q_lora_rank", "moe_intermediate_size"], SIZE // 2),
    **dict.fromkeys(["shared_expert_intermediate_size", "word_embed_proj_dim"], SIZE),
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["initializer_range", "init_std", "embed_init_std", "initializer_factor"], 0.5),
    **dict.fromkeys(["max_position_embeddings", "n_positions"], 512),
}
"""Small values of the names that configurations give their sizes; each takes those it knows."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        reading: its tokenizer's special tokens, a name in `reading.READINGS`.
        settings: of its configuration, where `SMALL` does not do.
        model_type: by transformers' name, where it is not the entry's own.
    """

    reading: str = "bert"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model_type: str | None = None

    @property
    def causal(self) -> bool:
        """Says whether it is a decoder, which has a causal language model's head too."""
        return self.reading in ("gpt", "llama", "qwen")


def _is(reading: str, model_type: str | None = None, **settings: Any) -> Architecture:
    return Architecture(reading, settings, model_type)


MODELS: dict[str, Architecture] = {
    # encoders
    "albert": _is("bert"),
    "bert": _is("bert"),
    "big_bird": _is("bert"),
    "camembert": _is("roberta", max_position_embeddings=514),
    "canine": _is("bert", num_hash_buckets=64),
    "convbert": _is("bert"),
    "data2vec-text": _is("roberta", max_position_embeddings=514),
    "deberta": _is("bert"),
    "deberta_relative": _is(
        "bert", "deberta", relative_attention=True, pos_att_type=["c2p", "p2c"], type_vocab_size=0
    ),
    "deberta-v2": _is(
        "bert",
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
    ),
    "distilbert": _is("bert"),
    "electra": _is("bert"),
    "ernie": _is("bert"),
    "esm": _is("bert", position_embedding_type="rotary"),
    "eurobert": _is("roberta"),
    "flaubert": _is("xlm"),
    "fnet": _is("bert"),
    "funnel": _is("funnel", block_sizes=[1, 1]),
    "gte": _is("bert"),
    "ibert": _is("roberta", max_position_embeddings=514),
    "jina_embeddings_v3": _is("roberta", max_position_embeddings=514),
    "layoutlm": _is("bert"),
    "longformer": _is("roberta", max_position_embeddings=514, attention_window=8),
    "megatron-bert": _is("bert"),
    "mobilebert": _is("bert", intra_bottleneck_size=SIZE, true_hidden_size=SIZE),
    "modernbert": _is("bert", cls_token_id=2, sep_token_id=3, local_attention=8),
    "mpnet": _is("roberta", max_position_embeddings=514),
    "nomic_bert": _is("bert"),
    "nystromformer": _is("bert"),
    "reformer": _is(
        "t5",
        attn_layers=["local", "lsh"],
        axial_pos_shape=[16, 32],
        axial_pos_embds_dim=[8, 24],
        local_attn_chunk_length=8,
        lsh_attn_chunk_length=8,
        num_buckets=4,
        hash_seed=0,
    ),
    "rembert": _is("bert", input_embedding_size=SIZE, output_embedding_size=SIZE),
    "roberta": _is("roberta", max_position_embeddings=514),
    "roberta-prelayernorm": _is("roberta", max_position_embeddings=514),
    "roformer": _is("bert"),
    "squeezebert": _is("bert"),
    "xlm": _is("xlm"),
    "xlm-roberta": _is("roberta", max_position_embeddings=514),
    "xlm-roberta-xl": _is("roberta", max_position_embeddings=514),
    "xlnet": _is("xlnet"),
    "xmod": _is("roberta", max_position_embeddings=514, default_language="en_XX"),
    "yoso": _is("bert", use_expectation=True),
    # encoder and decoder
    "bart": _is("roberta", decoder_start_token_id=2),
    "bigbird_pegasus": _is("t5", decoder_start_token_id=0, attention_type="original_full"),
    "mbart": _is("roberta", decoder_start_token_id=2),
    "mt5": _is("t5"),
    "mvp": _is("roberta", decoder_start_token_id=2),
    "plbart": _is("roberta", decoder_start_token_id=2),
    "t5": _is("t5", decoder_start_token_id=0),
    "umt5": _is("t5"),
    # decoders
    "arcee": _is("llama"),
    "biogpt": _is("gpt"),
    "bloom": _is("llama"),
    "ctrl": _is("gpt"),
    "deepseek_v2": _is("llama", n_group=1, topk_group=1),
    "deepseek_v3": _is("llama", n_group=1, topk_group=1, first_k_dense_replace=1),
    "diffllama": _is("llama"),
    "doge": _is("llama"),
    "exaone4": _is("llama"),
    "falcon": _is("gpt"),
    "falcon_alibi": _is("gpt", "falcon", alibi=True),
    "gemma": _is("llama"),
    "gemma2": _is("llama", sliding_window=16),
    "gemma3_text": _is(
        "llama", sliding_window=16, layer_types=["sliding_attention", "full_attention"]
    ),
    "glm": _is("llama"),
    "glm4": _is("llama"),
    "gpt2": _is("gpt"),
    "gpt_bigcode": _is("gpt"),
    "gpt_neo": _is("gpt", attention_types=[[["global", "local"], 1]], window_size=8),
    "gpt_neox": _is("gpt"),
    "gpt_oss": _is("llama"),
    "gptj": _is("gpt", rotary_dim=8),
    "helium": _is("llama"),
    "hunyuan_v1_dense": _is("llama"),
    "hunyuan_v1_moe": _is("llama", moe_topk=2),
    "jamba": _is("llama", attn_layer_period=2, attn_layer_offset=1, use_mamba_kernels=False),
    "jetmoe": _is("llama"),
    "llama": _is("llama"),
    "minimax": _is("llama"),
    "ministral": _is("llama"),
    "mistral": _is("llama", sliding_window=8),
    "mixtral": _is("llama"),
    "modernbert-decoder": _is("gpt"),
    "mpt": _is("gpt"),
    "nemotron": _is("llama"),
    "olmo": _is("gpt"),
    "olmo2": _is("gpt"),
    "olmo3": _is("gpt"),
    "openai-gpt": _is("gpt"),
    "opt": _is("llama"),
    "persimmon": _is("llama"),
    "phi": _is("gpt"),
    "phi3": _is("llama"),
    "phimoe": _is("llama"),
    "qwen2": _is("qwen"),
    "qwen2_moe": _is("gpt"),
    "qwen3": _is("gpt"),
    "qwen3_moe": _is("gpt"),
    "qwen3_5_text": _is("gpt", layer_types=["linear_attention", "full_attention"]),
    "qwen3_next": _is("gpt", layer_types=["linear_attention", "full_attention"]),
    "seed_oss": _is("llama"),
    "smollm3": _is("llama"),
    "stablelm": _is("gpt"),
    "starcoder2": _is("gpt"),
    # without a classifier's head
    "mamba": _is("gpt"),
    "mamba2": _is("gpt", num_heads=4, n_groups=1, state_size=8, chunk_size=8),
    "olmoe": _is("gpt"),
    "rwkv": _is("gpt", attention_hidden_size=SIZE),
}


def has(name: str, head: Head) -> bool:
    """Says whether transformers has a model of this head."""
    return MODELS[name].causal if head == "causal" else _type(name) in _classifiers()


def _type(name: str) -> str:
    return MODELS[name].model_type or name


def _classifiers() -> Mapping[str, str]:
    from transformers.models.auto import modeling_auto

    return dict(modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)


def configuration(name: str) -> Any:
    """Returns an architecture's small configuration, its ids those of its tokenizer."""
    entry = MODELS[name]
    kind = type(transformers.AutoConfig.for_model(_type(name)))
    fields = {field.name for field in dataclasses.fields(kind)}
    small = {key: value for key, value in SMALL.items() if key in fields}
    ids = READINGS[entry.reading].ids()
    settings = {**small, **ids, "vocab_size": len(READINGS[entry.reading].vocabulary(WORDS))}
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {k: i for i, k in enumerate(LABELS)}}
    return kind(**{**settings, **labels, **entry.settings})
