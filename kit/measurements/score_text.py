"""Log-likelihoods of documents, by windows that move over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np

from kit import tasks
from kit.build.runner import Padding, Runner
from kit.corruptions import CorruptionRef, examples_of
from kit.machine.progress import report
from kit.measurements.interface import Positive, Raw, Split, of_kind
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef


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
    corruption: CorruptionRef = None,
) -> Raw:
    """Log-likelihoods of a language model, document by document.

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
        corruption: of the documents, which keep their ids: a run on them pairs with the clean one.

    Raises:
        SpecError: the variant is no language model, or windows that leave tokens without context.
    """
    if runner.model.kind != "causal":
        raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
    data = tasks.load(task)
    rows = data.split(split, limit)
    texts = [_cut(text, max_bytes) for text in examples_of(data, rows, corruption)]
    width = context if padding == "length" else 1
    scored = _score_texts(runner, texts, batch_size, context, stride, width)
    items = {"item": np.asarray(rows["id"]), "cluster": np.asarray(rows["cluster"])}
    protocol = {"context": context, "stride": stride, "max_bytes": max_bytes}
    return Raw("tokens", {**items, **scored}, {"protocol": protocol})


def _score_texts(
    runner: Runner, texts: list[str], batch_size: int, context: int, stride: int, width: int
) -> dict[str, np.ndarray]:
    """Scores documents by windows of `context` tokens that move by `stride`.

    The first token of a document is predicted from the start token alone. Every token is scored
    once, with at least `context - stride` tokens before it where the document has them.
    """
    if stride >= context:
        raise SpecError(
            f"stride={stride} is not below context={context}: a window's first token would be "
            "scored from nothing"
        )
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    start, collate = tokenizer.separator_id, runner.model.preprocessor.collate
    documents = [[start, *ids] for ids in tokenizer.encode(texts)]
    windows = [
        (index, *window)
        for index, ids in enumerate(documents)
        for window in _windows(len(ids), context, stride)
    ]
    windows.sort(key=lambda window: (window[2] - window[1], window[0], window[1]))
    nll = np.zeros(len(documents))
    for first in range(0, len(windows), batch_size):
        report(f"{first} of {len(windows)} windows")
        batch = windows[first : first + batch_size]
        ids = [documents[index][start:end] for index, start, end, _ in batch]
        losses = _losses(runner.forward(collate(ids, width)), ids)
        for (index, start, _, scored), loss in zip(batch, losses, strict=True):
            nll[index] += loss[scored - start - 1 :].sum()
    if not np.isfinite(nll).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits")
    return {
        "nll": nll,
        "tokens": np.array([len(ids) - 1 for ids in documents]),
        "bytes": np.array([len(text.encode()) for text in texts]),
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


def _losses(logits: np.ndarray, ids: list[list[int]]) -> Iterator[np.ndarray]:
    """Yields the negative log-likelihood of each window's tokens from the second on, in nats."""
    import torch

    scores = torch.log_softmax(torch.from_numpy(np.ascontiguousarray(logits)).double(), dim=-1)
    for row, tokens in zip(scores, ids, strict=True):
        targets = torch.tensor(tokens[1:])
        yield -row[: len(targets)].gather(1, targets[:, None])[:, 0].numpy()
