"""Is what a model wrote a right answer?"""

from __future__ import annotations

import re
import string
from collections import Counter
from functools import partial

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.spec.register_measures import register_metric

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
generation_metric = partial(register_metric, artifact="generations")


def normalized(text: str) -> str:
    """Returns a text in lower case without punctuation, articles and spare white space.

    As SQuAD's script does (Rajpurkar et al. 2016).
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


@generation_metric(higher_is_better=True, unit="share")
def exact_match(text: Array, answers: Array) -> Array:
    """Share of items whose text, normalized as SQuAD's, is one of the right answers."""
    pairs = zip(text, answers, strict=True)
    return np.array(
        [normalized(said) in {normalized(a) for a in right if a} for said, right in pairs]
    )


@generation_metric(higher_is_better=True, unit="share")
def token_f1(text: Array, answers: Array) -> Array:
    """Harmonic mean of the shares of words that text and the nearest right answer have in common.

    As SQuAD's script does, of normalized words.
    """
    pairs = zip(text, answers, strict=True)
    return np.array([max(_f1(said, a) for a in right if a) for said, right in pairs])


def _f1(said: str, right: str) -> float:
    one, other = normalized(said).split(), normalized(right).split()
    if not one or not other:
        return float(one == other)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))


@generation_metric(higher_is_better=True, unit="share")
def rouge_l(text: Array, answers: Array) -> Array:
    """F1 of the longest common subsequence of words, with the nearest right answer.

    ROUGE-L (Lin 2004) by Google's rouge-score: lower case, letters and digits alone, no stemming.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    pairs = zip(text.tolist(), answers.tolist(), strict=True)
    found = (scorer.score_multi([a for a in right if a], said) for said, right in pairs)
    return np.array([each["rougeL"].fmeasure for each in found])


@generation_metric(higher_is_better=True, unit="share")
def contains_answer(text: Array, answers: Array) -> Array:
    """Share of items whose text holds a right answer somewhere, both normalized."""
    pairs = zip(text, answers, strict=True)
    return np.array([
        any(f" {normalized(a)} " in f" {normalized(said)} " for a in right if a)
        for said, right in pairs
    ])  # fmt: skip


@generation_metric(higher_is_better=None, unit="tokens")
def answer_tokens(tokens: Array) -> Array:
    """Tokens of an answer."""
    return tokens.astype(np.float64)


@generation_metric(higher_is_better=False, unit="share")
def cut_short(finish: Array) -> Array:
    """Share of answers that ended because they were too long."""
    return np.asarray(finish == "length")


@generation_metric(
    higher_is_better=False, unit="s", no_interval="timed once, with other work beside: no interval"
)
def answer_seconds(seconds: Array) -> float:
    """Seconds an answer took while quality was measured: no timing, a hint."""
    return float(seconds.mean())
