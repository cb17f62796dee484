"""What makes the module of each kind of architecture, and checks what comes back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.arguments import call, positional
from kit.spec.checking import SpecError

if TYPE_CHECKING:
    from torch import nn

    from kit.architectures.model import Model
    from kit.spec.ref import Ref
    from kit.spec.registry import Entry
    from kit.tasks.task import Task


def _causal(ref: Ref, entry: Entry, model: Model, task: Task | None) -> nn.Module:
    del task
    assert model.tokenizer is not None
    return _call(ref, entry, vocab_size=model.tokenizer.vocab_size)


def _classifier(ref: Ref, entry: Entry, model: Model, task: Task | None) -> nn.Module:
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


def _vision(ref: Ref, entry: Entry, model: Model, task: Task | None) -> nn.Module:
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


def _predictor(ref: Ref, entry: Entry, model: Model, task: Task | None) -> Any:
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


def _pretrained(ref: Ref, entry: Entry, model: Model, task: Task | None) -> nn.Module:
    from kit.architectures.modules import Deployed

    del task
    module: nn.Module = entry.function(**ref.args)
    return module if model.texts is None else Deployed(module, model.texts.names)


def _call(ref: Ref, entry: Entry, **known: Any) -> nn.Module:
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


MAKERS: Mapping[str, Callable[[Ref, Entry, Model, Any], Any]] = {
    "causal": _causal,
    "encoder": _classifier,
    "vision": _vision,
    "predictor": _predictor,
    "pretrained": _pretrained,
}
"""Kind of architecture -> what makes the module of a `shell`."""
