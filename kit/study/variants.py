"""The variants that a harness compares: by name, of a size, with each seed, in combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kit.build import build
from kit.build.traits import is_trained
from kit.corruptions import mismatch
from kit.measurements import Quality
from kit.spec import presets, registry
from kit.spec.checking import SpecError, shown
from kit.spec.ref import Ref
from kit.spec.roles import repeats
from kit.spec.spec import Budget, Training, Variant
from kit.tasks import modality
from kit.tasks.templates import template_of

Named = str | Ref
SCHEMES = ("bf16", "w8", "w4", "w4g32", "w3", "w2", "torchao_int8", "dynamic_int8")


def classifier(
    architecture: Named = "minilm", task: Named = "sentiment", **training: Any
) -> Variant:
    """Returns an encoder or a network for images trained end to end, at the preset's size.

    An architecture that starts from random weights says what that takes: its `rate`, and its
    `passes` over the examples for each of the preset's epochs (at most the preset's).

    Args:
        architecture: an encoder or a network for images, by name or Ref.
        task: a classification task.
        **training: fields of `Training` to set otherwise.
    """
    ref = registry.architectures.canonical(architecture)
    traits = registry.architectures.get(ref.name).traits
    passes = min(traits.get("passes", 1), presets.of(smoke=3, default=math.inf, full=math.inf))
    epochs = passes * presets.of(smoke=1, default=1, full=2)
    usual = {
        "budget": Budget(epochs=epochs, examples=presets.of(smoke=256, default=None, full=None)),
        "rates": (traits.get("rate", 1e-4),),
    }
    return Variant(ref, Training(registry.tasks.canonical(task), **{**usual, **training}))


def variant_of(given: Variant | Named) -> Variant:
    """Returns a variant as it is, a pretrained or null model by its name."""
    return given if isinstance(given, Variant) else Variant(registry.architectures.canonical(given))


def each_seed(variants: Iterable[Variant], seeds: int) -> list[Variant]:
    """Returns each trained variant once a seed; what is not trained has no seed to vary."""
    return [
        variant.replace(seed=variant.seed + extra)
        for variant in variants
        for extra in range(seeds if is_trained(variant) else 1)
    ]


def tasks_of(given: Sequence[Named]) -> list[Ref]:
    """Returns the tasks of a study; a single one is a list of one.

    Raises:
        SpecError: an unknown name, or none at all.
    """
    names = [given] if isinstance(given, str | Ref) else list(given)
    if not names:
        raise SpecError(f"no task is named; there are {', '.join(registry.tasks.names())}")
    return [registry.tasks.canonical(name) for name in names]


def among(variants: Iterable[Variant], base: Variant) -> tuple[Variant, list[Variant]]:
    """Returns the baseline and all variants; raises SpecError where it is not among them."""
    compared = list(variants)
    if base not in compared:
        names = ", ".join(variant.name for variant in compared)
        raise SpecError(f"baseline {base.name!r} is not among the variants: {names}")
    return base, compared


def of_size(named: Named, budget: Budget, training: Training) -> Variant:
    """Returns an architecture of the budget's size, trained so."""
    from kit.architectures.budget import solve_width

    ref = registry.architectures.canonical(named)
    make = registry.architectures.get(ref.name).traits.get("tokenizer")
    return Variant(solve_width(ref, budget, make().vocab_size if make else 256), training)


def combinations(
    base: Variant,
    schemes: Sequence[Named | Sequence[Named]] | None,
    runtimes: Sequence[Named] | None,
) -> tuple[list[Variant], dict[str, str]]:
    """Returns the base with each scheme on each runtime where it works, and why not elsewhere."""
    if schemes is None:
        schemes = presets.of(smoke=("w4g32", "dynamic_int8"), default=SCHEMES, full=SCHEMES)
    if runtimes is None:
        every = ("eager", "compiled", "onnx")
        runtimes = presets.of(smoke=("eager", "onnx"), default=every, full=every)
    variants, left_out = [base], {}
    for what, some in (("schemes", schemes), ("runtimes", runtimes)):
        if isinstance(some, str | Ref):
            raise SpecError(f"{what}={shown(some)}; expected a list, such as {[str(some)]}")
    for given, runtime in itertools.product(((), *schemes), runtimes):
        chain = (given,) if isinstance(given, str | Ref) else tuple(given)
        variant = base.replace(schemes=chain, runtime=runtime)
        if is_simulated(variant) and variant.runtime.name != "eager":
            left_out[variant.name] = "simulated: an error study, on eager alone"
        elif reason := build.conflict(variant):
            left_out[variant.name] = reason
        else:
            variants.append(variant)
    return list(dict.fromkeys(variants)), left_out


def is_simulated(variant: Variant) -> bool:
    """Says whether one of its schemes computes in fp32 with rounded weights."""
    return any(registry.schemes.get(ref.name).traits["simulated"] for ref in variant.schemes)


def shifted_copies(
    tasks: Sequence[Ref], corruptions: Iterable[Ref], templates: str | Sequence[str]
) -> tuple[list[tuple[Ref, dict[str, Any]]], dict[str, str]]:
    """Returns each task with the arguments that make its shifted copies, and what is left out.

    Args:
        tasks: of a study.
        corruptions: with their severities.
        templates: names of other ways to put questions; a task's own is no copy.
    """
    copies: list[tuple[Ref, dict[str, Any]]] = []
    left_out: dict[str, str] = {}
    for task, corruption in itertools.product(tasks, corruptions):
        fixed = "" if "corruption" in Quality(task).args else f"{task.name} has prompts of its own"
        if reason := mismatch(corruption, task) or fixed:
            left_out[f"{corruption.name} of {task.name}"] = reason
        else:
            copies.append((task, {"corruption": corruption}))
    names = [templates] if isinstance(templates, str) else templates
    for task, name in itertools.product(tasks, names):
        if "template" not in Quality(task).args:
            left_out[f"{name} of {task.name}"] = f"{task.name} has no questions to put"
            continue
        own = registry.tasks.get(task.name).traits["template"]
        if template_of(name, own) != own:
            copies.append((task, {"template": name}))
    return copies, left_out


def ways_again(
    task: Ref, base: Variant, others: Iterable[Variant], sizes: list[dict[str, Any]]
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """Yields the variants that predict again, and how: the baseline in every way."""
    ask = Quality(task)
    fits = [how for how in sizes if how.keys() <= ask.args.keys()]
    ways = {v: fits for v in others} | {base: [*repeats(ask, modality(task)), *fits]}
    for variant, hows in ways.items():
        yield from ((variant, how) for how in hows)


def batches(sizes: set[int], measurements: Iterable[Ref]) -> list[dict[str, Any]]:
    """Returns the arguments of repeats in batches of these sizes and of those that are timed."""
    asked = map(registry.measurements.canonical, measurements)
    timed = [each.args.get("batch_sizes", ()) for each in asked]
    return [{"batch_size": size} for size in sorted(sizes.union(*timed))]
