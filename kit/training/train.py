"""One training loop for all kinds of model; only the loss differs.

AdamW with decay on matrices alone, gradients clipped to norm 1, a linear warm-up and a linear
decay to zero. Every run of the same specification on the same machine gives the same weights, cut
and resumed or not.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.architectures.budget import flops_per_token
from kit.architectures.model import Model
from kit.architectures.preprocessing import positions
from kit.machine.progress import report
from kit.spec.checking import SpecError, Undefined, shown
from kit.spec.spec import Training
from kit.training.batches import CausalFeed, ClassifierFeed, Feed, steps
from kit.training.causality import peeks_ahead
from kit.training.loop import CURVE, Diverged, Loop, write_rows

if TYPE_CHECKING:
    from kit.tasks.task import Task

__all__ = ["Diverged", "peeks_ahead", "pick_rate", "steps", "train"]


def train(
    model: Model, task: Task, training: Training, *, seed: int, folder: Path
) -> dict[str, Any]:
    """Trains a model in place.

    Causal models learn the next token, classifiers the label; of a classifier the epoch with the
    best validation loss is kept. A model with `fit` is fitted on the same tokens instead. With
    more than one rate, `pick_rate` chooses first.

    Args:
        model: fresh, or pretrained; `model.module` is changed.
        task: its `train` and `validation` splits are read, nothing else.
        training: budget, rates, batch size and so on.
        seed: of the order of the data and of dropout.
        folder: gets `curve.csv` (losses in nats), `trials.csv` where rates were tried, and
            `checkpoint/`; a run that was cut goes on from there.

    Returns:
        `seconds` (of optimizer steps alone, no validation), `tokens` (trained on, no padding; an
        image is one), `steps`, `rate`, `flops` (three times the forward pass's; padding counts),
        `notes`. Rate and FLOPs are None where there are none.

    Raises:
        SpecError: a causal model that looks ahead or returns another shape, a predictor, a budget
            that the kind cannot use, or a task that a classifier cannot learn from: an empty split,
            absent classes, labels that are no classes.
        Diverged: the loss is no finite number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    feed = _feed(model, task, training, seed)
    if isinstance(feed, CausalFeed) and hasattr(model.module, "fit"):
        return _fit(model, feed)
    _refuse_faulty(model)
    rate, notes = training.rates[0], []
    if len(training.rates) > 1:

        def fresh() -> Model:
            return dataclasses.replace(model, module=copy.deepcopy(model.module))

        rate = pick_rate(fresh, task, training, seed=seed, folder=folder)
        if rate in (min(training.rates), max(training.rates)):
            notes.append(f"the picked rate {rate:g} is at the end of the rates tried")
    loop = Loop(model, feed, training, rate=rate, seed=seed, total=feed.steps)
    loop.run(folder)
    return {
        "seconds": loop.seconds,
        "tokens": loop.tokens,
        "steps": loop.step,
        "rate": rate,
        "flops": _training_flops(model, feed),
        "notes": notes,
    }


def pick_rate(
    make: Callable[[], Model], task: Task, training: Training, *, seed: int, folder: Path
) -> float:
    """Returns the rate whose short trial ends with the lowest validation loss.

    Each trial trains a fresh model for `trial_steps` steps, warm-up and decay included, on the
    first batches of the run. `trials.csv` keeps the losses; a trial in it is not made again.

    Raises:
        SpecError: as `train`.
        Diverged: every trial diverged.
    """
    import numpy as np
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trials.csv"
    losses: dict[float, float] = {}
    if path.is_file():
        done = pd.read_csv(path)
        losses = dict(zip(done["rate"], done["validation_loss"], strict=True))
    for rate in training.rates:
        if rate in losses:
            continue
        model = make()
        if hasattr(model.module, "fit"):
            return training.rates[0]  # counting has no rate
        _refuse_faulty(model)
        feed = _feed(model, task, training, seed)
        total = min(training.trial_steps, feed.steps)
        loop = Loop(model, feed, training, rate=rate, seed=seed, total=total)
        try:
            loop.run(None)
            losses[rate] = loop.curve[-1][CURVE.index("validation_loss")]
        except Diverged:
            losses[rate] = math.inf
        write_rows(path, ("rate", "validation_loss"), list(losses.items()))
    tried = {rate: losses[rate] for rate in training.rates}
    if not np.isfinite(list(tried.values())).any():
        raise Diverged(f"training diverged at every rate tried: {sorted(tried)}; try smaller ones")
    return min(tried, key=lambda rate: (tried[rate], rate))


def _refuse_faulty(model: Model) -> None:
    if model.kind == "causal" and model.tokenizer is not None:
        fault = peeks_ahead(model.module, model.tokenizer.vocab_size)
        if fault:
            raise SpecError(f"{type(model.module).__name__} is not trained: {fault}")


def _feed(model: Model, task: Task, training: Training, seed: int) -> CausalFeed | ClassifierFeed:
    if model.kind == "predictor":
        raise SpecError("a predictor is not trained; give its variant training=None")
    if model.kind == "causal":
        assert model.tokenizer is not None
        return CausalFeed(task, model.tokenizer, training, seed)
    _refuse_unlearnable(task)
    return ClassifierFeed(task, model.preprocessor, training, seed)


def _refuse_unlearnable(task: Task) -> None:
    if task.kind != "classification":
        raise SpecError(
            f"task {task.ref.name} is a {task.kind} task; kit trains classifiers on classification "
            "tasks alone, and evaluates finished models on the others"
        )
    if len(task.split("train")) and task.absent:
        raise SpecError(
            f"task {task.ref.name}, split 'train' has no item of {shown(task.absent)}: every class "
            "needs some to learn from"
        )


def _fit(model: Model, feed: CausalFeed) -> dict[str, Any]:
    """Fits an n-gram model on the stream that the others train on."""
    report(f"counting {len(feed.stream):,} tokens")
    start = time.perf_counter()
    model.module.fit([feed.stream])
    seconds = time.perf_counter() - start
    tokens = len(feed.stream)
    found = {"seconds": seconds, "tokens": tokens, "steps": 0, "rate": None, "flops": None}
    return found | {"notes": ["fitted by counting, without gradient steps"]}


def _training_flops(model: Model, feed: Feed) -> float | None:
    """Three times the forward pass's operations of the whole run; a first batch stands for all."""
    count = sum(positions(feed.batch(step).inputs) for step in range(feed.steps))
    inputs = {name: tensor[:1] for name, tensor in feed.batch(0).inputs.items()}
    device = next(model.module.parameters()).device
    try:
        per_token = flops_per_token(
            model.module, {name: tensor.to(device) for name, tensor in inputs.items()}
        )
    except Undefined:
        return None
    return 3 * per_token * count
