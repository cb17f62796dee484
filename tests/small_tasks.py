"""Small tasks of texts, and training on one: tests of models need no asset and no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import datasets
import pytest

from kit.spec.ref import Ref
from kit.spec.register_measures import register_task
from kit.spec.spec import Budget, Training
from kit.tasks.task import Task

WORDS = "the cat sat on a mat and looked at another dog in some old garden".split()
LABELS = ("negative", "positive")


def make_task(kind: str, splits: Mapping[str, Mapping[str, list[Any]]]) -> Task:
    data = {name: datasets.Dataset.from_dict(dict(rows)) for name, rows in splits.items()}
    labels = LABELS if kind == "classification" else ()
    return Task(Ref("toy"), kind, labels, {}, "", (), datasets.DatasetDict(data))


@pytest.fixture(scope="session")
def language() -> Task:
    """Sentences of a few words, 120 to train on and 20 to validate."""
    texts = [" ".join(WORDS[(i * j) % 15] for j in range(1, 9)) for i in range(140)]
    return make_task(
        "language", {"train": {"text": texts[20:]}, "validation": {"text": texts[:20]}}
    )


@pytest.fixture(scope="session")
def reviews() -> Task:
    """Texts of very different lengths whose first word gives the label away."""
    texts, labels = [], []
    for i in range(90):
        label = i % 2
        texts.append(" ".join([("bad", "good")[label], *WORDS[: 1 + i % 13]]))
        labels.append(label)
    rows = {"text": texts, "label": labels}
    parts = {"train": slice(20, None), "validation": slice(0, 20)}
    return make_task(
        "classification",
        {name: {key: column[part] for key, column in rows.items()} for name, part in parts.items()},
    )


@pytest.fixture
def training(registries: None) -> Callable[..., Training]:
    """A training specification; of its task nothing is known but the name."""

    @register_task(kind="language", version=1)
    def toy() -> datasets.DatasetDict:
        raise AssertionError("the tests have its data already")

    tiny = Training(
        Ref("toy"), Budget(tokens=1024), rates=(3e-3,), batch_size=4, length=16, trial_steps=3
    )
    return lambda **changes: dataclasses.replace(tiny, **changes)
