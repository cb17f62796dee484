"""From a variant to something that runs: weights -> compressed -> exported -> runner."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets, environment, registry, store, tasks
from kit.progress import report
from kit.ref import Ref, to_json
from kit.spec import Run, Variant, uses

if TYPE_CHECKING:
    from kit.architectures.model import Model
    from kit.tasks.task import Task


def origin(run: Run, *, built: bool) -> dict[str, Any]:
    """Returns what the numbers of a run come from, as plain JSON; builds nothing.

    Args:
        run: which.
        built: whether what it builds is there.

    Returns:
        `run`, `versions` (by `kind/name`), `assets` (`version` and `sha256` by name) and `built`
        (`training`, `export`: its `folder` under `built/` in the store, the `seconds` it took).
    """
    versions = uses(run)
    found = {}
    for kind, _, name in (key.partition("/") for key in versions if "/" in key):
        for asset in registry.REGISTRIES[kind].get(name).traits.get("assets", ()):
            card = assets.card(asset)
            found[asset] = {"version": card.version, "sha256": card.sha256}
    places = folders(run.variant) if built else {}
    made = {
        what: {"folder": folder.name, "seconds": store.seconds(folder)}
        for what, folder in places.items()
    }
    return {"run": to_json(run), "versions": versions, "assets": found, "built": made}


def kind_of(variant: Variant) -> str:
    """Returns the kind its architecture is registered with."""
    return str(registry.architectures.get(variant.architecture.name).traits["kind"])


def conflict(variant: Variant) -> str | None:
    """Returns why a variant cannot work on this machine, or None. Loads no model."""
    runtime = registry.runtimes.get(variant.runtime.name)
    if kind_of(variant) == "predictor" and (variant.schemes or variant.runtime.name != "eager"):
        return f"{variant.architecture.name} is a predictor: it takes no scheme and no runtime"
    if registry.architectures.get(variant.architecture.name).traits.get("fitted"):
        if variant.schemes or variant.runtime.name != "eager":
            return f"{variant.architecture.name} is fitted by counting: eager alone, no scheme"
    for ref in variant.schemes:
        traits = registry.schemes.get(ref.name).traits
        if traits["stage"] == "exported" and runtime.traits["form"] != "graph":
            return (
                f"{ref.name} acts on an exported graph, which {runtime.name} does not run; use onnx"
            )
        if traits["runtimes"] and runtime.name not in traits["runtimes"]:
            return f"{ref.name} runs on {', '.join(traits['runtimes'])}, not on {runtime.name}"
        if "dtype" in traits and (slow := environment.slow_dtype(traits["dtype"])):
            return slow
    if variant.training is None:
        return None
    task = variant.training.task
    given, wanted = tasks.modality(task), "image" if kind_of(variant) == "vision" else "text"
    if is_trained(variant) and given != wanted:
        return f"{variant.architecture.name} reads {wanted}s; the task {task.name} holds {given}s"
    if variant.training.dtype != "float32":
        return environment.slow_dtype(variant.training.dtype)
    return None


def is_trained(variant: Variant) -> bool:
    """Says whether its weights are made by the training loop (not pretrained, nor a predictor)."""
    return variant.training is not None and kind_of(variant) not in ("predictor", "pretrained")


def bare(variant: Variant, schemes: Sequence[Ref] = ()) -> Variant:
    """Returns the variant on eager, with these schemes alone."""
    return dataclasses.replace(variant, schemes=tuple(schemes), runtime=Ref("eager"), name="bare")


def _weights_spec(variant: Variant) -> list[Any]:
    source = bare(variant)
    assert source.training is not None
    data = tasks.describe(source.training.task)["fingerprints"]
    return ["weights", source, uses(source), data["train"], data["validation"]]


def _rate(variant: Variant) -> float:
    """Returns the learning rate: the one given, or the best of short trials with seed 0."""
    assert variant.training is not None
    if len(variant.training.rates) == 1:
        return variant.training.rates[0]
    first = bare(variant.replace(seed=0))
    assert first.training is not None
    training = first.training

    def make(folder: Path) -> None:
        from kit.architectures.model import make_model
        from kit.architectures.training import pick_rate

        task = tasks.load(training.task)
        best = pick_rate(
            lambda: make_model(first.architecture, task, seed=0, fit=False),
            task,
            training,
            seed=0,
            folder=folder,
        )
        store.write_text(folder / "rate.json", json.dumps(best))

    folder = store.built(["rate", *_weights_spec(first)[1:]], make)
    return float(json.loads((folder / "rate.json").read_text(encoding="utf-8")))


def weights_folder(variant: Variant) -> Path:
    """Returns the folder of a trained variant's weights, curve and log; trains where absent."""

    def make(folder: Path) -> None:
        from kit.architectures.model import make_model, save_model
        from kit.architectures.training import train

        assert variant.training is not None
        training = dataclasses.replace(variant.training, rates=(_rate(variant),))
        task = tasks.load(training.task)
        model = make_model(variant.architecture, task, seed=variant.seed, fit=False)
        result = train(model, task, training, seed=variant.seed, folder=folder)
        save_model(model, folder)
        store.write_text(folder / "training.json", json.dumps(result))

    return store.built(_weights_spec(variant), make)


