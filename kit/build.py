"""From a variant to something that runs: a chain of steps between forms.

A form is what a model is: a `module`, or what an exporter gives, such as `onnx`. A scheme acts on
one form, an exporter leads from one to the next, a runtime runs one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets, environment, registry, store, tasks
from kit.compression.stored import Compressed, merged
from kit.entries import call
from kit.progress import report
from kit.ref import Ref, content_hash
from kit.spec import Run, Variant, named, uses
from kit.values import SpecError, suggest

if TYPE_CHECKING:
    from torch import Tensor

    from kit.architectures.model import Model
    from kit.tasks.task import Task

CAUSAL_LENGTH = 256
"""Tokens of a text that a pretrained language model is timed with."""

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


def kind_of(variant: Variant) -> str:
    """Returns the kind its architecture is registered with."""
    return str(registry.architectures.get(variant.architecture.name).traits["kind"])


def conflict(variant: Variant, measurement: Ref | None = None) -> str | None:
    """Returns why a variant cannot work on this machine, or cannot be measured so; else None.

    Loads no model.
    """
    kind, fixed = kind_of(variant), variant.schemes or variant.runtime.name != "eager"
    if kind == "predictor" and fixed:
        return f"{variant.architecture.name} is a predictor: it takes no scheme and no runtime"
    if registry.architectures.get(variant.architecture.name).traits.get("fitted") and fixed:
        return f"{variant.architecture.name} is fitted by counting: eager alone, no scheme"
    for reason in (*map(partial(_scheme_conflict, variant), variant.schemes), _no_way(variant)):
        if reason:
            return reason
    if measurement is not None and (reason := _lack(variant, measurement)):
        return reason
    if variant.training is None:
        return None
    if is_trained(variant) and (reason := _unreadable(variant, variant.training.task)):
        return reason
    if variant.training.dtype != "float32":
        return environment.slow_dtype(variant.training.dtype)
    return None


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


def _no_way(variant: Variant) -> str | None:
    """Returns why nothing leads from the last scheme's form to the runtime's."""
    if not variant.schemes:
        return None
    last, runtimes = variant.schemes[-1].name, registry.runtimes
    form = registry.schemes.get(last).traits["form"]
    there = [name for name in runtimes.names() if registry.route(form, _form(name)) is not None]
    if variant.runtime.name in there:
        return None
    return (
        f"{last} gives {form}, which {variant.runtime.name} does not run; "
        f"use {' or '.join(there) or 'a runtime of that form'}"
    )


def _form(runtime: str) -> str:
    return str(registry.runtimes.get(runtime).traits["form"])


def _lack(variant: Variant, measurement: Ref) -> str | None:
    """Returns what a measurement needs and the variant's runtime does not give."""
    runtimes = registry.runtimes
    gives = {name: runtimes.get(name).traits["gives"] for name in runtimes.names()}
    for need in registry.measurements.get(measurement.name).traits["needs"]:
        if need not in gives[variant.runtime.name]:
            able = " or ".join(name for name, given in gives.items() if need in given)
            return (
                f"{measurement.name} needs a runtime that gives {need}, which "
                f"{variant.runtime.name} does not; use {able or 'one of your own'}"
            )
    return None


def _unreadable(variant: Variant, task: Ref) -> str | None:
    given, wanted = tasks.modality(task), "image" if kind_of(variant) == "vision" else "text"
    if given == wanted:
        return None
    return f"{variant.architecture.name} reads {wanted}s; the task {task.name} holds {given}s"


def is_trained(variant: Variant) -> bool:
    """Says whether its weights are made by the training loop (not pretrained, nor a predictor)."""
    return variant.training is not None and kind_of(variant) not in ("predictor", "pretrained")


def bare(variant: Variant) -> Variant:
    """Returns the variant on eager, without schemes."""
    return dataclasses.replace(variant, schemes=(), runtime=Ref("eager"), name="bare")


def on_eager(variant: Variant) -> Variant:
    """Returns the variant on eager, with those schemes that act on a module."""
    traits = {ref: registry.schemes.get(ref.name).traits for ref in variant.schemes}
    schemes = tuple(ref for ref in variant.schemes if traits[ref]["form"] == "module")
    return dataclasses.replace(bare(variant), schemes=schemes)


