"""From a pretrained model's outputs to answers in the order of a task's labels.

The same function serves every runtime: it is applied to what comes out of a module or a graph, so
that no export can know other labels than the module.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.checking import SpecError, shown

if TYPE_CHECKING:
    from kit.tasks.task import Task

MULTI_LABEL = "multi_label_classification"


@dataclass(frozen=True)
class Head:
    """What is made of a model's outputs [n, outputs].

    Attributes:
        columns: for each answer the model's outputs whose probabilities are added; an empty one
            has score 0: the other side of a single output that a sigmoid reads.
        labels: names of the answers: the task's labels in their order, then the model's others.
        probabilities: False where no softmax over the answers gives the model's probabilities.
    """

    columns: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    probabilities: bool | None = None

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Returns scores [n, answers], float32."""
        scores = [self._score(outputs, columns) for columns in self.columns]
        return np.stack(scores, axis=1).astype(np.float32)

    @staticmethod
    def _score(outputs: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
        if not columns:
            return np.zeros(len(outputs))
        if len(columns) == 1:
            return outputs[:, columns[0]]
        added: np.ndarray = np.logaddexp.reduce(outputs[:, list(columns)], axis=1)
        return added


def head_of(
    config: Mapping[str, Any],
    task: Task | None,
    labels: Mapping[str, int | str | None] | None,
    source: str,
) -> Head:
    """Returns how a classifier's outputs answer a task.

    Args:
        config: the model's.
        task: without one, the answers are the model's own labels.
        labels: the model's label names and the task's label each stands for, by name or number;
            None for an answer that is to be impossible. Names that are equal but for case and
            Unicode form where not given.
        source: for messages.

    Raises:
        SpecError: a name that the model does not have, a label of the task that no name stands
            for, or outputs that do not answer such a task.
    """
    names, problem = label_names(config), config.get("problem_type")
    if task is None:
        return Head(tuple((k,) for k in range(len(names))), tuple(names), _rated(problem))
    if task.kind == "regression":
        if len(names) != 1 or problem == MULTI_LABEL:
            raise SpecError(
                f"{source} has {len(names)} outputs, {', '.join(names)}; the task "
                f"{task.ref.name} asks for one number"
            )
        return Head(((0,),), ("prediction",), False)
    _check_problem(task, problem, source)
    mapping = _mapping(names, task.labels, labels, source)
    if len(names) == 1 and task.kind == "classification":
        return _one_logit(names[0], task.labels, mapping, source)
    columns = [tuple(k for k, n in enumerate(names) if mapping.get(n, -1) == number)
               for number in range(len(task.labels))]  # fmt: skip
    if absent := [label for label, found in zip(task.labels, columns, strict=True) if not found]:
        raise SpecError(_unmapped(names, task.labels, mapping, absent, source))
    if problem == MULTI_LABEL and any(len(found) > 1 for found in columns):
        raise SpecError(
            f"{source} gives each label a probability of its own, which do not add up to one of "
            f"the task's; labels={dict(mapping)} maps several to one"
        )
    if task.kind == "multi_label":
        return Head(tuple(columns), task.labels)
    head = Head(tuple(columns), task.labels, _rated(problem))
    others = [k for k, name in enumerate(names) if name not in mapping]
    return replace(
        head,
        columns=(*head.columns, *((k,) for k in others)),
        labels=(*head.labels, *(names[k] for k in others)),
    )


def _check_problem(task: Task, problem: Any, source: str) -> None:
    """Raises SpecError where a classifier answers another kind of question than a task asks."""
    if not task.labels:
        raise SpecError(f"{source} is a classifier; the task {task.ref.name} has no labels")
    if problem == "regression":
        raise SpecError(
            f"{source} gives numbers (problem_type is regression); the task {task.ref.name} asks "
            "for classes. A task of numbers is registered with kind='regression'"
        )
    if task.kind == "multi_label" and problem != MULTI_LABEL:
        raise SpecError(
            f"{source} gives one label a text; the task {task.ref.name} has several at once, and "
            f"its problem_type in config.json is {shown(problem)}, not {MULTI_LABEL!r}"
        )


def _rated(problem: Any) -> bool | None:
    return False if problem == MULTI_LABEL else None


def _mapping(
    names: Sequence[str],
    task_labels: Sequence[str],
    labels: Mapping[str, int | str | None] | None,
    source: str,
) -> dict[str, int | None]:
    """Returns the task's label that each of the model's stands for, of those that do."""
    by_name = {folded(label): number for number, label in enumerate(task_labels)}
    if labels is None:
        return {name: by_name[folded(name)] for name in names if folded(name) in by_name}
    by_form = {folded(name): name for name in names}
    found: dict[str, int | None] = {}
    for given, label in labels.items():
        name = given if given in names else by_form.get(folded(given))
        number = by_name.get(folded(label), -1) if isinstance(label, str) else label
        if name is None or (number is not None and not 0 <= number < len(task_labels)):
            raise SpecError(_unmapped(names, task_labels, dict(labels), [], source))
        found[name] = number
    return found


def _one_logit(
    name: str, task_labels: Sequence[str], mapping: Mapping[str, int | None], source: str
) -> Head:
    """Returns the head of a single output, which a sigmoid reads as in transformers' pipeline."""
    positive = mapping.get(name)
    if len(task_labels) != 2 or positive is None:
        wanted = dict(enumerate(task_labels))
        raise SpecError(
            f"{source} has one output, {name}, which a sigmoid reads: it tells two labels apart, "
            f"and the task has {wanted}. Expected the label that a high score stands for, such as "
            f"labels={ {name: task_labels[1]} }"
        )
    columns = ((), (0,)) if positive == 1 else ((0,), ())
    return Head(columns, tuple(task_labels))


def _unmapped(
    names: Sequence[str],
    task_labels: Sequence[str],
    mapping: Mapping[str, int | str | None],
    absent: Sequence[str],
    source: str,
) -> str:
    """Says what does not match, and the mapping as far as names tell it: a guess could be wrong."""
    wanted = dict(enumerate(task_labels))
    known = {folded(name) for name in names}
    wrong = [f"{given!r} is none of its labels" for given in mapping if folded(given) not in known]
    asked = {*wanted, *map(folded, task_labels), None}
    wrong += [
        f"{shown(label)} is none of the task's"
        for label in mapping.values()
        if (folded(label) if isinstance(label, str) else label) not in asked
    ]
    wrong += [f"none of them stands for {', '.join(map(repr, absent))}"] if absent else []
    told = f"labels={dict(mapping)}: " if mapping else ""
    advice = (
        f"The model has {len(names)} labels, the task {len(task_labels)}: it cannot answer the rest"
        if len(names) < len(task_labels)
        else "Expected, of each label, the one of the task's that it stands for: labels={"
        + ", ".join(f"{name!r}: {_likely(name, task_labels)}" for name in names)
        + "}; None makes an answer impossible, and what is not named is one of its own, and wrong"
    )
    return (
        f"{source} has the labels {', '.join(names)}; the task's are {wanted}. "
        f"{told}{'; '.join(wrong)}. {advice}"
    )


def _likely(name: str, task_labels: Sequence[str]) -> str:
    """Returns the only label that begins as a name does, or is its beginning."""
    given = folded(name)
    alike = [
        label
        for label, form in ((label, folded(label)) for label in task_labels)
        if given.startswith(form) or form.startswith(given)
    ]
    return repr(alike[0]) if len(alike) == 1 else "..."


def folded(name: str) -> str:
    """Returns the form in which two label names count as the same: case and Unicode form apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def label_names(config: Mapping[str, Any]) -> list[str]:
    """Returns a classifier's label names in the order of its logits.

    Raises:
        SpecError: they are not numbered from 0, or two are the same.
    """
    names = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(2)}
    numbers = [str(key) for key in names] if isinstance(names, Mapping) else []
    if not numbers or sorted(numbers) != sorted(map(str, range(len(numbers)))):
        raise SpecError(
            f"id2label in config.json is {shown(names)}; expected the name of each output from 0"
        )
    found = [str(names[key]) for key in sorted(names, key=int)]
    if len(set(found)) < len(found):
        raise SpecError(f"id2label in config.json is {shown(names)}; expected different names")
    return found
