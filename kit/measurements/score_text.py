"""Log-likelihoods of documents, by windows that move over them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field

from kit import tasks
from kit.build.runner import Padding, Runner
from kit.corruptions import CorruptionRef, examples_of
from kit.machine.progress import report
from kit.measurements.interface import Positive, Raw, Split, of_kind
from kit.measurements.likeliest import Likeliest
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Kept, Rounding, TaskRef

if TYPE_CHECKING:
    from torch import Tensor


@register_measurement(where="worker", artifacts=("tokens",), version=1, seconds=15.0)
def score_text(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("language")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=8, default=100, full=None)] = None,
    batch_size: Annotated[Positive, Rounding((1, 8))] = 32,
    threads: Annotated[Positive, Rounding((2,))] = 1,
    padding: Annotated[Padding, Rounding(("length",), modality="text")] = "batch",
    context: Positive = 256,
    stride: Positive = 128,
    max_bytes: Positive = 1024,
    top: Annotated[int, Field(ge=0), Kept()] = 0,
    corruption: CorruptionRef = None,
) -> Raw:
    """Log-likelihoods of a language model, document by document.

    Before each document stands the tokenizer's begin token (its end token where it has none), which
    is not scored.

    Args:
        runner: the variant, ready.
        task: documents without labels.
        split: which part.
        limit: the first n documents by content hash; None for all.
        batch_size: windows a batch; it changes only rounding, as with `classify`.
        threads: of the worker; one, so that the number of workers never changes a table.
        padding: to the longest window of a `batch`, or all to `context` (`length`).
        context: tokens a window holds.
        stride: how far the window moves; what overlaps is context only.
        max_bytes: documents are cut there, the same text for every tokenizer.
        top: also saves the log-probabilities of so many tokens at each place, the likeliest, and
            of as many others, for `kl` and `top1_agreement`; 64 keep the error of `kl` below 2%
            (see `kit.measurements.likeliest`). Each takes 16 bytes a place before compression.
        corruption: of the documents, which keep their ids: a run on them pairs with the clean one.

    Raises:
        SpecError: the variant is no language model, windows that leave tokens without context, or
            more of the likeliest tokens than memory holds.
    """
    if runner.model.kind != "causal":
        raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
    data = tasks.load(task)
    rows = data.split(split, limit)
    texts = [_cut(text, max_bytes) for text in examples_of(data, rows, corruption)]
    width = context if padding == "length" else 1
    items = {"item": np.asarray(rows["id"]), "cluster": np.asarray(rows["cluster"])}
    windows = _Windows(context, stride, width, batch_size)
    scored = _score_texts(runner, texts, windows, rows["id"], top)
    protocol = {"context": context, "stride": stride, "max_bytes": max_bytes}
    return Raw("tokens", {**items, **scored}, {"protocol": protocol})


class _Windows(NamedTuple):
    """How texts are read: tokens a window, its stride, tokens it is filled up to, windows a batch.

    Raises SpecError when asked to read, where a window's first token would be scored from nothing.
    """

    context: int
    stride: int
    width: int
    batch_size: int

    def over(self, documents: list[list[int]]) -> Iterator[list[tuple[int, int, int, int]]]:
        """Yields batches: of each window its document, start, end and first scored position."""
        if self.stride >= self.context:
            raise SpecError(
                f"stride={self.stride} is not below context={self.context}: a window's first token "
                "would be scored from nothing"
            )
        windows = [
            (index, *window)
            for index, ids in enumerate(documents)
            for window in _windows(len(ids), self.context, self.stride)
        ]
        windows.sort(key=lambda window: (window[2] - window[1], window[0], window[1]))
        for first in range(0, len(windows), self.batch_size):
            report(f"{first} of {len(windows)} windows")
            yield windows[first : first + self.batch_size]


def _score_texts(
    runner: Runner, texts: list[str], windows: _Windows, items: list[str], top: int
) -> dict[str, np.ndarray]:
    """Scores documents by windows.

    The first token of a document is predicted from the start token alone. Every token is scored
    once, with at least `context - stride` tokens before it where the document has them.
    """
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    start, collate = tokenizer.separator_id, runner.model.preprocessor.collate
    documents = [[start, *ids] for ids in tokenizer.encode(texts)]
    nll = np.zeros(len(documents))
    kept = Likeliest(items, documents, top, tokenizer.vocab_size) if top else None
    for batch in windows.over(documents):
        ids = [documents[index][start:end] for index, start, end, _ in batch]
        logits = runner.forward(collate(ids, windows.width))
        for (index, start, _, scored), row, tokens in zip(batch, logits, ids, strict=True):
            logprobs, loss = _losses(row, tokens)
            fresh = slice(scored - start - 1, None)
            nll[index] += loss[fresh].sum()
            if kept:
                kept.keep(index, scored - 1, logprobs[fresh])
    if not np.isfinite(nll).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits")
    return {
        "nll": nll,
        "tokens": np.array([len(ids) - 1 for ids in documents]),
        "bytes": np.array([len(text.encode()) for text in texts]),
        "words": np.array([len(re.split(r"\s+", text)) for text in texts]),
        **(kept.columns if kept else {}),
    }


def _cut(text: str, size: int) -> str:
    """Returns the text without NUL bytes, cut after `size` bytes at the end of a character."""
    data = text.replace("\0", "").encode("utf-8", errors="replace")
    return data[:size].decode("utf-8", errors="ignore")


def _windows(size: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yields start, end and the first scored position of each window over `size` tokens."""
    scored, start = 1, 0
    while scored < size:
        end = min(start + context, size)
        yield start, end, scored
        scored, start = end, start + stride


def _losses(logits: np.ndarray, ids: list[int]) -> tuple[Tensor, np.ndarray]:
    """Returns log-probabilities [t, v] of what follows each token of a window but the last.

    And the negative log-likelihood of its tokens from the second on [t], in nats.
    """
    import torch

    targets = torch.tensor(ids[1:])
    read = torch.from_numpy(np.ascontiguousarray(logits[: len(targets)]))
    logprobs = torch.log_softmax(read.double(), dim=-1)
    return logprobs, -logprobs.gather(1, targets[:, None])[:, 0].numpy()