class Step:
    """One step of a variant on its way to running, from what the step before gives.

    Attributes:
        name: what is done: `training`, or an exporter's or a scheme's name.
        form: of what it gives.
        spec: what that depends on: a Ref, its version and the spec of the step before.
        kept: whether it is made once and kept in the store; else it is done again at each load.
    """

    name: str
    form: str
    spec: list[Any]
    kept: bool

    @property
    def folder(self) -> Path:
        """Where what it makes is kept, or would be."""
        return store.built_path(self.spec)

    def built(self) -> Path:
        """Returns the folder of what it makes, which is made where it is not there."""
        return store.built(self.spec, self.make)

    def make(self, folder: Path) -> None:
        """Writes what is kept."""
        raise NotImplementedError

    def load(self, task: Ref | None = None) -> Any:
        """Returns what it gives: a `Model`, or the path of another form.

        Args:
            task: gives labels to a pretrained classifier and a predictor, which have no training.
        """
        raise NotImplementedError


class Weights(Step):
    """The architecture with its weights: trained, or as they come."""

    form = "module"

    def __init__(self, variant: Variant) -> None:
        self.variant, self.kept = variant, is_trained(variant)
        self.name = "training" if self.kept else "loading"
        self.spec = ["weights", bare(variant), uses(bare(variant))]
        if self.kept:
            assert variant.training is not None
            data = tasks.describe(variant.training.task)["fingerprints"]
            self.spec += [data["train"], data["validation"]]

    def make(self, folder: Path) -> None:
        """Writes weights, curve and log."""
        from kit.architectures.model import make_model, save_model
        from kit.architectures.training import train

        variant = self.variant
        assert variant.training is not None
        training = dataclasses.replace(variant.training, rates=(_rate(variant),))
        task = tasks.load(training.task)
        model = make_model(variant.architecture, task, seed=variant.seed, fit=False)
        result = train(model, task, training, seed=variant.seed, folder=folder)
        save_model(model, folder)
        store.write_text(folder / "training.json", json.dumps(result))

    def load(self, task: Ref | None = None) -> Model:
        from kit.architectures.model import load_weights, make_model

        variant = self.variant
        data = task_of(variant, task)
        model = make_model(variant.architecture, data, seed=variant.seed, fit=not self.kept)
        if self.kept:
            load_weights(model, self.built())
        return model


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

    folder = store.built(["rate", *Weights(first).spec[1:]], make)
    return float(json.loads((folder / "rate.json").read_text(encoding="utf-8")))


class Fit(Step):
    """What the `fit=` of a scheme finds on calibration data; the module stays as it was."""

    form, kept = "module", True

    def __init__(self, variant: Variant, ref: Ref, before: Step) -> None:
        entry, self.data = registry.schemes.get(ref.name), calibration(variant, ref)
        self.variant, self.before, self.name = variant, before, f"fit of {ref.name}"
        self.fit = entry.traits["fit"]
        asked = {k: v for k, v in ref.args.items() if k in inspect.signature(self.fit).parameters}
        self.ref = Ref(ref.name, **asked | {"calibration": self.data})
        prints = tasks.describe(self.data)["fingerprints"]
        self.spec = ["fit", self.ref, entry.version, prints["train"], before.spec]

    def make(self, folder: Path) -> None:
        """Writes what is found as safetensors."""
        from safetensors.torch import save_file

        from kit.architectures.model import seeded

        report(self.name)
        model: Model = self.before.load(self.data)
        model.module.eval()
        with seeded(self.variant.seed):
            found = call(self.fit, self.ref, model=model.module, batches=self._batches(model))
        if not isinstance(found, dict):
            raise SpecError(
                f"the {self.name} gave a {type(found).__name__}; expected a dict of tensors"
            )
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}
        save_file(tensors, folder / "fitted.safetensors")

    def _batches(self, model: Model) -> Iterator[Mapping[str, Tensor]]:
        """Yields the module's inputs for each training item by itself, in the data's order."""
        data, length = tasks.load(self.data), length_of(self.variant, model)
        for example in data.examples(data.split("train")):
            rows = model.preprocessor.encode([example], length)
            yield model.preprocessor.collate(rows)

    def load(self, task: Ref | None = None) -> Model:
        model: Model = self.before.load(task)
        return model

    def fitted(self) -> dict[str, Tensor]:
        """Returns what was found."""
        from safetensors.torch import load_file

        return load_file(self.built() / "fitted.safetensors")


