"""The steps that lead from a variant to something that runs.

A form is what a model is: a `module`, or what an exporter gives, such as `onnx`. A scheme acts on
one form, an exporter leads from one to the next, a runtime runs one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import tasks
from kit.architectures.model import Model, load_weights, make_model, save_model, seeded
from kit.build.traits import bare, checkpoint_of, is_trained, length_of, task_of
from kit.compression.stored import Compressed, merged
from kit.machine import environment
from kit.machine.progress import report
from kit.spec import registry
from kit.spec.arguments import call, positional
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Variant, uses
from kit.store import built, store
from kit.training.train import pick_rate, train

if TYPE_CHECKING:
    from torch import Tensor


class Step:
    """One step, from what the step before gives.

    Attributes:
        name: what is done: `training`, or an exporter's or a scheme's name.
        form: of what it gives.
        kept: whether `make` writes something once, into a folder of the store.
        spec: what that depends on: a Ref, its version and the spec of the step before.
    """

    name: str
    form = "module"
    kept: bool
    spec: list[Any]

    @property
    def folder(self) -> Path:
        """Where what it makes is kept, or would be."""
        return built.path(self.spec)

    def built(self) -> Path:
        """Returns the folder of what it makes, which is made where it is not there."""
        return built.once(self.spec, self.make)

    def make(self, folder: Path) -> None:
        """Writes what is kept."""

    def load(self, task: Ref | None = None) -> Any:
        """Returns what it gives: a `Model`, of the task's labels, or the path of another form."""


class Weights(Step):
    """The architecture with its weights: trained, or as they come."""

    name = "training"

    def __init__(self, variant: Variant) -> None:
        self.variant, self.kept = variant, is_trained(variant)
        self.spec = ["weights", bare(variant), uses(bare(variant))]
        if self.kept:
            assert variant.training is not None
            data = tasks.describe(variant.training.task)["fingerprints"]
            self.spec += [data["train"], data["validation"]]

    def make(self, folder: Path) -> None:
        variant, training = self.variant, self.variant.training
        assert training is not None
        training = dataclasses.replace(training, rates=(_rate(variant),))
        task = tasks.load(training.task)
        model = make_model(variant.architecture, task, seed=variant.seed, fit=False)
        result = train(model, task, training, seed=variant.seed, folder=folder)
        save_model(model, folder)
        store.write_text(folder / "training.json", json.dumps(result))

    def load(self, task: Ref | None = None) -> Model:
        variant, data = self.variant, task_of(self.variant, task)
        model = make_model(variant.architecture, data, seed=variant.seed, fit=not self.kept)
        if self.kept:
            load_weights(model, self.built())
        return model


def _rate(variant: Variant) -> float:
    """Returns the learning rate: the one given, or the best of short trials with seed 0."""
    training, first = variant.training, bare(variant.replace(seed=0))
    assert training is not None
    if len(training.rates) == 1:
        return training.rates[0]

    def make(folder: Path) -> None:
        task = tasks.load(training.task)
        start = partial(make_model, variant.architecture, task, seed=0, fit=False)
        best = pick_rate(start, task, training, seed=0, folder=folder)
        store.write_text(folder / "rate.json", json.dumps(best))

    folder = built.once(["rate", *Weights(first).spec[1:]], make)
    return float(json.loads((folder / "rate.json").read_text(encoding="utf-8")))


