"""Contract tests of architectures, schemes and runtimes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import tasks
from kit.checks.tiny import (
    IMAGES,
    REVIEWS,
    TEXTS,
    Broken,
    Test,
    batch,
    expect,
    outputs,
)
from kit.spec.arguments import positional
from kit.spec.checking import SpecError, Undefined
from kit.spec.entry import Entry
from kit.spec.ref import Ref
from kit.spec.spec import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from kit.architectures.model import Model
    from kit.tasks.task import Task

CLOSE = 1e-4
"""Share of the largest logit by which the shape of a batch may change the rounding."""
MOST_READ = 500
"""Items of a split that are read to tell how many are cut."""
AGREES = 1e-3
"""The same between runtimes, whose kernels differ."""
WIDTHS = (16, 32, 48, 64, 96, 128, 256)
SHAPES = ((3, 9), (1, 5))
"""Rows and tokens of the batches that a runtime is tried with, the first one first."""


def architecture(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of an architecture of any kind, built at its smallest width."""
    from kit.architectures.model import make_model

    kind = entry.traits["kind"]
    task = tasks.load({"causal": TEXTS, "vision": IMAGES}.get(kind, REVIEWS))
    make = partial(make_model, _sized(entry, ref, task), task)
    model = make(seed=0)
    if model.kind == "predictor":
        yield from _predictor(model)
        return
    yield "gives logits of the right shape", lambda: _right_shape(model)
    yield "gives the same under the same seed", lambda: _deterministic(make)
    if model.kind == "causal":
        yield "looks at no later token", lambda: _causal(model)
    if model.tokenizer is not None:
        yield "takes no notice of padding", lambda: _no_padding(model)
    yield "judges each row by itself", lambda: _row_by_row(model)
    if entry.traits.get("fitted"):
        yield "gives probabilities", lambda: _sums_to_one(outputs(model.module, batch(model)))
    else:
        yield "has a gradient in every parameter", lambda: _gradients(make(seed=0))
    yield "keeps its weights when saved", lambda: _round_trip(model, make)
    if model.kind == "causal":
        yield "tells the size of its state", lambda: _state(model)
        yield "scores what shares a prefix", lambda: _scored(model, Variant(ref))


