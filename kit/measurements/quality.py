"""Predictions of one split, saved item by item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from kit import tasks
from kit.build import build
from kit.build.runner import Padding, Runner
from kit.corruptions import CorruptionRef, examples_of
from kit.measurements.generate import generate
from kit.measurements.interface import Positive, Raw, Split, item_columns, of_kind
from kit.measurements.score_choices import score_choices
from kit.measurements.score_lm_eval import score_lm_eval
from kit.measurements.score_text import score_text
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.kinds import TASKS
from kit.spec.presets import Preset
from kit.spec.ref import Ref
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Kept, Rounding, TaskRef
from kit.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


@register_measurement(
    where="worker",
    artifacts=("classification", "multi_label", "regression"),
    version=1,
    seconds=15.0,
)
def classify(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("classification", "multi_label", "regression")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=64, default=500, full=None)] = None,
    batch_size: Annotated[Positive, Rounding((1, 8))] = 32,
    threads: Annotated[Positive, Rounding((2,))] = 1,
    padding: Annotated[Padding, Rounding(("length",), modality="text")] = "batch",
    features: Annotated[bool, Kept()] = False,
    corruption: CorruptionRef = None,
) -> Raw:
    """Predictions item by item: logits, or numbers.

    Args:
        runner: the variant, ready.
        task: items with labels or ratings.
        split: which part: `test`, `validation`, a shift such as `amazon`, `amazon/validation`.
        limit: the first n items by content hash; None for all.
        batch_size: items a batch. It changes only rounding, but where a scheme takes its scale
            over the batch, as `dynamic_int8` does: answers then depend on what shares their batch.
        threads: of the worker; one, so that the number of workers never changes a table.
        padding: of texts, to the longest of their `batch` or to the `length` at which they are
            cut. It changes as much as `batch_size` does.
        features: also saves the pooled hidden vectors, where the variant has such.
        corruption: of the items, such as `Ref("typos", severity=3)`; they keep their ids: a run on
            them pairs with the clean one.

    Raises:
        SpecError: the variant gives tokens, or other outputs than the task has labels.
    """
    if runner.model.kind == "causal":
        raise SpecError(f"{task.name} asks for a classifier; {runner.variant.name} gives tokens")
    data = tasks.load(task)
    rows = data.split(split, limit)
    examples = examples_of(data, rows, corruption)
    features = features and build.gives_features(runner.variant)
    answers = _answer(runner, examples, batch_size, padding, features=features)
    if not np.isfinite(answers["logits"]).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits on {split}")
    info = _checked(runner, data, answers["logits"].shape, len(examples))
    if data.kind == "regression":
        answers["prediction"] = answers.pop("logits")[:, 0].astype(np.float64)
    return Raw(TASKS[data.kind].artifact, {**_known(data, rows), **answers}, info)


def Quality(task: str | Ref, split: str = "test", limit: int | None = None, **args: Any) -> Ref:
    """Asks for what quality is made of: `Classify`, `ScoreText`, `ScoreChoices` and the like.

    Args:
        task: name or Ref.
        split: `test`, `validation`, a shift such as `amazon`, or `amazon/validation`.
        limit: the first n items by content hash; the preset's number where not given.
        **args: see there.

    Raises:
        SpecError: an unknown task, split, corruption or argument, or a corruption of another kind
            of example.
    """
    task = registry.tasks.canonical(task)
    kind = TASKS[registry.tasks.get(task.name).traits["kind"]]
    asks = (classify, score_text, score_choices, generate, score_lm_eval)
    ask = next(each for each in asks if each.__name__ == kind.quality)
    return ask(task, split=split, **({} if limit is None else {"limit": limit}), **args)


def _known(data: Task, rows: Dataset) -> dict[str, np.ndarray]:
    """Returns what the data say of each item: id, label, rating where they have one, groups."""
    columns = item_columns(data, rows)
    columns["label"] = np.asarray(rows["label"], TASKS[data.kind].label)
    if "valence" in rows.column_names:
        columns["valence"] = np.asarray(rows["valence"], np.float64)
    return columns


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
    """Returns what is to be known of the outputs of `n` items, after a look at their shape.

    That is `rated` (False: scores are no probabilities) and `labels` (names of the outputs where
    they are more than the task's, and of several labels an item); nothing of a regression. Of a
    classification the model may answer with labels that the task lacks: their columns follow the
    task's, and count as answers that are wrong.

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
