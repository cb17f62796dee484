"""What a language model is asked: a task's items, put by a template, with examples before them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from kit import tasks
from kit.build.runner import Runner
from kit.corruptions.corruption import contents_of
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.roles import Axis
from kit.tasks.templates import OWN, Prompt, Question, Template, put, shot, template_of

if TYPE_CHECKING:
    from datasets import Dataset

    from kit.tasks.task import Task


def checked(name: str) -> str:
    """Returns the name of a template.

    Raises:
        SpecError: there is no such template.
    """
    template_of(name, Template(""))
    return name


Shots = Annotated[int, Field(ge=0, le=64)]
"""An argument: how many examples stand before each question."""
Examples = Literal["shared", "item"]
"""An argument: the same examples before all questions, or others before each."""
WhichTemplate = Annotated[str, Axis(neutral=OWN, alike=True), AfterValidator(checked)]
"""An argument: how questions are put. It makes a shifted copy of the items."""


class Questions(NamedTuple):
    """What a language model is asked.

    Attributes:
        data: the task.
        rows: of the split, as many as are asked.
        how: each is put.
        items: the questions, corrupted where that was asked for.
        before: text of the examples that stand before each.
        protocol: what of all this belongs into the condition of rows.
    """

    data: Task
    rows: Dataset
    how: Template
    items: list[Question]
    before: list[str]
    protocol: dict[str, Any]

    @property
    def prompts(self) -> list[Prompt]:
        """What the model reads, and the answers on offer."""
        made = zip(self.before, (put(self.how, item) for item in self.items), strict=True)
        return [Prompt(before + context, said) for before, (context, said) in made]


def questions_of(
    runner: Runner,
    task: Ref,
    split: str,
    limit: int | None,
    shots: int,
    examples: Examples,
    template: str,
    corruption: Ref | None,
) -> Questions:
    """Returns the questions that a measurement's arguments ask for.

    Raises:
        SpecError: the variant is no language model, or there are fewer examples than `shots`.
    """
    if runner.model.kind != "causal":
        raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
    data = tasks.load(task)
    assert data.template is not None
    how = template_of(template, data.template)
    rows = data.split(split, limit)
    items = data.questions(rows, contents_of(data, rows, corruption))
    protocol: dict[str, Any] = {"shots": shots} if shots else {}
    if shots and examples != "shared":
        protocol["examples"] = examples
    before = examples_before(data, how, shots, rows["id"] if examples == "item" else None)
    return Questions(data, rows, how, items, before * (len(items) // len(before)), protocol)


def examples_before(
    data: Task, template: Template, shots: int, ids: Sequence[str] | None = None
) -> list[str]:
    """Returns the examples that stand before questions.

    Args:
        data: from whose training part they are.
        template: by which they are put.
        shots: how many.
        ids: of the questions; for each other examples are drawn, by its id. Where not given all
            have the same, the first by content hash, and there is one text for all.

    Raises:
        SpecError: the training part has fewer.
    """
    if not shots:
        return [""]
    there = len(data.data["train"])
    if there < shots:
        raise SpecError(f"shots={shots}: the training part of {data.ref.name} has {there} items")
    if ids is None:
        rows, drawn = data.split("train", shots), [[*range(shots)]]
    else:
        rows = data.split("train")
        drawn = [random.Random(each).sample(range(there), shots) for each in ids]
    items: list[Question] = data.questions(rows, data.contents(rows))
    return ["".join(shot(template, items[k]) for k in each) for each in drawn]