def _sized(entry: Entry, ref: Ref, task: Task | None) -> Ref:
    """Returns the Ref with the first of a few widths that can be built, where it is open."""
    from kit.architectures.model import make_model

    if "width" not in positional(entry.function) or "width" in ref.args:
        return ref
    step = int(entry.traits.get("width_multiple", 1))
    refusal: SpecError | None = None
    for width in WIDTHS:
        sized = ref.replace(width=-(-width // step) * step)
        try:
            make_model(sized, task, seed=0, fit=False)
        except SpecError as error:
            refusal = refusal or error
        else:
            return sized
    raise refusal or SpecError(f"{ref.name} cannot be built")


def _scored(model: Model, variant: Variant) -> str:
    """Finds out by which of the ways of `kit.measurements.walks` the model's answers are had."""
    from types import SimpleNamespace

    from kit.measurements.scoring import way
    from kit.runtimes.decoding import session_of

    ways = {
        "tree": "packed in one row",
        "state": "from forks of its state",
        "plain": "each sequence by itself",
        "alone": "each in a call of its own",
    }
    runner: Any = SimpleNamespace(
        model=model, session=session_of(model.module.eval()), variant=variant
    )
    return ways[way(runner).name]


def _right_shape(model: Model) -> str:
    inputs = batch(model)
    found = outputs(model.module, inputs)
    expected: tuple[int, ...] = (3, len(model.labels))
    if model.kind == "causal":
        assert model.tokenizer is not None
        expected = (*inputs["input_ids"].shape, model.tokenizer.vocab_size)
    shape = tuple(found.shape)
    expect(shape == expected, f"it returned logits of shape {shape}; expected {expected}")
    expect(found.isfinite().all(), "its logits are not all finite numbers")
    return f"{sum(p.numel() for p in model.module.parameters()):,} parameters"


def _deterministic(make: Callable[..., Model]) -> None:
    first, again = make(seed=1), make(seed=1)
    inputs = batch(first)
    found = outputs(first.module, inputs)
    expect((found == outputs(first.module, inputs)).all(), "the same input gave two outputs")
    same = (found == outputs(again.module, inputs)).all()
    expect(same, "it was built twice with one seed and gave two outputs: draw by torch's generator")


def _causal(model: Model) -> None:
    from kit.training.causality import peeks_ahead

    assert model.tokenizer is not None
    if fault := peeks_ahead(model.module, model.tokenizer.vocab_size):
        raise Broken(fault)


def _no_padding(model: Model) -> None:
    """Appends tokens that the mask hides, or that come later, and looks at what was before."""
    import torch

    inputs = {name: values[:1, :5] for name, values in batch(model).items()}
    more = {name: torch.nn.functional.pad(v, (0, 4)) for name, v in inputs.items()}
    more["input_ids"][:, 5:] = 7
    found, padded = outputs(model.module, inputs), outputs(model.module, more)
    gap = relative_gap(padded[:, :5] if model.kind == "causal" else padded, found)
    expect(gap < CLOSE, f"padding on the right changed its logits by {gap:.2g} of the largest")


def _row_by_row(model: Model) -> None:
    inputs = batch(model)
    first = {name: values[:1] for name, values in inputs.items()}
    gap = relative_gap(outputs(model.module, first), outputs(model.module, inputs)[:1])
    expect(gap < CLOSE, f"the rest of a batch changed a row's logits by {gap:.2g} of the largest")


def _gradients(model: Model) -> None:
    """Looks for a gradient at slightly disturbed weights, so that no zero at the start hides it."""
    import torch

    from kit.architectures.model import seeded
    from kit.architectures.outputs import logits

    probe = model.module.eval()
    with seeded(0), torch.no_grad():
        for parameter in probe.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    scores = logits(probe(**batch(model)))
    loss = (scores.logsumexp(-1) - scores[..., 0]).mean()
    torch.autograd.backward(loss)
    silent = [
        name
        for name, parameter in probe.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    expect(not silent, f"no gradient reaches {', '.join(silent[:5])}")


def _round_trip(model: Model, make: Callable[..., Model]) -> None:
    from kit.architectures.model import load_weights, save_model

    other = make(seed=1, fit=False)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder))
        load_weights(other, Path(folder))
    inputs = batch(model)
    same = (outputs(model.module, inputs) == outputs(other.module, inputs)).all()
    expect(same, "its output differs after state_dict was saved and loaded: is all state in it?")


def _state(model: Model) -> str:
    from kit.architectures.states import state_bytes

    try:
        sizes = [state_bytes(model.module, context) for context in (1, 64, 128)]
    except Undefined as error:
        return f"skipped: {error}"
    expect(0 <= sizes[0] <= sizes[1] <= sizes[2], f"bytes at contexts 1, 64, 128: {sizes}")
    return f"{sizes[2]:,} bytes at a context of 128"


def _sums_to_one(scores: Any) -> None:
    sums = np.exp(np.asarray(scores, np.float64)).sum(-1)
    expect(np.allclose(sums, 1, atol=1e-3), f"exp(scores) sum to {sums.flat[0]:.4g}; expected 1")


def _predictor(model: Model) -> Iterator[Test]:
    texts = ["a good one", "", "bad " * 500, "\U0001f642 \u0645\u0631\u062d\u0628\u0627"]

    def scores() -> np.ndarray:
        found = np.asarray(model.module(texts))
        expected = (len(texts), len(model.labels))
        expect(found.shape == expected, f"scores of shape {found.shape}; expected {expected}")
        return found

    def finite() -> None:
        expect(np.isfinite(scores()).all(), "its scores are not all finite numbers")

    def one_by_one() -> None:
        alone = np.concatenate([np.asarray(model.module([text])) for text in texts])
        expect(np.allclose(alone, scores()), "a text's scores depend on the others of its batch")

    yield "gives finite scores of the right shape", finite
    yield "judges each text by itself, and the same again", one_by_one
    if model.probabilities:
        yield "gives probabilities, as it says", lambda: _sums_to_one(scores())


def relative_gap(found: Any, expected: Tensor) -> float:
    """Returns the largest difference as a share of the largest expected value; NaN is infinite."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    gap = float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-9))
    return gap if np.isfinite(gap) else float("inf")
