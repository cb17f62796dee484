"""Contract tests of a saved model, against what transformers says of the same folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kit import tasks
from kit.architectures.tokenizers import HFTokenizer
from kit.checks.tiny import (
    Test,
)
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from kit.architectures.model import Model
    from kit.tasks.task import Task
from kit.checks.models import MOST_READ


def pretrained(ref: Ref, task: Ref | None) -> Iterator[Test]:
    """Yields the tests of a model that was trained elsewhere, before a study relies on it.

    Args:
        ref: its canonical Ref.
        task: whose texts and labels it is tried on; made-up texts where not given.
    """
    from kit.architectures.configuration import config_of, remarks
    from kit.architectures.folder import locate
    from kit.architectures.model import shell
    from kit.build.verify import verify
    from kit.spec.spec import Variant

    data = None if task is None else tasks.load(task)
    model = shell(ref, data)
    assert isinstance(model.tokenizer, HFTokenizer)
    tokenizer = model.tokenizer
    limit = "texts of any length" if model.window is None else f"{model.window:,} tokens"
    yield "can be read", lambda: f"{_loaded(ref, data)} that reads {limit}"
    if model.head is not None:
        yield "answers with", lambda: _answers(ref, model)
    if data is not None and model.texts is not None:
        yield "sees whole texts", lambda: _cut_share(model, data)
    yield (
        "agrees with its tokenizer, or it is said what counts",
        lambda: "; ".join(remarks(config_of(locate(ref.args["source"])), tokenizer)),
    )
    yield (
        "answers as transformers does, one text at a time",
        lambda: f"within {verify(Variant(ref), task):.2g} of the largest output",
    )


def _loaded(ref: Ref, data: Task | None) -> str:
    from kit.architectures.model import make_model

    return f"a {make_model(ref, data, seed=0).kind} model"


def _answers(ref: Ref, model: Model) -> str:
    """Says which of the model's outputs each answer is made of."""
    from kit.architectures.folder import locate, read_config
    from kit.architectures.head import label_names

    assert model.head is not None
    names = label_names(read_config(locate(ref.args["source"])))
    pairs = zip(model.labels, model.head.columns, strict=True)
    made = {label: " + ".join(names[k] for k in columns) for label, columns in pairs}
    return ", ".join(n if n in ("", to) else f"{n} as {to}" for to, n in made.items() if n)


def _cut_share(model: Model, data: Task) -> str:
    assert model.texts is not None
    splits = [split for split, rows in data.data.items() if len(rows)]
    examples = [each for split in splits for each in data.examples(data.split(split, MOST_READ))]
    cut = [row.cut for row in model.texts.encode(examples, model.window)]
    return f"{sum(cut):,} of {len(cut):,} are cut at {model.window} tokens"
