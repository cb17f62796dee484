"""What a variant is by its names alone, and the plainer variants inside it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from kit import tasks
from kit.architectures.checkpoint import checkpoint
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Variant

if TYPE_CHECKING:
    from kit.architectures.model import Model
    from kit.spec.entry import Entry
    from kit.tasks.task import Task

TOLERANCE = 1e-3
"""Share of the largest output that rounding may change; a scheme or a runtime may allow more."""


def kind_of(variant: Variant) -> str:
    """Returns the kind its architecture is registered with."""
    return str(registry.architectures.get(variant.architecture.name).traits["kind"])


def is_trained(variant: Variant) -> bool:
    """Says whether its weights are made by the training loop (not pretrained, nor a predictor)."""
    return variant.training is not None and kind_of(variant) not in ("predictor", "pretrained")


def reads_task(variant: Variant) -> bool:
    """Says whether the task that it is asked makes it another model: labels, or texts to count."""
    entry = registry.architectures.get(variant.architecture.name)
    if entry.traits["kind"] == "pretrained":
        from kit.architectures.pretrained import kind_of as kind_in

        return kind_in(variant.architecture.args["source"]) != "causal"
    return entry.traits["kind"] != "causal" or bool(entry.traits.get("fitted"))


def task_of(variant: Variant, task: Ref | None) -> Task | None:
    """Returns the task a variant was trained on, else the given one."""
    ref = variant.training.task if variant.training is not None else task
    return None if ref is None else tasks.load(ref)


def length_of(variant: Variant, model: Model) -> int | None:
    """Returns the tokens at which a variant's inputs are cut; None for a model without limit."""
    if variant.training is not None:
        return variant.training.length
    if model.kind == "causal":  # a pretrained one, which may read a book
        return min(256, model.window or 256)
    return model.window


def checkpoint_of(variant: Variant) -> Path | None:
    """Returns the one file that its weights are read from, as they are in it; else None."""
    if kind_of(variant) != "pretrained" or on_eager(variant).schemes:
        return None
    return checkpoint(variant.architecture.args["source"])


def bare(variant: Variant) -> Variant:
    """Returns the variant on eager, without schemes."""
    return dataclasses.replace(variant, schemes=(), runtime=Ref("eager"), name="bare")


def on_eager(variant: Variant) -> Variant:
    """Returns the variant on eager, with those schemes that act on a module."""
    schemes, known = variant.schemes, registry.schemes
    kept = [ref for ref in schemes if known.get(ref.name).traits["form"] == "module"]
    return bare(variant).replace(schemes=kept)


def rounds_rows(variant: Variant) -> bool:
    """Says whether kernels that a call's shape chooses round the activations of its rows.

    Then two ways of computing the same agree to that rounding alone.
    """
    return any(entry.traits.get("rounds_rows") for entry in _entries(variant))


def tolerance(variant: Variant) -> float:
    """Returns the share of the largest output that rounding, schemes and runtime may change."""
    return float(max([TOLERANCE, *(entry.traits["tolerance"] for entry in _entries(variant))]))


def _entries(variant: Variant) -> list[Entry]:
    """Returns what its schemes and its runtime are registered as."""
    schemes = [registry.schemes.get(ref.name) for ref in variant.schemes]
    return [*schemes, registry.runtimes.get(variant.runtime.name)]
