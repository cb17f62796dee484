"""Does a variant answer as the deployed model does? Asked before its quality or its time counts.

A pretrained model is deployed as transformers runs it: its own tokenizer and model, one text at a
time, nothing padded. What kit makes of it (batches, padding, cutting) has to give the same answers,
and so has every runtime what eager gives of the same weights. What was found is kept by the model's
content and per machine, since kernels differ between processors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kit import tasks
from kit.architectures import pretrained
from kit.architectures.folder import locate
from kit.architectures.reference import Deployment
from kit.architectures.tokenizers import HFTokenizer
from kit.build.runner import Runner
from kit.build.traits import TOLERANCE, bare, kind_of, on_eager, tolerance
from kit.machine import environment
from kit.machine.progress import report
from kit.spec import registry
from kit.spec.checking import Undefined, shown
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Variant, uses
from kit.store import store

VERSION = 4
"""Raised when other examples are tried or other differences allowed."""
TRIED = 8
"""Examples that are tried."""
MADE_UP = ("It was", "not a good film,", "Anna said:", "42 of 100 liked it.")


class Finding(NamedTuple):
    """How far outputs are from those they have to be, and what else differs."""

    difference: float
    says: str = ""


def verify(
    variant: Variant,
    task: Ref | None,
    threads: int = 1,
    batch_size: int = TRIED,
    runner: Runner | None = None,
    *,
    anew: bool = True,
) -> float:
    """Returns how far a variant's outputs are from those it has to give.

    Where it is pretrained these are transformers' own for the same folder; where it runs elsewhere
    than on eager, eager's for the same weights and schemes on the module.

    Args:
        variant: what is tried, on a handful of the task's examples, the longest and the shortest
            among them.
        task: whose; None tries texts that are made up, and no labels.
        threads: of this process.
        batch_size: 1 tries no batch: some models cannot answer one.
        runner: the variant's, where it is loaded already.
        anew: whether to find out what was not found out before: that loads models.

    Returns:
        The larger of the two differences, as a share of the largest output.

    Raises:
        Undefined: a difference is larger than rounding and the schemes explain, or not finite:
            quality and time of a wrong answer are worth nothing.
        LookupError: it was not found out before.
    """
    padded, differences = batch_size > 1, [0.0]
    if kind_of(variant) == "pretrained":
        plain = bare(variant)
        found = _kept("deployed", plain, task, padded, anew, lambda examples: _against_deployed(
            runner if runner and runner.variant == plain else Runner(plain, threads, task),
            examples, padded))  # fmt: skip
        differences.append(_as_deployed(variant, found, padded))
    if variant.runtime.name != "eager":
        found = _kept("eager", variant, task, padded, anew, lambda examples: _against_eager(
            runner or Runner(variant, threads, task),
            Runner(on_eager(variant), threads, task, reference=True),
            examples, padded))  # fmt: skip
        differences.append(_as_eager(variant, found))
    return max(differences)


def _as_deployed(variant: Variant, found: Finding, padded: bool) -> float:
    """Returns the difference from transformers' outputs where it is no more than rounding."""
    if np.isnan(found.difference):
        raise Undefined(f"{variant.name}: {found.says}")
    if found.says or not found.difference <= TOLERANCE:
        alone = "; batch_size=1 asks for answers without padding" if padded else ""
        says = found.says or f"its outputs differ by {found.difference:.2g} of the largest{alone}"
        raise Undefined(
            f"{variant.name} does not answer as transformers does with the same folder, one text "
            f"at a time: {says}. Its quality and time are not counted"
        )
    return found.difference


def _as_eager(variant: Variant, found: Finding) -> float:
    """Returns the difference from eager's outputs where rounding and the schemes explain it."""
    if not found.difference <= (allowed := tolerance(variant)):
        raise Undefined(
            f"{variant.name} differs from eager by {found.difference:.3g} of the largest logit "
            f"(allowed: {allowed:g}), so neither its quality nor its time is counted"
        )
    return found.difference


def _kept(
    against: str,
    variant: Variant,
    task: Ref | None,
    padded: bool,
    anew: bool,
    measure: Callable[[Sequence[Any]], Finding],
) -> Finding:
    """Returns what was found before of the same content on this machine, or finds it."""

    def find() -> Finding:
        if not anew:
            raise LookupError(key)
        return measure(tried(task))

    used = uses(variant), task and registry.tasks.get(task.name).version
    about = against, VERSION, variant, task, used, padded, environment.machine_key()
    key = content_hash("verify", *about)
    return Finding(*store.memo(key, find))


