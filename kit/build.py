"""From a variant to something that runs: weights -> compressed -> exported -> runner."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import environment, registry, store, tasks
from kit.spec import Ref, Run, SpecError, Undefined, Variant, content_hash
from kit.workers import report

if TYPE_CHECKING:
    from torch import Tensor

    from kit.architectures.model import Model
    from kit.tasks.task import Task

DEFAULT_LENGTH = 256
"""Tokens at which a model's input is cut where its training does not say."""


def run_ids(runs: Iterable[Run]) -> dict[Run, str]:
    """Returns the `run_id` of each run: content, data fingerprint and versions of the code used."""

    @functools.cache
    def fingerprint(task: Ref) -> dict[str, str]:
        fingerprints: dict[str, str] = tasks.describe(task)["fingerprints"]
        return fingerprints

    def used(run: Run) -> dict[str, str]:
        named = [a for a in run.measurement.args.values() if isinstance(a, Ref)]
        data = [fingerprint(task)[_split(run, task)] for task in named]
        if kind_of(run.variant) == "predictor":  # it is fitted on the measured task
            data += [fingerprint(task)["train"] for task in named]
        return registry.uses(run) | {"data": content_hash(data)}

    return {run: content_hash(run, used(run)) for run in runs}


def _split(run: Run, task: Ref) -> str:
    split = run.measurement.args.get("split", "test")
    known = tasks.describe(task)["fingerprints"]
    if split not in known:
        raise SpecError(registry.suggest(split, known, f"split of {task.name}"))
    return str(split)


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
            return f"{ref.name} acts on an exported graph, which {runtime.name} does not run; use onnx"
        if traits["runtimes"] and runtime.name not in traits["runtimes"]:
            return f"{ref.name} runs on {', '.join(traits['runtimes'])}, not on {runtime.name}"
        if "dtype" in traits and (slow := environment.slow_dtype(traits["dtype"])):
            return slow
    if variant.training is not None and variant.training.dtype != "float32":
        return environment.slow_dtype(variant.training.dtype)
    return None


def is_trained(variant: Variant) -> bool:
    """Says whether its weights are made by the training loop (not pretrained, nor a predictor)."""
    return variant.training is not None and kind_of(variant) not in ("predictor", "pretrained")


def _bare(variant: Variant, schemes: Sequence[Ref] = ()) -> Variant:
    return dataclasses.replace(
        variant, schemes=tuple(schemes), runtime=Ref("eager"), name="bare"
    )


def _weights_spec(variant: Variant) -> list[Any]:
    bare = _bare(variant)
    assert bare.training is not None
    data = tasks.describe(bare.training.task)["fingerprints"]
    return ["weights", bare, registry.uses(bare), data["train"], data["validation"]]


def _rate(variant: Variant) -> float:
    """Returns the learning rate: the one given, or the best of short trials with seed 0."""
    assert variant.training is not None
    if len(variant.training.rates) == 1:
        return variant.training.rates[0]
    first = _bare(variant.replace(seed=0))
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
    data = _task_of(variant, task)
    model = make_model(variant.architecture, data, seed=variant.seed, fit=not trained)
    if trained:
        load_weights(model, weights_folder(variant))
    module = model.module
    for ref in _stage(variant, "torch"):
        module = registry.schemes.get(ref.name).function(module, **ref.args)
    return dataclasses.replace(model, module=module)


def _task_of(variant: Variant, task: Ref | None) -> Task | None:
    ref = variant.training.task if variant.training is not None else task
    return None if ref is None else tasks.load(ref)


def _stage(variant: Variant, stage: str) -> list[Ref]:
    traits = {ref: registry.schemes.get(ref.name).traits for ref in variant.schemes}
    return [ref for ref in variant.schemes if traits[ref]["stage"] == stage]


def _graph_spec(variant: Variant, exported: Sequence[Ref]) -> list[Any]:
    from kit.runtimes.onnx import EXPORT_VERSION

    source = _bare(variant, [*_stage(variant, "torch"), *exported])
    weights = _weights_spec(variant) if is_trained(variant) else None
    about = environment.machine()
    made_by = [EXPORT_VERSION, about["torch"], about["onnxruntime"] if exported else ""]
    return ["graph", source, registry.uses(source), weights, made_by]


