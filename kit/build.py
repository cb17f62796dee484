"""What is known of a run and a variant before anything is loaded: ids, origins, conflicts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kit import assets, environment, registry, store, tasks
from kit.ref import Ref, content_hash
from kit.spec import Run, Variant, named, uses
from kit.steps import Weights, calibration, is_trained, kind_of, missing, prepare, steps
from kit.values import SpecError, suggest

__all__ = ["Weights", "is_trained", "kind_of", "missing", "prepare"]  # with what is here

Fingerprints = Callable[[Ref], Mapping[str, str]]
"""Of a task's splits, by their names."""


def fingerprints() -> Fingerprints:
    """Returns a function that looks each task's fingerprints up once."""
    return functools.cache(lambda task: tasks.describe(task)["fingerprints"])


def run_ids(runs: Iterable[Run]) -> dict[Run, str]:
    """Returns the `run_id` of each run: content, data fingerprint and versions of the code used."""
    known = fingerprints()
    return {
        run: content_hash(
            run, uses(run) | {"data": content_hash([*_measured(run, known).values()])}
        )
        for run in runs
    }


def _measured(run: Run, known: Fingerprints) -> dict[str, str]:
    """Returns the fingerprints of the data that a run measures, or fits a predictor on."""
    measured = [ref for kind, ref in named(run.measurement) if kind == "tasks"]
    found = {}
    for task in measured:
        split = run.measurement.args.get("split", "test")
        if split not in known(task):
            raise SpecError(suggest(split, known(task), f"split of {task.name}"))
        found[f"{task.name} {split}"] = known(task)[split]
    if kind_of(run.variant) == "predictor":
        found |= {f"{task.name} train": known(task)["train"] for task in measured}
    return found


def origin(run: Run, known: Fingerprints | None = None) -> dict[str, Any]:
    """Returns where the numbers of a run come from, as plain JSON; builds nothing.

    Args:
        run: which.
        known: the fingerprints of tasks; looked up where not given.

    Returns:
        `code` (`kind/name` -> version), `data` (`task split` -> fingerprint), `built` (step ->
        folder under `built/` in the store) and `assets` (name -> version, sha256).
    """
    variant = run.variant
    known = known or fingerprints()
    data = _measured(run, known)
    built = {step.name: step.folder.name for step in steps(variant) if step.kept}
    found: dict[str, dict[str, str]] = {}
    if is_trained(variant):
        assert variant.training is not None
        task = variant.training.task
        data |= {f"{task.name} {split}": known(task)[split] for split in ("train", "validation")}
    code = uses(run)
    for kind, _, name in (key.partition("/") for key in code if "/" in key):
        for asset in registry.REGISTRIES[kind].get(name).traits.get("assets", ()):
            card = assets.card(asset)
            found[asset] = {"version": card.version, "sha256": card.sha256}
    return {"code": code, "data": data, "built": built, "assets": found}


def spent(variant: Variant) -> dict[str, tuple[str, float]]:
    """Returns the folders of a variant's built things, and what making each was and took."""
    found = {step.folder: step.name for step in steps(variant) if step.kept}
    return {
        folder.name: (name, float((folder / store.SECONDS).read_text()))
        for folder, name in found.items()
        if (folder / store.SECONDS).exists()
    }


def conflict(variant: Variant, measurement: Ref | None = None) -> str | None:
    """Returns why a variant cannot work on this machine, or cannot be measured so; else None.

    Loads no model.
    """
    return next(filter(None, _conflicts(variant, measurement)), None)


def _conflicts(variant: Variant, measurement: Ref | None) -> Iterator[str | None]:
    name, training = variant.architecture.name, variant.training
    if variant.schemes or variant.runtime.name != "eager":
        if kind_of(variant) == "predictor":
            yield f"{name} is a predictor: it takes no scheme and no runtime"
        if registry.architectures.get(name).traits.get("fitted"):
            yield f"{name} is fitted by counting: eager alone, no scheme"
    for ref in variant.schemes:
        yield _scheme_conflict(variant, ref)
    if variant.schemes:
        yield _no_way(variant.schemes[-1], variant.runtime)
    if measurement is not None:
        yield _lack(variant.runtime, measurement)
    if training is not None and is_trained(variant):
        yield _unreadable(variant, training.task)
    if training is not None and training.dtype != "float32":
        yield environment.slow_dtype(training.dtype)


def _scheme_conflict(variant: Variant, ref: Ref) -> str | None:
    traits = registry.schemes.get(ref.name).traits
    if traits["runtimes"] and variant.runtime.name not in traits["runtimes"]:
        return f"{ref.name} runs on {', '.join(traits['runtimes'])}, not on {variant.runtime.name}"
    if traits["fit"]:
        try:
            return _unreadable(variant, calibration(variant, ref))
        except SpecError as error:
            return str(error)
    return environment.slow_dtype(traits["dtype"]) if "dtype" in traits else None


def _no_way(scheme: Ref, runtime: Ref) -> str | None:
    """Returns why nothing leads from a scheme's form to a runtime's."""
    form = registry.schemes.get(scheme.name).traits["form"]
    there = registry.routes(form)
    able = [each.name for each in _runtimes() if each.traits["form"] in there]
    if runtime.name in able:
        return None
    return f"{scheme.name} gives {form}, which {runtime.name} does not run; use {_or(able)}"


def _lack(runtime: Ref, measurement: Ref) -> str | None:
    """Returns what a measurement needs and a runtime does not give."""
    for need in registry.measurements.get(measurement.name).traits["needs"]:
        able = [each.name for each in _runtimes() if need in each.traits["gives"]]
        if runtime.name not in able:
            return (
                f"{measurement.name} needs a runtime that gives {need}, which {runtime.name} does "
                f"not; use {_or(able)}"
            )
    return None


def _runtimes() -> list[registry.Entry]:
    return [registry.runtimes.get(name) for name in registry.runtimes.names()]


def _or(names: list[str]) -> str:
    return " or ".join(names) or "one of your own"


def _unreadable(variant: Variant, task: Ref) -> str | None:
    given, wanted = tasks.modality(task), "image" if kind_of(variant) == "vision" else "text"
    if given == wanted:
        return None
    return f"{variant.architecture.name} reads {wanted}s; the task {task.name} holds {given}s"


def gives_features(variant: Variant) -> bool:
    """Says whether a variant has pooled hidden vectors: a trained classifier in PyTorch."""
    form = registry.runtimes.get(variant.runtime.name).traits["form"]
    return kind_of(variant) in ("encoder", "vision") and form == "module"
