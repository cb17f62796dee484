"""What contract tests are made with: models, data and artifacts, small and without a network."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from kit import tasks
from kit.machine.quiet import import_quietly
from kit.spec import presets, registry
from kit.spec.entry import Entry
from kit.spec.ref import Ref
from kit.spec.register_measures import register_task
from kit.spec.register_models import register_architecture
from kit.spec.spec import Budget, Training, Variant
from kit.tasks.harness import build, rows_of
from kit.tasks.harness_config import read_config
from kit.tasks.templates import Template

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from kit.architectures.model import Model

Test = tuple[str, Callable[[], "str | None"]]
"""What is tested, and a function that raises what is wrong or returns a remark."""

CAUSAL, ENCODER = Ref("llama", width=64, feed_forward=64, depth=1), Ref("check_encoder")
VISION = Ref("lenet", width=2)
TEXTS, REVIEWS, IMAGES = Ref("check_texts"), Ref("check_reviews"), Ref("check_images")
TAGS, GRADES = Ref("check_tags"), Ref("check_grades")
QUIZ, PROMPTS, HARNESS = Ref("check_quiz"), Ref("check_prompts"), Ref("check_harness")
SIDE = 28
"""Pixels of the images' side."""
ITEMS = 40


class Broken(Exception):
    """A promise that was not kept; the message is the sentence shown."""


def expect(kept: object, sentence: str) -> None:
    """Raises Broken with the sentence unless a promise was kept."""
    if not kept:
        raise Broken(sentence)


@contextlib.contextmanager
def world() -> Iterator[None]:
    """Registers the tiny data and encoder, over a store of their own, while the block lasts."""
    with contextlib.ExitStack() as stack:
        for each in registry.REGISTRIES.values():
            stack.enter_context(each.restored())
        folder = tempfile.TemporaryDirectory(prefix="kit-", ignore_cleanup_errors=True)
        settings = {"KIT_STORE": stack.enter_context(folder), presets.VARIABLE: "smoke"}
        stack.enter_context(mock.patch.dict(os.environ, settings))
        register_task(kind="language", version=1)(check_texts)
        register_task(kind="classification", labels=("bad", "good"), version=1)(check_reviews)
        register_task(
            kind="classification",
            labels=("dark", "light"),
            image_shape=(1, SIDE, SIDE),
            version=1,
        )(check_images)
        register_task(kind="multi_label", labels=("good", "long"), version=1)(check_tags)
        register_task(kind="regression", version=1)(check_grades)
        put = Template("{question}", longest=3)
        register_task(kind="choices", template=put, version=1)(check_quiz)
        register_task(kind="generation", template=put, version=1)(check_prompts)
        register_task(kind="lm_eval_choices", harness=_harness, version=1)(check_harness)
        register_architecture(kind="encoder", version=1)(check_encoder)
        yield


def check_reviews() -> dict[str, pd.DataFrame]:
    """Reviews of different lengths whose first word gives the label away."""
    import pandas as pd

    rows = [
        (f"{('bad', 'good')[n % 2]} number {n}" + " and more" * (n % 7), n % 2)
        for n in range(2 * ITEMS)
    ]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    return {"train": frame[:32], "validation": frame[32:40], "test": frame[40:]}


def check_texts() -> dict[str, pd.DataFrame]:
    """The texts of the reviews."""
    return {split: frame[["text"]] for split, frame in check_reviews().items()}


def check_tags() -> dict[str, pd.DataFrame]:
    """The reviews, and of each whether it is good and whether it is long."""

    def tags(frame: pd.DataFrame) -> Any:
        return list(zip(frame["label"], (frame["text"].str.len() > 40).astype(int), strict=True))

    return {split: frame.assign(label=tags(frame)) for split, frame in check_reviews().items()}


def check_grades() -> dict[str, pd.DataFrame]:
    """The reviews, each with a grade."""
    return {
        split: frame.assign(label=frame["label"] + frame["text"].str.len() / 100)
        for split, frame in check_reviews().items()
    }


