"""Causal language models: input_ids [b, t] -> logits [b, t, v].

`width` and `feed_forward` are solved for a parameter budget where a Ref leaves them open. A width
that a function cannot build raises ValueError; the solver passes over it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kit.machine.quiet import import_quietly
from kit.spec.register_models import register_architecture

if TYPE_CHECKING:
    from torch import nn

Depth = Annotated[int, Field(ge=1, le=128)]
Heads = Annotated[int, Field(ge=1, le=128)]


@register_architecture(kind="causal", version=1)
def llama(
    vocab_size: int,
    width: int,
    feed_forward: int | None = None,
    *,
    depth: Depth = 6,
    heads: Heads = 4,
    key_value_heads: Heads = 2,
) -> nn.Module:
    """Llama: pre-norm transformer, rotary positions, gated feed-forward, grouped-query attention.

    Touvron et al. 2023 (with grouped-query attention of Ainslie et al. 2023), by `transformers`,
    random weights, input and output matrices untied.

    Args:
        vocab_size: number of ids v.
        width: of the residual stream, a multiple of 2 x heads.
        feed_forward: inner size; 8/3 of the width, rounded up to a multiple of 8, where open.
        depth: number of layers.
        heads: query heads.
        key_value_heads: key and value heads; they divide `heads`.

    Raises:
        ValueError: the width or the heads do not divide as they must.
    """
    import_quietly()
    from transformers import LlamaConfig, LlamaForCausalLM

    _check_heads(width, heads, key_value_heads)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=feed_forward or gated_size(width),
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        max_position_embeddings=32_768,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


@register_architecture(kind="causal", version=1)
def lfm2(
    vocab_size: int,
    width: int,
    feed_forward: int | None = None,
    *,
    depth: Depth = 6,
    heads: Heads = 4,
    key_value_heads: Heads = 2,
) -> nn.Module:
    """LFM2: two gated short convolutions to one layer of grouped-query attention.

    Liquid AI 2025 (arXiv 2511.23404), by `transformers`, random weights, input and output matrices
    untied as in `llama`, so that the two differ in their layers alone.

    Args:
        vocab_size: number of ids v.
        width: of the residual stream, a multiple of 2 x heads.
        feed_forward: inner size; 8/3 of the width, rounded up to a multiple of 8, where open.
        depth: number of layers; every third is attention.
        heads: query heads of the attention layers.
        key_value_heads: key and value heads; they divide `heads`.

    Raises:
        ValueError: the width or the heads do not divide as they must.
    """
    import_quietly()
    from transformers import Lfm2Config, Lfm2ForCausalLM

    logging.getLogger("transformers.integrations.hub_kernels").addFilter(_tells_news)
    _check_heads(width, heads, key_value_heads)
    config = Lfm2Config(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=feed_forward or gated_size(width),
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        layer_types=["full_attention" if i % 3 == 2 else "conv" for i in range(depth)],
        # A padding id would freeze its embedding, and id 0 is the separator.
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
        use_cache=False,
    )
    return Lfm2ForCausalLM(config)


@register_architecture(kind="causal", version=1)
def lstm(vocab_size: int, width: int, *, depth: Depth = 2) -> nn.Module:
    """LSTM (Hochreiter and Schmidhuber 1997), the recurrent net that attention replaced.

    Args:
        vocab_size: number of ids v.
        width: of the embedding and of each layer's state.
        depth: number of layers.
    """
    from kit.architectures.baselines import LSTM

    return LSTM(vocab_size, width, depth)


@register_architecture(kind="causal", version=1, fitted=True, aliases={"unigram": {"order": 1}})
def ngram(vocab_size: int, *, order: Annotated[int, Field(ge=1, le=7)] = 4) -> nn.Module:
    """Interpolated n-gram counts: the null model of a language task, fitted in one pass.

    Args:
        vocab_size: number of ids v.
        order: length of the n-grams; 1 is the frequency of each id alone.
    """
    from kit.architectures.baselines import NGram

    return NGram(vocab_size, order)


def gated_size(width: int) -> int:
    """Returns the usual inner size of a gated feed-forward: 8/3 of the width, up to 8's multiple.

    With three matrices it has the parameters of an ungated one of four times the width.
    """
    return -(-width * 8 // 3 // 8) * 8


def _tells_news(record: logging.LogRecord) -> bool:
    """Holds back the advice to install a CUDA kernel for LFM2's convolution."""
    return "is falling back to its reference" not in record.getMessage()


def _check_heads(width: int, heads: int, key_value_heads: int) -> None:
    if heads % key_value_heads:
        raise ValueError(f"heads={heads} is no multiple of key_value_heads={key_value_heads}")
    if width % (2 * heads):
        raise ValueError(
            f"width={width} is no multiple of {2 * heads}: each of {heads} heads needs an even "
            "size for rotary positions"
        )