class Compression(Step):
    """A scheme on a module; what its `fit=` finds on calibration data is kept."""

    def __init__(self, variant: Variant, ref: Ref, before: Step) -> None:
        self.variant, self.ref, self.before, self.name = variant, ref, before, ref.name
        self.entry = registry.schemes.get(ref.name)
        self.spec = [ref, self.entry.version, before.spec]
        self.kept = self.entry.traits["fit"] is not None
        if self.kept:
            self.data = calibration(variant, ref)
            self.spec += [self.data, tasks.describe(self.data)["fingerprints"]["train"]]

    def make(self, folder: Path) -> None:
        from safetensors.torch import save_file

        report(f"fitting {self.name}")
        model: Model = self.before.load()
        fit, module = self.entry.traits["fit"], model.module.eval()
        with seeded(self.variant.seed):
            found = call(fit, self.ref, model=module, batches=self._batches(model))
        if not isinstance(found, dict):
            kind = type(found).__name__
            raise SpecError(f"the fit of {self.name} gave a {kind}; expected a dict of tensors")
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}
        save_file(tensors, folder / "fitted.safetensors")

    def _batches(self, model: Model) -> Iterator[Mapping[str, Tensor]]:
        """Yields the module's inputs for each training item by itself, in the data's order."""
        data, length = tasks.load(self.data), length_of(self.variant, model)
        for example in data.examples(data.split("train")):
            yield model.preprocessor.collate(model.preprocessor.encode([example], length))

    def load(self, task: Ref | None = None) -> Model:
        model: Model = self.before.load(task)
        given = {"model": model.module}
        if self.kept:
            from safetensors.torch import load_file

            given["fitted"] = load_file(self.built() / "fitted.safetensors")
        result = call(self.entry.function, self.ref, **given)
        made = result if isinstance(result, Compressed) else Compressed(result, {})
        bits, notes = merged(model.bits, made.bits), tuple(dict.fromkeys(model.notes + made.notes))
        return dataclasses.replace(model, module=made.module, bits=bits, notes=notes)


class Keeping(Step):
    """A scheme on what a session keeps while it decodes."""

    kept, form = False, "state"

    def __init__(self, variant: Variant, ref: Ref, before: Step) -> None:
        self.variant, self.ref, self.before, self.name = variant, ref, before, ref.name
        self.entry = registry.schemes.get(ref.name)
        self.spec = [ref, self.entry.version, before.spec]

    def load(self, task: Ref | None = None) -> Model:
        from kit.runtimes import keeping

        model: Model = self.before.load(task)
        kept = keeping.Keeping(self.entry.function, self.ref, registry.schemes.short(self.ref))
        notes = dict.fromkeys((*model.notes, *kept.notes(model.module)))
        return dataclasses.replace(model, kept=kept, notes=tuple(notes))


IN_MEMORY = {"module": Compression, "state": Keeping}
"""The step of a scheme on a form that lies nowhere on disk."""


def calibration(variant: Variant, ref: Ref) -> Ref:
    """Returns the task on whose training split a scheme is fitted: its own, else the variant's."""
    if (given := ref.args["calibration"]) is not None:
        return registry.tasks.canonical(given)
    if variant.training is None:
        name = registry.architectures.short(variant.architecture)
        raise SpecError(
            f"{ref.name} is fitted on data, and {name} was not trained here: say on which, "
            f"Ref({ref.name!r}, calibration='...'), the name of a task"
        )
    return variant.training.task


class Written(Step):
    """What an exporter makes of the form before, or a scheme of a form that lies on disk."""

    kept = True

    def __init__(self, entry: registry.Entry, ref: Ref, form: str, before: Step) -> None:
        self.entry, self.ref, self.form, self.before, self.name = entry, ref, form, before, ref.name
        about = environment.machine()
        by = [about["torch"], about["onnxruntime"], *environment.versions(entry.traits["packages"])]
        self.spec = [ref, entry.version, *by, before.spec]

    def make(self, folder: Path) -> None:
        report(self.name)
        before: Any = self.before
        if before.form != "module":
            given = {"path": before.load()}
        elif "model" not in positional(self.entry.function):
            given = {"checkpoint": checkpoint_of(before.variant)}
        else:
            model = before.load()
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
        for entry in registry.routes(chain[-1].form).get(form, ()):
            chain.append(Written(entry, Ref(entry.name), entry.traits["target"], chain[-1]))

    for ref in variant.schemes:
        entry = registry.schemes.get(ref.name)
        export(form := entry.traits["form"])
        if form in IN_MEMORY:
            chain.append(IN_MEMORY[form](variant, ref, chain[-1]))
        else:
            chain.append(Written(entry, ref, form, chain[-1]))
    export(registry.runtimes.get(variant.runtime.name).traits["form"])
    return chain


def missing(variant: Variant) -> list[Step]:
    """Returns the steps of a variant that are kept and not made yet."""
    return [step for step in steps(variant) if step.kept and not step.folder.exists()]


def prepare(variant: Variant) -> None:
    """Makes what is `missing`."""
    for step in missing(variant):
        step.built()