def calibration(variant: Variant, ref: Ref) -> Ref:
    """Returns the task on whose training split a scheme is fitted: its own, else the variant's.

    Raises:
        SpecError: there is neither.
    """
    if (given := ref.args["calibration"]) is not None:
        return registry.tasks.canonical(given)
    if variant.training is None:
        name = registry.architectures.short(variant.architecture)
        raise SpecError(
            f"{ref.name} is fitted on data, and {name} was not trained here: say on which, "
            f"Ref({ref.name!r}, calibration='...'), the name of a task"
        )
    return variant.training.task


def length_of(variant: Variant, model: Model) -> int | None:
    """Returns the tokens at which a variant's inputs are cut; None for a model without limit."""
    if variant.training is not None:
        return variant.training.length
    if model.kind == "causal":
        return min(CAUSAL_LENGTH, model.window or CAUSAL_LENGTH)
    return model.window


class Compression(Step):
    """A scheme on a module."""

    form, kept = "module", False

    def __init__(self, ref: Ref, before: Step) -> None:
        self.ref, self.before = ref, before
        self.entry = registry.schemes.get(ref.name)
        self.name, self.spec = ref.name, [ref, self.entry.version, before.spec]

    def load(self, task: Ref | None = None) -> Model:
        model: Model = self.before.load(task)
        fitted = self.before.fitted() if isinstance(self.before, Fit) else None
        result = call(self.entry.function, self.ref, model=model.module, fitted=fitted)
        made = result if isinstance(result, Compressed) else Compressed(result, {})
        return dataclasses.replace(model, module=made.module, bits=merged(model.bits, made.bits))


class Written(Step):
    """What an exporter makes of the form before, or a scheme of a form that lies on disk."""

    kept = True

    def __init__(self, entry: registry.Entry, ref: Ref, form: str, before: Step) -> None:
        self.entry, self.ref, self.form, self.before = entry, ref, form, before
        about = environment.machine()
        self.name = ref.name
        self.spec = [ref, entry.version, about["torch"], about["onnxruntime"], before.spec]

    def make(self, folder: Path) -> None:
        """Writes the model in the form."""
        report(self.name)
        given: dict[str, Any] = {"path": self.before.load()}
        if self.before.form == "module":
            model = given.pop("path")
            inputs = model.preprocessor.collate(model.preprocessor.made_up(2, 16))
            given = {"model": model.module, "inputs": inputs}
        call(self.entry.function, self.ref, output=folder / f"model.{self.form}", **given)

    def load(self, task: Ref | None = None) -> Path:
        del task
        return self.built() / f"model.{self.form}"


def steps(variant: Variant) -> list[Step]:
    """Returns what leads from an architecture to what the variant's runtime runs, in order."""
    chain: list[Step] = [Weights(variant)]

    def export(form: str) -> None:
        for entry in registry.route(chain[-1].form, form) or ():
            chain.append(Written(entry, Ref(entry.name), entry.traits["target"], chain[-1]))

    for ref in variant.schemes:
        entry = registry.schemes.get(ref.name)
        export(form := entry.traits["form"])
        if form == "module":
            if entry.traits["fit"]:
                chain.append(Fit(variant, ref, chain[-1]))
            chain.append(Compression(ref, chain[-1]))
        else:
            chain.append(Written(entry, ref, form, chain[-1]))
    export(_form(variant.runtime.name))
    return chain


def task_of(variant: Variant, task: Ref | None) -> Task | None:
    """Returns the task a variant was trained on, else the given one."""
    ref = variant.training.task if variant.training is not None else task
    return None if ref is None else tasks.load(ref)


def gives_features(variant: Variant) -> bool:
    """Says whether a variant has pooled hidden vectors: a trained classifier in PyTorch."""
    return kind_of(variant) in ("encoder", "vision") and _form(variant.runtime.name) == "module"


def missing(variant: Variant) -> list[Step]:
    """Returns the steps of a variant that are kept and not made yet."""
    return [step for step in steps(variant) if step.kept and not step.folder.exists()]


def prepare(variant: Variant) -> None:
    """Makes what is `missing`."""
    for step in missing(variant):
        step.built()