def graph_path(variant: Variant) -> Path:
    """Returns the variant's ONNX graph, exported and compressed where absent."""
    path = _exported(variant, ())
    refs = _stage(variant, "exported")
    for index, ref in enumerate(refs):
        scheme = registry.schemes.get(ref.name).function

        def make(folder: Path, path: Path = path, ref: Ref = ref, scheme: Any = scheme) -> None:
            report(f"{ref.name} of {variant.architecture.name}")
            scheme(path, folder / "model.onnx", **ref.args)

        folder = store.built(_graph_spec(variant, refs[: index + 1]), make)
        path = folder / "model.onnx"
    return path


def _exported(variant: Variant, schemes: Sequence[Ref]) -> Path:
    def make(folder: Path) -> None:
        from kit.architectures.tokenizers import pad
        from kit.runtimes.onnx import export

        report(f"exporting {variant.architecture.name}")
        model = load_model(variant)
        assert model.tokenizer is not None
        ids = [[index % model.tokenizer.vocab_size for index in range(1, n)] for n in (17, 17)]
        export(model.module, _named(model, pad(ids, model.tokenizer.pad_id)), folder / "model.onnx")

    return store.built(_graph_spec(variant, schemes), make) / "model.onnx"


def gives_features(variant: Variant) -> bool:
    """Says whether a variant has pooled hidden vectors: an encoder in PyTorch."""
    form = registry.runtimes.get(variant.runtime.name).traits["form"]
    return kind_of(variant) == "encoder" and form == "module"


def needs_build(variant: Variant) -> list[str]:
    """Returns which expensive things of a variant are not built yet: `training`, `export`."""
    missing = []
    if is_trained(variant) and not store.built_path(_weights_spec(variant)).exists():
        missing.append("training")
    if registry.runtimes.get(variant.runtime.name).traits["form"] == "graph":
        spec = _graph_spec(variant, _stage(variant, "exported"))
        if not store.built_path(spec).exists():
            missing.append("export")
    return missing


def prepare(variant: Variant) -> None:
    """Builds what `needs_build` names."""
    if is_trained(variant):
        weights_folder(variant)
    if registry.runtimes.get(variant.runtime.name).traits["form"] == "graph":
        graph_path(variant)