def load_model(variant: Variant, task: Ref | None = None) -> Model:
    """Returns the variant's model with its weights and torch-stage schemes applied.

    Args:
        variant: what to load.
        task: gives labels to a pretrained classifier and a predictor, which have no training.
    """
    from kit.architectures.model import load_weights, make_model

    trained = is_trained(variant)
    data = task_of(variant, task)
    model = make_model(variant.architecture, data, seed=variant.seed, fit=not trained)
    if trained:
        load_weights(model, weights_folder(variant))
    module = model.module
    for ref in stage(variant, "torch"):
        module = registry.schemes.get(ref.name).function(module, **ref.args)
    return dataclasses.replace(model, module=module)


def task_of(variant: Variant, task: Ref | None) -> Task | None:
    """Returns the task a variant was trained on, else the given one."""
    ref = variant.training.task if variant.training is not None else task
    return None if ref is None else tasks.load(ref)


def stage(variant: Variant, name: str) -> list[Ref]:
    """Returns the variant's schemes of one stage."""
    traits = {ref: registry.schemes.get(ref.name).traits for ref in variant.schemes}
    return [ref for ref in variant.schemes if traits[ref]["stage"] == name]


def _graph_spec(variant: Variant, exported: Sequence[Ref]) -> list[Any]:
    from kit.runtimes.onnx import EXPORT_VERSION

    source = bare(variant, [*stage(variant, "torch"), *exported])
    weights = _weights_spec(variant) if is_trained(variant) else None
    about = environment.machine()
    made_by = [EXPORT_VERSION, about["torch"], about["onnxruntime"] if exported else ""]
    return ["graph", source, uses(source), weights, made_by]


def graph_path(variant: Variant) -> Path:
    """Returns the variant's ONNX graph, exported and compressed where absent."""
    path = _exported(variant)
    refs = stage(variant, "exported")
    for index, ref in enumerate(refs):
        scheme = registry.schemes.get(ref.name).function

        def make(folder: Path, path: Path = path, ref: Ref = ref, scheme: Any = scheme) -> None:
            report(f"{ref.name} of {variant.architecture.name}")
            scheme(path, folder / "model.onnx", **ref.args)

        folder = store.built(_graph_spec(variant, refs[: index + 1]), make)
        path = folder / "model.onnx"
    return path


def _exported(variant: Variant) -> Path:
    def make(folder: Path) -> None:
        from kit.runtimes.onnx import export

        report(f"exporting {variant.architecture.name}")
        model = load_model(variant)
        inputs = model.preprocessor.collate(model.preprocessor.made_up(2, 16))
        export(model.module, inputs, folder / "model.onnx")

    return store.built(_graph_spec(variant, ()), make) / "model.onnx"


def gives_features(variant: Variant) -> bool:
    """Says whether a variant has pooled hidden vectors: a trained classifier in PyTorch."""
    form = registry.runtimes.get(variant.runtime.name).traits["form"]
    return kind_of(variant) in ("encoder", "vision") and form == "module"


def folders(variant: Variant) -> dict[str, Path]:
    """Returns where the expensive things of a variant are or will be: `training`, `export`."""
    places = {}
    if is_trained(variant):
        places["training"] = store.built_path(_weights_spec(variant))
    if registry.runtimes.get(variant.runtime.name).traits["form"] == "graph":
        spec = _graph_spec(variant, stage(variant, "exported"))
        places["export"] = store.built_path(spec)
    return places


def needs_build(variant: Variant) -> list[str]:
    """Returns which of its `folders` are not built yet."""
    return [what for what, folder in folders(variant).items() if not folder.exists()]


def prepare(variant: Variant) -> None:
    """Builds what `needs_build` names."""
    if is_trained(variant):
        weights_folder(variant)
    if registry.runtimes.get(variant.runtime.name).traits["form"] == "graph":
        graph_path(variant)
