"""A model of any kind behind one class, made from a Ref, saved and loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.architectures.deployed import DeployedTexts
from kit.architectures.head import Head, head_of
from kit.architectures.preprocessing import Images, Preprocessor, Texts
from kit.architectures.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from kit.spec import registry
from kit.spec.arguments import call, positional
from kit.spec.checking import SpecError
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import nn

    from kit.tasks.task import Task

WEIGHTS = "model.safetensors"


@dataclass
class Model:
    """What `make_model` returns.

    Attributes:
        module: `causal`: input_ids [b, t] -> logits [b, t, v]. `classifier`: input_ids and
            attention_mask [b, t] -> logits [b, classes]; the kit's own also tells its features,
            `kit.architectures.modules.Headed`. One of images takes pixels [b, c, h, w] instead.
            `predictor`: raw examples -> float32 scores [n, classes].
        kind: `causal`, `classifier` or `predictor`.
        tokenizer: None for predictors and models of images.
        labels: names of the answers' columns: the task's classes in their order, then those that a
            pretrained classifier has beside; empty for causal models.
        probabilities: whether the scores are log probabilities but for a constant; None where they
            are by construction.
        image_shape: c, h, w of the images that it reads; None for models of texts.
        head: of a pretrained classifier, from its outputs to the answers.
        texts: of a pretrained classifier, how it reads texts.
        window: tokens at which a pretrained model's texts are cut; None for no limit.
        bits: what schemes say that each matrix takes, see `kit.compression.stored`.
    """

    module: Any
    kind: str
    tokenizer: Tokenizer | None
    labels: tuple[str, ...] = ()
    probabilities: bool | None = None
    image_shape: tuple[int, ...] | None = None
    head: Head | None = None
    texts: DeployedTexts | None = None
    window: int | None = None
    bits: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def preprocessor(self) -> Preprocessor:
        """How raw examples become the module's input; a predictor reads them as they are."""
        if self.texts is not None:
            return self.texts
        if self.image_shape is not None:
            return Images(self.image_shape)
        assert self.tokenizer is not None
        return Texts(self.tokenizer, masked=self.kind != "causal")


def make_model(ref: Ref, task: Task | None, *, seed: int, fit: bool = True) -> Model:
    """Builds an architecture, with random weights where it is not pretrained.

    Args:
        ref: the architecture; a causal one needs its width (see `budget.solve_width`).
        task: gives a classifier its labels, one of images their shape, and a predictor its
            training split; causal models need it for n-grams alone.
        seed: of the random weights; the global generator is left as it was.
        fit: whether an n-gram model is fitted on the whole training split at once; say False
            where `train` or `load_weights` follows.

    Raises:
        SpecError: an argument is missing or wrong, the function returned no module, or the labels
            do not match.
    """
    model = shell(ref, task)
    ref = registry.architectures.canonical(ref)
    entry = registry.architectures.get(ref.name)
    make = MAKERS[entry.traits["kind"]]
    with nullcontext() if make is _predictor else seeded(seed):  # torch takes seconds to import
        model = replace(model, module=make(ref, entry, model, task))
    if fit and task is not None and model.kind == "causal" and hasattr(model.module, "fit"):
        assert model.tokenizer is not None
        texts = list(task.split("train")["text"])
        separator = model.tokenizer.separator_id
        model.module.fit([[separator, *ids] for ids in model.tokenizer.encode(texts)])
    return model


def shell(ref: Ref, task: Task | None) -> Model:
    """Returns the model without its module, for runtimes that bring their own graph.

    Args:
        ref: an architecture of any kind.
        task: gives a classifier and a predictor their labels, and one of images their shape.
    """
    ref = registry.architectures.canonical(ref)
    entry = registry.architectures.get(ref.name)
    kind, traits = entry.traits["kind"], entry.traits
    if kind == "pretrained":
        return _pretrained_shell(ref, task)
    if kind == "causal":
        return Model(None, "causal", _tokenizer(entry))
    if kind == "predictor":
        kinds = [each for each, kind in TASKS.items() if kind.label is not None]
        labels = _needed(ref, task, traits.get("modality"), kinds).labels or ("prediction",)
        return Model(None, kind, None, labels, bool(traits.get("probabilities", False)))
    data = _needed(ref, task, "image" if kind == "vision" else "text")
    tokenizer = None if kind == "vision" else _tokenizer(entry)
    return Model(None, "classifier", tokenizer, data.labels, image_shape=data.image_shape)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's generator inside the block and restores it afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _causal(ref: Ref, entry: registry.Entry, model: Model, task: Task | None) -> nn.Module:
    del task
    assert model.tokenizer is not None
    return _call(ref, entry, vocab_size=model.tokenizer.vocab_size)


def _classifier(ref: Ref, entry: registry.Entry, model: Model, task: Task | None) -> nn.Module:
    import torch

    from kit.architectures.modules import Classifier
    from kit.architectures.outputs import hidden

    encoder = _causal(ref, entry, model, task)
    ids = torch.tensor([[1, 1]])
    encoder.eval()
    with torch.no_grad():
        states = hidden(encoder(input_ids=ids, attention_mask=torch.ones_like(ids)))
    shape = tuple(getattr(states, "shape", ()))
    if len(shape) != 3 or shape[:2] != (1, 2):
        raise SpecError(
            f"{ref.name} returned hidden states of shape {shape} for input_ids of shape (1, 2); "
            "expected (1, 2, width)"
        )
    return Classifier(encoder, shape[2], len(model.labels))