def check_quiz() -> dict[str, pd.DataFrame]:
    """The reviews, and two or three ways to call each."""

    def offer(frame: pd.DataFrame) -> Any:
        return [["bad", "good", "neither"][: 2 + n % 2] for n in range(len(frame))]

    def right(frame: pd.DataFrame) -> Any:
        return [[label] for label in frame["label"]]

    return {
        split: frame.assign(choices=offer(frame), label=right(frame))
        for split, frame in check_reviews().items()
    }


def check_prompts() -> dict[str, pd.DataFrame]:
    """The reviews, and what each may be called."""

    def right(frame: pd.DataFrame) -> Any:
        return [["good", "fine"] if label else ["bad"] for label in frame["label"]]

    return {split: frame.assign(label=right(frame)) for split, frame in check_reviews().items()}


def check_harness() -> dict[str, pd.DataFrame]:
    """The reviews as lm-evaluation-harness asks for them."""
    rows = rows_of(_harness())
    return {"train": rows[:0], "validation": rows[:0], "test": rows}


def _harness() -> Any:
    """Returns the task of that library, which is imported when it is asked for."""
    import datasets

    reviews = check_reviews()["test"]
    measured = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    config = {
        "task": "check_harness",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_pandas(reviews)},
        **{"test_split": "test", "output_type": "multiple_choice", "metric_list": [measured]},
        **{"doc_to_text": "text", "doc_to_choice": ["bad", "good"], "doc_to_target": "label"},
    }
    return build(read_config(config))


def check_images() -> dict[str, pd.DataFrame]:
    """Noise, the half of it lighter."""
    import pandas as pd

    rng = np.random.default_rng(0)
    labels = np.arange(2 * ITEMS) % 2
    images = rng.integers(0, 128, (len(labels), SIDE * SIDE)) + 127 * labels[:, None]
    frame = pd.DataFrame({"pixels": list(images), "label": labels})
    return {"train": frame[:32], "validation": frame[32:40], "test": frame[40:]}


def check_encoder(vocab_size: int) -> nn.Module:
    """BERT of one layer with random weights."""
    import_quietly()
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
    )
    module: nn.Module = BertModel(config, add_pooling_layer=False)
    return module


def variants() -> list[tuple[Variant, Ref]]:
    """Returns models of several kinds, each with data it can be measured on."""
    images = Training(IMAGES, Budget(epochs=1))
    return [
        (Variant(ENCODER), REVIEWS),
        (Variant(CAUSAL), TEXTS),
        (Variant(VISION, images), IMAGES),
        (Variant(Ref("majority")), TAGS),
        (Variant(Ref("majority")), GRADES),
        (Variant(CAUSAL), QUIZ),
        (Variant(CAUSAL), PROMPTS),
        (Variant(CAUSAL), HARNESS),
    ]


def tiny_models() -> dict[str, Model]:
    """Returns models of three kinds with random weights, by what they are."""
    from kit.architectures.model import make_model

    return {
        "language model": make_model(CAUSAL, None, seed=0),
        "classifier": make_model(ENCODER, tasks.load(REVIEWS), seed=0),
        "network for images": make_model(VISION, tasks.load(IMAGES), seed=0),
    }


def batch(model: Model, rows: int = 3, length: int = 9) -> dict[str, Tensor]:
    """Returns random pixels or token ids; the last row of a classifier's ids ends in padding."""
    import torch

    generator = torch.Generator().manual_seed(rows)
    if model.image_shape is not None:
        return {"pixels": torch.rand((rows, *model.image_shape), generator=generator)}
    assert model.tokenizer is not None
    size = (rows, length)
    ids = torch.randint(1, model.tokenizer.vocab_size, size, generator=generator)
    if model.kind == "causal":
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    mask[-1, 1 + length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def outputs(module: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Returns a module's logits of a batch, outside of training, in fp32."""
    import torch

    from kit.architectures.outputs import logits

    with torch.no_grad():
        return logits(module.eval()(**inputs)).float()


def travels(entry: Entry) -> None:
    """Pickles a definition as for a worker process.

    It is not loaded here: cloudpickle would write the loaded methods into the very class that the
    notebook defined, which then has no source to hash.
    """
    import cloudpickle

    cloudpickle.dumps(entry.function)
