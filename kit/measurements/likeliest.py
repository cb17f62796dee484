"""The likeliest tokens at each place of a text, and a sample of the others.

Two models' distributions over a vocabulary are compared from what each kept by itself. The
likeliest tokens alone do not do. Of 3,179 tokens of Wikipedia, KL(SmolLM2-135M || its weights in 4
bits, `w4g32`) is 0.458 nats a token by all 49,152 logits; from the k likeliest of each and one
bucket for the rest it is lower by 58% (k = 8), 39% (32), 30% (64), 23% (128), 17% (256): the tail
is heavy, and what one model has among its likeliest the other may not.

So each run also keeps k of the rest, chosen by chance, likelier ones more often: by priority
sampling (Duffield, Lund and Thorup 2007), with random numbers that all runs share, so that they
choose the same tokens where they can (coordinated samples, Cohen and Kaplan 2009). What two runs
both kept gives an estimate without bias (`kit.analysis.findings.divergence`). On the same tokens it
was off by -4.0% (k = 16), -3.7% (32), 0.0% (64) and -0.7% (128), with standard deviations of 1.7%,
1.2%, 1.0% and 0.6%. These fall with the root of the tokens: k = 64 and the 13,000 tokens of 100
documents leave 0.5%, and 0.9% of the 0.807 nats of the same rounding after `rotated`; both below 2%
in 95 of 100 such runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kit.spec.checking import SpecError

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 2**31
"""That what is kept of one run may take in memory."""
ALL = 1e4
"""Logarithm of the threshold where none was left out: whatever its probability, it was kept."""


class Likeliest:
    """Columns of what is kept of some documents, filled place by place.

    - `token_ids` [n, most]: the scored tokens.
    - `top_ids`, `top_logprobs` [n, most, k]: the likeliest first.
    - `tail_ids`, `tail_logprobs` [n, most, k]: the sample of the others.
    - `tail_reach` [n, most]: natural logarithm of the sample's threshold t: of the others, one of
      probability p was kept with the chance min(1, p t).

    They are 0 beyond a document's own tokens, so that a record is a document. Log-probabilities are
    float32: float16, in steps of 0.008 at -8, changes the divergence of `w8` (0.004 nats) by 0.6%,
    and that of smaller roundings more.

    Args:
        items: ids of the documents.
        documents: their tokens, the first of which is not scored.
        top: k, cut to half the vocabulary.
        vocabulary: how many tokens there are.

    Raises:
        SpecError: this would take more than `MOST_BYTES`.
    """

    def __init__(
        self, items: Sequence[str], documents: Sequence[Sequence[int]], top: int, vocabulary: int
    ) -> None:
        self.items, self.top = items, min(top, vocabulary // 2)
        n, most = len(documents), max(map(len, documents), default=1) - 1
        if (size := 16 * n * most * self.top) > MOST_BYTES:
            raise SpecError(
                f"top={top} of {n} documents of up to {most} tokens takes {size / 1e9:.1f} GB of "
                f"{MOST_BYTES / 1e9:.1f}; expected top={MOST_BYTES // (16 * n * most)} at most, or "
                "a smaller limit"
            )
        self.columns = {"token_ids": np.zeros((n, most), np.int32)}
        for row, ids in zip(self.columns["token_ids"], documents, strict=True):
            row[: len(ids) - 1] = ids[1:]
        for name in ("top", "tail"):
            self.columns[f"{name}_ids"] = np.zeros((n, most, self.top), np.int32)
            self.columns[f"{name}_logprobs"] = np.zeros((n, most, self.top), np.float32)
        self.columns["tail_reach"] = np.zeros((n, most), np.float32)

    def keep(self, document: int, first: int, logprobs: Tensor) -> None:
        """Keeps some of a distribution over the vocabulary.

        Args:
            document: its number.
            first: place of the first row among its scored tokens.
            logprobs: natural, float64 [t, v].
        """
        import torch

        t, v = logprobs.shape
        place = document, slice(first, first + t)
        top, ids = logprobs.topk(self.top, dim=-1)
        self.columns["top_ids"][place], self.columns["top_logprobs"][place] = ids, top
        ranks = torch.from_numpy(_uniform(self.items[document], first, t, v)).log() - logprobs
        ranks.scatter_(1, ids, torch.inf)
        least, ids = ranks.topk(self.top + 1, dim=-1, largest=False)
        self.columns["tail_reach"][place] = least[:, -1].clamp(max=ALL)
        self.columns["tail_ids"][place] = (ids := ids[:, :-1])
        self.columns["tail_logprobs"][place] = logprobs.gather(1, ids)


def _uniform(item: str, first: int, places: int, size: int) -> np.ndarray:
    """Returns random numbers in (0, 1] [places, size], the same in all runs on an item."""
    seed = zlib.crc32(str(item).encode())
    drawn = [np.random.default_rng([seed, at]).random(size) for at in range(first, first + places)]
    return 1 - np.stack(drawn)
