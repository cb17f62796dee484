"""How well a language model predicts text, token by token.

Per token, per word and per byte are three scales of one sum of log-likelihoods. What a number
means depends on the protocol too (tokens of context, stride, where documents are cut), which stands
in the condition of its row.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence, Ratio
from kit.spec.register_measures import register_metric

token_metric = partial(register_metric, artifact="tokens", higher_is_better=False)


@token_metric(unit="bits/byte")
def bits_per_byte(nll: Array, bytes: Array) -> Ratio:  # noqa: A002 (named as the column)
    """Bits needed for a byte of text: comparable between tokenizers, as perplexity is not."""
    return Ratio(nll / math.log(2), bytes)


@token_metric(unit="1", same={"tokens": "another tokenizer"})
def perplexity(nll: Array, tokens: Array) -> Influence:
    """Exponential of the mean loss a token.

    Among how many equally likely tokens the model would be as unsure. Another tokenizer makes other
    tokens, so that models with different ones are not compared by it.
    """
    return _exponential(Ratio(nll, tokens))


@token_metric(unit="1")
def word_perplexity(nll: Array, words: Array) -> Influence:
    """Exponential of the loss by words, which white space parts; as lm-evaluation-harness has it.

    Comparable between tokenizers.
    """
    return _exponential(Ratio(nll, words))


@token_metric(unit="1")
def byte_perplexity(nll: Array, bytes: Array) -> Influence:  # noqa: A002 (named as the column)
    """Exponential of the loss by bytes of text: 2 to the bits per byte."""
    return _exponential(Ratio(nll, bytes))


def _exponential(ratio: Ratio) -> Influence:
    """Returns exp(ratio), with what each item adds to it by the delta method."""
    mean = ratio.value
    value = float(np.exp(mean))
    return Influence(value, value * (ratio.pseudo_values() - mean), (0.0, math.inf))
