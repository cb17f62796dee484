"""A model of any kind behind one class, made from a Ref, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.architectures.deployed import DeployedTexts
from kit.architectures.head import Head, head_of
from kit.architectures.makers import MAKERS
from kit.architectures.preprocessing import Images, Preprocessor, Texts
from kit.architectures.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref

if TYPE_CHECKING:
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
        notes: of its schemes, which stand beside every number of it.
        kept: the scheme on what decoding keeps, `kit.runtimes.keeping.Keeping`; None for none.
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
    notes: tuple[str, ...] = ()
    kept: Any = None

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
    kind = entry.traits["kind"]
    with nullcontext() if kind == "predictor" else seeded(seed):  # torch takes seconds to import
        model = replace(model, module=MAKERS[kind](ref, entry, model, task))
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


def _pretrained_shell(ref: Ref, task: Task | None) -> Model:
    from kit.architectures import configuration, deployed, folder, pretrained

    source = ref.args["source"]
    place, kind = folder.locate(source), pretrained.kind_of(source)
    folder.check_folder(place)
    config = configuration.config_of(place)
    tokenizer = HFTokenizer(
        folder.tokenizer_folder(place),
        special=kind != "causal",
        embedded=getattr(config.get_text_config(), "vocab_size", None),
    )
    window = configuration.window(config, tokenizer, ref.args.get("length"))
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