def _named(model: Model, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keeps the inputs that the model's kind takes."""
    names = ("input_ids",) if model.kind == "causal" else ("input_ids", "attention_mask")
    return {name: inputs[name] for name in names}


class Runner:
    """A variant made executable in this process.

    Attributes:
        model: tokenizer, labels, kind and module.
        graph: the exported graph where the runtime runs one.
        imported_bytes: resident memory after the imports and before the model was loaded.
        load_seconds: from there until ready to run, compilation on first call excluded.
    """

    def __init__(self, variant: Variant, threads: int, task: Ref | None = None) -> None:
        import psutil

        if reason := conflict(variant):
            raise Undefined(reason)
        self.variant = variant
        self.threads = threads
        self.graph: Path | None = None
        runtime = registry.runtimes.get(variant.runtime.name)
        if kind_of(variant) != "predictor":
            from kit.architectures.model import shell

            _import_libraries(variant)
            _set_threads(threads)
        self.imported_bytes = psutil.Process().memory_info().rss
        start = time.perf_counter()
        if runtime.traits["form"] == "graph":
            self.graph = graph_path(variant)
            self.model = shell(variant.architecture, _task_of(variant, task))
            self._forward = runtime.function(
                **_supplied(runtime, graph=self.graph, threads=threads), **variant.runtime.args
            )
        else:
            self.model = load_model(variant, task)
            if self.model.kind != "predictor":
                self._forward = runtime.function(
                    **_supplied(runtime, model=self.model.module, threads=threads),
                    **variant.runtime.args,
                )
        self.load_seconds = time.perf_counter() - start

    @property
    def length(self) -> int:
        """Tokens at which inputs are cut."""
        training = self.variant.training
        return training.length if training is not None else DEFAULT_LENGTH

    def forward(self, inputs: Mapping[str, Tensor]) -> np.ndarray:
        """Runs one padded batch; returns float32 logits."""
        output: Any = self._forward(inputs)
        return np.asarray(output if isinstance(output, np.ndarray) else output.float().numpy())

    def inputs(self, texts: Sequence[str], length: int | None = None) -> dict[str, Tensor]:
        """Tokenizes and pads texts [batch] to input_ids (and attention_mask) [batch, length]."""
        assert self.model.tokenizer is not None
        return self.pad(self.model.tokenizer.encode(list(texts), length or self.length))

    def pad(self, ids: list[list[int]]) -> dict[str, Tensor]:
        """Pads token ids to the inputs that the model takes."""
        from kit.architectures.tokenizers import pad

        assert self.model.tokenizer is not None
        return _named(self.model, pad(ids, self.model.tokenizer.pad_id))

    def timed(self, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
        """Returns a callable that runs a padded batch once: tokenization is outside."""
        return functools.partial(self._forward, inputs)

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Returns the scores [n, classes] of raw texts, in their order.

        Texts of like length share a batch, so that little is padded.
        """
        if self.model.kind == "predictor":
            return np.asarray(self.model.module(list(texts)), np.float32)
        return self._bucketed(texts, batch_size, self.forward)

    def features(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Returns pooled hidden vectors [n, d] of raw texts.

        Raises:
            Undefined: the architecture or runtime gives none.
        """
        module = self.model.module
        if self.graph is not None or not hasattr(module, "features"):
            raise Undefined(f"{self.variant.name} gives no features on {self.variant.runtime.name}")

        def forward(inputs: Mapping[str, Tensor]) -> np.ndarray:
            import torch

            with torch.inference_mode():
                return np.asarray(module.features(**inputs).float().numpy())

        return self._bucketed(texts, batch_size, forward)

    def _bucketed(
        self, texts: Sequence[str], batch_size: int, forward: Callable[..., np.ndarray]
    ) -> np.ndarray:
        assert self.model.tokenizer is not None
        ids = self.model.tokenizer.encode(list(texts), self.length)
        order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
        rows: list[np.ndarray] = [np.empty(0)] * len(ids)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            report(f"{start} of {len(order)} items")
            for index, row in zip(batch, forward(self.pad([ids[i] for i in batch])), strict=True):
                rows[index] = row
        return np.stack(rows)


def _supplied(entry: registry.Entry, **values: Any) -> dict[str, Any]:
    import inspect

    return {n: v for n, v in values.items() if n in inspect.signature(entry.function).parameters}


def _import_libraries(variant: Variant) -> None:
    """Imports what the variant needs, so that a load can be told from an import."""
    import torch  # noqa: F401

    if registry.runtimes.get(variant.runtime.name).traits["form"] == "graph":
        import onnxruntime  # noqa: F401
    else:
        import transformers  # noqa: F401


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def verify(variant: Variant, texts: Sequence[str], threads: int, task: Ref) -> float:
    """Returns how far a runtime's output is from eager's, as a share of eager's largest logit.

    Kept per machine, since kernels differ between processors.

    Raises:
        Undefined: it is further than the variant's schemes tolerate, or not finite: a time of a
            wrong answer is worth nothing.
    """
    key = content_hash("verify", variant, registry.uses(variant), environment.machine_key())

    def measure() -> float:
        reference = Runner(_bare(variant, _stage(variant, "torch")), threads, task)
        inputs = reference.inputs(texts)
        expected = reference.forward(inputs)
        found = Runner(variant, threads, task).forward(inputs)
        return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-9))

    eager = variant.runtime.name == "eager"
    difference = 0.0 if eager else float(store.memo(key, measure))
    tolerances = [registry.schemes.get(ref.name).traits["tolerance"] for ref in variant.schemes]
    tolerance = max([1e-3, *tolerances])
    if not difference <= tolerance:
        raise Undefined(
            f"{variant.name} differs from eager by {difference:.3g} of the largest logit "
            f"(allowed: {tolerance:g}), so it is not timed"
        )
    return difference
