"""What is known of a run and a variant before anything is loaded: origins and conflicts."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from kit import tasks
from kit.architectures.checkpoint import has_checkpoint
from kit.assets import assets
from kit.build.steps import calibration, steps
from kit.build.traits import is_trained, kind_of, on_eager, reads_task
from kit.machine import ceilings
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref, to_json
from kit.spec.spec import Run, Variant, exporters, uses
from kit.store.built import seconds


def origin(run: Run, *, built: bool) -> dict[str, Any]:
    """Returns what the numbers of a run come from, as plain JSON; builds nothing.

    Args:
        run: which.
        built: whether what it builds is there.

    Returns:
        `run`, `versions` (by `kind/name`), `assets` (`version` and `sha256` by name) and `built`
        (by folder under `built/` in the store: the `step` that made it, the `seconds` it took).
    """
    versions = uses(run)
    cards = {
        asset: assets.card(asset)
        for kind, _, name in (key.partition("/") for key in versions if "/" in key)
        for asset in registry.REGISTRIES[kind].get(name).traits.get("assets", ())
    }
    return {
        "run": to_json(run),
        "versions": versions,
        "assets": {
            name: {"version": card.version, "sha256": card.sha256} for name, card in cards.items()
        },
        "built": {
            step.folder.name: {"step": step.name, "seconds": seconds(step.folder)}
            for step in (steps(run.variant) if built else ())
            if step.kept
        },
    }


def conflict(variant: Variant, measurement: Ref | None = None) -> str | None:
    """Returns why a variant cannot work on this machine, or cannot be measured so; else None.

    Loads no model.
    """
    return next(filter(None, _conflicts(variant, measurement)), None)


def _conflicts(variant: Variant, measurement: Ref | None) -> Iterator[str | None]:
    name, training = variant.architecture.name, variant.training
    short = registry.schemes.short
    if variant.schemes or variant.runtime.name != "eager":
        if kind_of(variant) == "predictor":
            yield f"{name} is a predictor: it takes no scheme and no runtime"
        if registry.architectures.get(name).traits.get("fitted"):
            yield f"{name} is fitted by counting: eager alone, no scheme"
    runtime = registry.runtimes.get(variant.runtime.name)
    schemes = [registry.schemes.get(ref.name) for ref in variant.schemes]
    for entry in (*schemes, runtime, *exporters(variant)):
        yield _not_installed(entry)
    if registry.as_it_is(runtime.traits["form"]):
        yield _no_file(variant, runtime.name)
    for ref in variant.schemes:
        yield _scheme_conflict(variant, ref)
    if variant.schemes:
        yield _no_way(variant.schemes[-1], variant.runtime)
    kept = [short(each) for each in variant.schemes if _form(each) == "state"]
    args, exact = variant.runtime.args, runtime.traits.get("exact", {})
    kept += [f"{n}={args[n]}" for n, value in exact.items() if args.get(n, value) != value]
    if kept:
        yield _stateless(variant, kept, measurement)
    if measurement is not None:
        yield _lack(variant.runtime, measurement)
    if training is not None and is_trained(variant):
        yield _unreadable(variant, training.task)
    if training is not None and training.dtype != "float32":
        yield ceilings.slow_dtype(training.dtype)


def _not_installed(entry: registry.Entry) -> str | None:
    for package, source in entry.traits["packages"].items():
        if importlib.util.find_spec(package) is None:
            return f'{entry.name} needs {package}: pip install "{source}"'
    return None


def _no_file(variant: Variant, runtime: str) -> str | None:
    """Returns why there is no file that a runtime runs as it is."""
    if touched := [ref.name for ref in on_eager(variant).schemes]:
        return (
            f"{runtime} runs the file that a model was read from as it is, so {touched[0]} cannot "
            "act on its weights; expected no such scheme"
        )
    if kind_of(variant) == "pretrained" and has_checkpoint(variant.architecture.args["source"]):
        return None
    return (
        f"{runtime} runs a file as it is, and {variant.architecture.name} is not read from one; "
        f"expected a GGUF, as hf:./model.gguf, or {_or(assets.language_models())}"
    )


def _scheme_conflict(variant: Variant, ref: Ref) -> str | None:
    traits = registry.schemes.get(ref.name).traits
    if traits["runtimes"] and variant.runtime.name not in traits["runtimes"]:
        return f"{ref.name} runs on {', '.join(traits['runtimes'])}, not on {variant.runtime.name}"
    if traits["fit"]:
        try:
            return _unreadable(variant, calibration(variant, ref))
        except SpecError as error:
            return str(error)
    return ceilings.slow_dtype(traits["dtype"]) if "dtype" in traits else None


def _no_way(scheme: Ref, runtime: Ref) -> str | None:
    """Returns why nothing leads from a scheme's form to a runtime's."""
    form = _form(scheme)
    there = {*registry.routes(form)}
    able = [each.name for each in _runtimes() if there & {*each.traits["runs"]}]
    if runtime.name in able:
        return None
    return f"{scheme.name} gives {form}, which {runtime.name} does not run; use {_or(able)}"


def _form(scheme: Ref) -> str:
    return str(registry.schemes.get(scheme.name).traits["form"])


def _stateless(variant: Variant, kept: list[str], measurement: Ref | None) -> str | None:
    """Returns why schemes on what decoding keeps change nothing, or nothing that is measured."""
    what = " and ".join(kept)
    if len(kept) > 1:
        return f"{what} both act on what decoding keeps; expected one scheme on the state"
    if kind_of(variant) not in ("causal", "predictor") and reads_task(variant):
        return f"{what} acts on what decoding keeps; {variant.architecture.name} is a classifier"
    known = registry.measurements
    if measurement is None or known.get(measurement.name).traits["decodes"]:
        return None
    able = [name for name in known.names() if known.get(name).traits["decodes"]]
    return (
        f"{measurement.name} goes forward alone and would see nothing of {what}, which acts on "
        f"what decoding keeps; use {_or(able)}"
    )


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