def _vision(ref: Ref, entry: registry.Entry, model: Model, task: Task | None) -> nn.Module:
    import torch

    from kit.architectures.modules import ImageClassifier

    del task
    shape, classes = model.image_shape, len(model.labels)
    assert shape is not None
    module = ImageClassifier(_call(ref, entry, classes=classes, image_shape=shape), classes)
    with torch.no_grad():
        found = tuple(module.eval()(torch.zeros(2, *shape)).shape)
    if found != (2, classes):
        raise SpecError(
            f"{ref.name} returned logits of shape {found} for pixels of shape {(2, *shape)}; "
            f"expected {(2, classes)}"
        )
    return module


def _predictor(ref: Ref, entry: registry.Entry, model: Model, task: Task | None) -> Any:
    assert task is not None
    supplied: dict[str, Any] = {"classes": len(task.labels)} if task.labels else {}
    if "train" in positional(entry.function):
        supplied["train"] = task.split("train")
    predict = call(entry.function, ref, **supplied)
    probe = "a" if task.image_shape is None else np.zeros(task.image_shape, np.uint8)
    scores, count = predict([probe]), len(model.labels)
    if getattr(scores, "shape", None) != (1, count):
        raise SpecError(
            f"{ref.name} returned scores of shape {getattr(scores, 'shape', None)} for one "
            f"{task.modality}; expected (1, {count}) for the labels " + ", ".join(model.labels)
        )
    return predict


def _pretrained(ref: Ref, entry: registry.Entry, model: Model, task: Task | None) -> nn.Module:
    from kit.architectures.modules import Deployed

    del task
    module: nn.Module = entry.function(**ref.args)
    return module if model.texts is None else Deployed(module, model.texts.names)


MAKERS: Mapping[str, Callable[[Ref, registry.Entry, Model, Any], Any]] = {
    "causal": _causal,
    "encoder": _classifier,
    "vision": _vision,
    "predictor": _predictor,
    "pretrained": _pretrained,
}
"""Kind of architecture -> what makes the module of a `shell`."""


def _pretrained_shell(ref: Ref, task: Task | None) -> Model:
    from kit.architectures import deployed, folder, pretrained

    source = ref.args["source"]
    place, kind = folder.locate(source), pretrained.kind_of(source)
    folder.check_folder(place)
    config = deployed.config_of(place)
    tokenizer = HFTokenizer(folder.tokenizer_folder(place), special=kind != "causal")
    window = deployed.window(config, tokenizer, ref.args.get("length"))
    if kind == "causal":
        return Model(None, kind, tokenizer, window=window)
    head = head_of(config.to_dict(), task, ref.args.get("labels"), source.short_name)
    texts = deployed.deployed_texts(config, tokenizer, source.short_name)
    return Model(
        None, kind, tokenizer, head.labels, head.probabilities,
        head=head, texts=texts, window=window,
    )  # fmt: skip


LEARNED = ("classification",)
"""Kinds of task that kit's own training makes a head for."""


def _needed(
    ref: Ref, task: Task | None, modality: str | None = None, kinds: Sequence[str] = LEARNED
) -> Task:
    """Returns the task, of one of these kinds and of the modality, where one is named."""
    if task is None or task.kind not in kinds:
        what = "no task" if task is None else f"the task {task.ref.name}, of kind {task.kind}"
        others = f" (or of kind {', '.join(kinds[1:])})" if kinds[1:] else ""
        raise SpecError(f"{ref.name} was given {what}; expected a {kinds[0]} task{others}")
    if modality not in (None, task.modality):
        raise SpecError(
            f"{ref.name} reads {modality}s; the task {task.ref.name} holds {task.modality}s"
        )
    return task


def _tokenizer(entry: registry.Entry) -> Tokenizer:
    make = entry.traits.get("tokenizer")
    return ByteTokenizer() if make is None else make()


def _call(ref: Ref, entry: registry.Entry, **known: Any) -> nn.Module:
    """Calls an architecture's function with what it asks for and checks that a module returns."""
    from torch import nn

    parameters = inspect.signature(entry.function).parameters
    empty = inspect.Parameter.empty
    for name in ("width", "feed_forward"):
        if name in parameters and name not in ref.args and parameters[name].default is empty:
            raise SpecError(
                f"{ref.name} has no {name}: give one, Ref({ref.name!r}, {name}=...), or train it "
                "with Budget(parameters=...)"
            )
    try:
        module = call(entry.function, ref, **known)
    except ValueError as error:
        raise SpecError(f"{ref}: {error}") from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"{ref.name} returned a {type(module).__name__}; expected an nn.Module")
    return module


def save_model(model: Model, folder: Path) -> None:
    """Writes a module's weights into a folder as safetensors, tied matrices once."""
    from safetensors.torch import save_model as save

    save(model.module, str(Path(folder) / WEIGHTS))


def load_weights(model: Model, folder: Path) -> None:
    """Reads what `save_model` wrote into a model made from the same Ref.

    Raises:
        FileNotFoundError: the folder holds no weights.
        RuntimeError: they are of another model.
    """
    from safetensors.torch import load_model as load

    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {WEIGHTS}; train the variant first")
    load(model.module, str(path))
