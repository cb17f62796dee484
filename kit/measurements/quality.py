"""Predictions of one split, saved item by item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from kit import presets, registry, tasks
from kit.corruptions import examples_of, mismatch
from kit.entries import LATER
from kit.kinds import TASKS
from kit.measurements.bench import CorruptionRef, Raw, TaskRef
from kit.progress import report
from kit.ref import Ref
from kit.registry import register_measurement
from kit.runner import Padding, Runner
from kit.tasks.task import Task
from kit.values import SpecError

if TYPE_CHECKING:
    from datasets import Dataset

Positive = Annotated[int, Field(ge=1)]


def Quality(
    task: str | Ref,
    split: str = "test",
    limit: int | None = None,
    corruption: Ref | None = None,
    **args: Any,
) -> Ref:
    """Asks for the predictions on a split of a task.

    Args:
        task: name or Ref.
        split: `test`, `validation`, a shift such as `amazon`, or `amazon/validation`.
        limit: the first n items by content hash; the preset's number where not given.
        corruption: of the items, such as `Ref("typos", severity=3)`.
        **args: see `quality`.

    Raises:
        SpecError: an unknown task or corruption, or a corruption of another kind of example.
    """
    if corruption is not None:
        corruption = registry.corruptions.canonical(corruption)
        if reason := mismatch(corruption, task):
            raise SpecError(reason)
        args["corruption"] = corruption
    if limit is None:
        kind = registry.tasks.get(registry.tasks.canonical(task).name).traits["kind"]
        limit = presets.preset()["documents" if kind == "language" else "items"]
    return Ref("quality", task=task, split=split, limit=limit, **args)


@register_measurement(
    where="worker",
    artifacts=[kind.artifact for kind in TASKS.values()],
    version=1,
    seconds=15.0,
    adds=("features",),
)
def quality(
    runner: Runner,
    *,
    task: TaskRef,
    split: str = "test",
    limit: Positive | None = None,
    batch_size: Positive = 32,
    threads: Positive = 1,
    padding: Annotated[Padding, LATER] = "batch",
    features: bool = False,
    context: Positive = 256,
    stride: Positive = 128,
    max_bytes: Positive = 1024,
    corruption: CorruptionRef = None,
) -> Raw:
    """Predictions item by item: logits, numbers, or log-likelihoods of a language model.

    Args:
        runner: the variant, ready.
        task: the data.
        split: which part.
        limit: the first n items by content hash.
        batch_size: items a batch. It changes only rounding, but where a scheme takes its scale
            over the batch, as `dynamic_int8` does: answers then depend on what shares their batch.
        threads: of the worker; one, so that the number of workers never changes a table.
        padding: of texts, to the longest of their `batch` or to the `length` at which they are cut
            (language models: to `context`). It changes as much as `batch_size` does.
        features: also saves the pooled hidden vectors.
        context: language models: tokens a window holds.
        stride: language models: how far the window moves; what overlaps is context only.
        max_bytes: language models: documents are cut there, the same text for every tokenizer.
        corruption: of the items, which keep their ids: a run on them pairs with the clean one.
    """
    data = tasks.load(task)
    rows = data.split(split, limit)
    examples = examples_of(data, rows, corruption)
    items = {"item": np.asarray(rows["id"]), "cluster": np.asarray(rows["cluster"])}
    if data.kind == "language":
        if runner.model.kind != "causal":
            raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
        texts = [_cut(text, max_bytes) for text in examples]
        width = context if padding == "length" else 1
        scored = _score_texts(runner, texts, batch_size, context, stride, width)
        protocol = {"context": context, "stride": stride, "max_bytes": max_bytes}
        return Raw("tokens", {**items, **scored}, {"protocol": protocol})
    if runner.model.kind == "causal":
        raise SpecError(f"{task.name} asks for a classifier; {runner.variant.name} gives tokens")
    answers = _answer(runner, examples, batch_size, padding, features=features)
    if not np.isfinite(answers["logits"]).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits on {split}")
    info = _checked(runner, data, answers["logits"].shape, len(examples))
    if data.kind == "regression":
        answers["prediction"] = answers.pop("logits")[:, 0].astype(np.float64)
    known = _known(data, rows)
    return Raw(TASKS[data.kind].artifact, {**items, **known, **answers}, info)


def _known(data: Task, rows: Dataset) -> dict[str, np.ndarray]:
    """Returns what the data say of each item: label, rating where they have one, groups."""
    columns = {"label": np.asarray(rows["label"], TASKS[data.kind].label)}
    if "valence" in rows.column_names:
        columns["valence"] = np.asarray(rows["valence"], np.float64)
    return columns | {f"group:{name}": np.asarray(rows[name]).astype(str) for name in data.groups}


def _answer(
    runner: Runner, examples: list[Any], batch_size: int, padding: Padding, *, features: bool
) -> dict[str, np.ndarray]:
    """Returns a model's outputs as `logits` [n, columns], `features` where asked for, and `cut`.

    `cut` says of each text whether the model read less than all of it; it is left out where there
    is no window.
    """
    columns = {}
    if features:
        found = runner.predict_with_features(examples, batch_size, padding)
        columns["logits"], columns["features"] = found
    else:
        columns["logits"] = runner.predict(examples, batch_size, padding)
    cut = runner.cut(examples)
    return columns if cut is None else columns | {"cut": np.asarray(cut, bool)}


def _checked(runner: Runner, data: Task, shape: tuple[int, ...], n: int) -> dict[str, Any]:
    """Returns what is to be known of a model's outputs, after a look at their shape.

    Of a classification the model may answer with labels that the task lacks: their columns follow
    the task's, and count as answers that are wrong.

    Args:
        runner: the variant.
        data: the task.
        shape: of the outputs.
        n: items.

    Returns:
        `rated` (False: scores are no probabilities) and `labels` (names of the outputs where they
        are more than the task's, and of several labels an item), nothing of a regression.

    Raises:
        SpecError: other outputs than the task has labels (or one, of a regression).
    """
    labels = data.labels
    if data.kind == "classification" and runner.model.labels[: len(labels)] == labels:
        labels = runner.model.labels
    wanted = (n, len(labels) or 1)
    if shape != wanted:
        what = f"the labels {', '.join(labels)}" if labels else "one number an item"
        raise SpecError(
            f"{runner.variant.name} gave logits of shape {shape}; expected {wanted} for {what}"
        )
    if data.kind == "regression":
        return {}
    rated = {"rated": runner.model.probabilities is not False}
    named = data.kind == "multi_label" or len(labels) > len(data.labels)
    return {**rated, "labels": list(labels)} if named else rated


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