def tried(task: Ref | None) -> list[Any]:
    """Returns the examples that are tried: the longest, the shortest, and some between.

    Of images and of language tasks the first by content: one is as long as another, or is cut.
    """
    if task is None:
        return [" ".join(MADE_UP[k % 4] for k in range(size)) for size in (1, 3, 9, 40, 700)]
    data = tasks.load(task)
    split = next((s for s in ("test", "validation") if len(data.data[s])), "train")
    examples = data.read(data.split(split))
    if data.kind == "language" or data.modality == "image":
        return examples[: TRIED // 2]
    order = sorted(range(len(examples)), key=lambda k: (_size(examples[k]), k))
    count = min(TRIED, len(order))
    places = np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))
    return [examples[order[k]] for k in places]


def _size(example: Any) -> int:
    return sum(map(len, example)) if isinstance(example, tuple) else len(example)


def _against_eager(runner: Runner, eager: Runner, examples: Sequence[Any], padded: bool) -> Finding:
    differences = []
    for some in _batches(len(examples), padded):
        inputs = eager.inputs([examples[k] for k in some])
        differences.append(_difference(runner.forward(inputs), eager.forward(inputs)))
    return Finding(max(differences))


def _batches(count: int, padded: bool) -> list[list[int]]:
    """Returns the places of the examples whose outputs are compared, a list a batch.

    One of middle length alone, since a batch of one takes paths of its own; and with the shortest
    and the longest in a batch, where there may be one, since that pads the most.
    """
    middle = count // 2
    together = sorted({0, middle, count - 1})
    return [[middle], together if padded else [count - 1]]


def _against_deployed(runner: Runner, examples: Sequence[Any], padded: bool) -> Finding:
    """Compares a runner's tokens and outputs with transformers' own, text by text."""
    source = runner.variant.architecture.args["source"]
    report("comparing its answers with transformers'")
    deployed = Deployment(locate(source), pretrained.kind_of(source))
    if wrong := deployed.broken():  # in rows that no text tried here may read
        return Finding(np.nan, wrong)
    ours = _tokens(runner, examples)
    length = _cut_of_deployed(runner)
    for example, ids in zip(examples, ours, strict=True):
        theirs = deployed.ids(example, length)
        if len(theirs) > (runner.length or len(theirs)) and _fails(deployed, example):
            theirs = deployed.ids(example, runner.length)  # more than the model has positions
        if ids != theirs:
            return Finding(np.inf, _other_tokens(example, ids, theirs))
    largest = 0.0
    for some in _batches(len(examples), padded):
        answers = runner.forward(runner.inputs([examples[k] for k in some]))
        for k, outputs in zip(some, answers, strict=True):
            found = outputs if outputs.ndim == 1 else outputs[: len(ours[k])]  # of its own tokens
            expected = deployed.outputs(examples[k], runner.length)
            if not np.isfinite(expected).all():
                return Finding(np.nan, f"transformers itself gives NaN for {_text(examples[k])}")
            largest = max(largest, _difference(found, expected))
    return Finding(largest)


def _fails(deployed: Deployment, example: Any) -> bool:
    """Says whether transformers itself cannot answer a text at the length it would read."""
    try:
        deployed.outputs(example, None)
    except (IndexError, RuntimeError):
        return True
    return False


def _cut_of_deployed(runner: Runner) -> int | None:
    """Returns the tokens at which transformers is to cut: None is where its tokenizer says so."""
    tokenizer, asked = runner.model.tokenizer, runner.variant.architecture.args.get("length")
    if runner.model.kind == "causal":
        return runner.length
    assert isinstance(tokenizer, HFTokenizer)
    told = tokenizer.library.model_max_length < pretrained.UNLIMITED
    return int(asked) if asked else None if told else runner.length


def _tokens(runner: Runner, examples: Sequence[Any]) -> list[list[int]]:
    rows = runner.model.preprocessor.encode(examples, runner.length)
    return [list(getattr(row, "inputs", {"input_ids": row})["input_ids"]) for row in rows]


def _other_tokens(example: Any, ours: list[int], theirs: list[int]) -> str:
    text = _text(example)
    if len(ours) != len(theirs):
        return f"it reads {text} as {len(ours)} tokens, transformers as {len(theirs)}"
    at = next(k for k, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    return f"it reads token {at + 1} of {text} as {ours[at]}, transformers as {theirs[at]}"


def _text(example: Any) -> str:
    return shown(example if isinstance(example, str) else " / ".join(example))


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference as a share of the largest output; or infinity."""
    if found.shape != expected.shape or not np.isfinite(expected).all():
        return float("inf")
    gap = np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-9)
    return float(gap) if np.isfinite(gap) else float("inf")
