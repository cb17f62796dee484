"""Kinds, each declared once: of tasks, and of the artifacts that measurements save.

A kind of artifact is a function under `register_artifact` that gives its tiny example: what its
columns look like, and what contract tests try metrics on. In a notebook cell it works like every
other registration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kit.spec.checking import SpecError
from kit.spec.entries import F, Registry

Columns = dict[str, np.ndarray]


class TaskKind(NamedTuple):
    """What a task's kind settles.

    Attributes:
        artifact: kind of artifact that holds a model's quality on it.
        label: type of an item's labels; None where items have none.
        modalities: of its items.
        quality: the measurement that saves that artifact.
        content: columns that an item has beside its text and a label of that type.
    """

    artifact: str
    label: type[np.generic] | None
    modalities: tuple[str, ...] = ("text", "image")
    quality: str = "classify"
    content: tuple[str, ...] = ()


TASKS: Mapping[str, TaskKind] = {
    "choices": TaskKind("choices", None, ("text",), "score_choices", ("choices", "label")),
    "classification": TaskKind("classification", np.int64),
    "generation": TaskKind("generations", None, ("text",), "generate", ("label",)),
    "language": TaskKind("tokens", None, ("text",), "score_text"),
    "lm_eval": TaskKind("lm_eval", None, ("text",), "score_lm_eval", ("place",)),
    "lm_eval_choices": TaskKind(
        "choices", None, ("text",), "score_lm_eval", ("place", "choices", "label")
    ),
    "multi_label": TaskKind("multi_label", np.int64),
    "regression": TaskKind("regression", np.float64),
}


class Quantity(NamedTuple):
    """What a recorded number is in, and whether more of it is better (None: neither)."""

    unit: str
    higher_is_better: bool | None = False

    def __str__(self) -> str:
        return self.unit


ROLES = ("clean", "test", "validation")
"""Whose column a metric's parameter names, before its name (`test_logits`), where not its own:
of corrupted items, those they were made of; of a shift, the test split; the validation split."""

artifacts = Registry("kind of artifact", "kit.spec.artifact_kinds", ())


def register_artifact(
    *,
    record: str,
    columns: Iterable[str],
    optional: Iterable[str] = (),
    derived: Mapping[str, Callable[..., Any]] | None = None,
    metrics: Sequence[str] = (),
    group_metrics: Sequence[str] = (),
    shifted_metrics: Sequence[str] | None = None,
) -> Callable[[F], F]:
    """Registers a kind of artifact: a function that gives the columns of a tiny example.

    Args:
        record: what a record is. An `item` has an id (`item`), by which runs are paired, and maybe
            a `cluster` and groups (`group:country`); a `call` belongs to a `launch`, over which
            intervals are taken; a `quantity` is a row as it stands. Others count one by one.
        columns: that every artifact of the kind has, beside those.
        optional: that some have: a metric that needs one gives no row where it is not.
        derived: name -> function of columns, and of what `info` holds of the artifact, that
            computes a column when a metric asks for it.
        metrics: computed where a study names none that reads this kind. The first is the headline:
            where it is right or wrong an item, its flips are counted.
        group_metrics: of these, for each group.
        shifted_metrics: of corrupted items and validation splits; the first where not given.
    """
    known = {"item": ("item",), "call": ("launch",), "quantity": ("quantity", "value")}
    return lambda example: artifacts.register(
        example,
        record=record,
        columns=tuple(dict.fromkeys((*known.get(record, ()), *columns))),
        optional=(*optional, *(("cluster",) if record == "item" else ())),
        derived=dict(derived or {}),
        metrics=tuple(metrics),
        group_metrics=tuple(group_metrics),
        shifted_metrics=tuple(metrics[:1] if shifted_metrics is None else shifted_metrics),
    )


def kinds_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the names of registered kinds of artifact, at least one."""
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise SpecError(f"no kind of artifact is named; there are {', '.join(artifacts.names())}")
    return tuple(artifacts.get(name).name for name in names)
