"""Answers that a language model writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from kit.build.runner import Runner
from kit.corruptions import CorruptionRef
from kit.measurements.footprint import written_bytes
from kit.measurements.going_on import known_way
from kit.measurements.interface import Positive, Raw, Split, item_columns, of_kind
from kit.measurements.prompts import Examples, Questions, Shots, WhichTemplate, questions_of
from kit.measurements.sampling import chooser
from kit.measurements.writing import ROWS, TOKENS, Room, Written, fitted, write
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.ref import content_hash
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef
from kit.tasks.templates import OWN, Template


def _drawn(value: float, info: ValidationInfo) -> float:
    """Returns an argument of draws, which means nothing where the likeliest token is taken."""
    name = str(info.field_name)
    usual = {"top_p": 1.0, "draws": 1, "seed": 0}[name]
    if value != usual and info.data.get("temperature") == 0:
        raise SpecError(
            f"{name}={value} with temperature=0, which always takes the likeliest token; expected "
            f"a temperature above 0, such as 1, or {name}={usual}"
        )
    return value


Drawn = AfterValidator(_drawn)
"""Checks an argument that stands after `temperature`."""


@register_measurement(
    where="worker", artifacts=("generations",), decodes=True, version=2, seconds=120.0
)
def generate(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("generation")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=8, default=200, full=None)] = None,
    shots: Shots = 0,
    examples: Examples = "shared",
    threads: Annotated[Positive, Rounding((2,))] = 1,
    rows: Annotated[Positive, Rounding((5,))] = ROWS,
    tokens: Annotated[Positive, Rounding()] = TOKENS,
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0,
    top_p: Annotated[float, Field(gt=0, le=1), Drawn] = 1.0,
    draws: Annotated[Positive, Drawn] = 1,
    seed: Annotated[int, Field(ge=0), Drawn] = 0,
    template: WhichTemplate = OWN,
    corruption: CorruptionRef = None,
) -> Raw:
    """Answers that are written token by token, in batches that are filled up as answers end.

    Several draws of an item are records of their own, one cluster: metrics are means over draws
    and items, and their intervals are over items.

    Args:
        runner: the variant, ready.
        task: prompts with right answers.
        split: which part.
        limit: the first n items by content hash; None for all.
        shots, examples: as in `score_choices`.
        threads: of the worker; one, so that the number of workers never changes a table.
        rows: prompts at once; answers change by rounding alone.
        tokens: that these may hold together, which bounds memory; a longer prompt is alone.
        temperature: 0 takes the likeliest token; above, tokens are drawn by their probability.
        top_p: draws from the likeliest tokens that have this share of the probability together.
        draws: answers to each item.
        seed: of the random numbers, which differ by it, the item and the draw, and nothing else.
        template: how the prompt is put; the task's own where not given. It makes a shifted copy.
        corruption: of prompt and passage.

    Raises:
        SpecError: the variant is no language model, or there are fewer examples than `shots`.
        Undefined: the model's window leaves no room for an answer.
        ValueError: the model gives NaN or infinite logits.
    """
    asked = questions_of(runner, task, split, limit, shots, examples, template, corruption)
    how, whole = asked.how, _prompts(runner, asked)
    given, ids = fitted(runner, whole, how), asked.rows["id"]
    seeds = [content_hash(item, seed, draw) for item in ids for draw in range(draws)]
    choose = [chooser(temperature, each, top_p) for each in seeds]
    by, room = known_way(runner, rows), Room(rows, tokens)
    found = write(runner, [each for each in given for _ in range(draws)], how, choose, room, by)
    cut = np.array([len(each) < len(before) for each, before in zip(given, whole, strict=True)])
    told = {"temperature": temperature, "top_p": top_p if top_p < 1 else 0}
    about = {
        "protocol": asked.protocol | {name: value for name, value in told.items() if value},
        "written": {"rows": by.rows, "state_bytes": written_bytes(runner, given, how, room, by)},
        "notes": [n for n in (by.note, _endless(runner, how), _cut(cut), _empty(found)) if n],
    }
    return Raw("generations", _items(asked, cut, draws) | _columns(found), about)


def _prompts(runner: Runner, asked: Questions) -> list[list[int]]:
    """Returns the tokens of each prompt, after what the tokenizer opens a text with."""
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    texts = [context.rstrip() for context, _ in asked.prompts]
    prompts = [[*tokenizer.opening, *ids] for ids in tokenizer.encode(texts)]
    return [ids or [tokenizer.separator_id] for ids in prompts]


def _items(asked: Questions, cut: np.ndarray, draws: int) -> dict[str, np.ndarray]:
    """Returns what is known of the item of each answer, [n * draws]."""
    most = max(len(item.choices) for item in asked.items)
    answers = [[*item.choices, *[""] * (most - len(item.choices))] for item in asked.items]
    columns = {
        **item_columns(asked.data, asked.rows),
        "question": np.array([item.question for item in asked.items]),
        "answers": np.array(answers),
        "cut": cut,
    }
    repeated = {name: np.repeat(values, draws, axis=0) for name, values in columns.items()}
    return repeated | {"item": _numbered(repeated["item"], draws)}


def _columns(found: Sequence[Written]) -> dict[str, np.ndarray]:
    """Returns what is saved of each answer, [n]."""
    columns = {name: np.array([getattr(each, name) for each in found]) for name in Written._fields}
    return columns | {"text": np.char.strip(columns["text"])}


def _numbered(items: np.ndarray, draws: int) -> np.ndarray:
    """Returns the id of each draw, by which draws of two variants are paired: the item's, numbered.

    A single one is the item.
    """
    numbers = np.arange(len(items)) % draws
    ids = [f"{item}#{draw}" if draw else item for item, draw in zip(items, numbers, strict=True)]
    return np.array(ids)


def _endless(runner: Runner, how: Template) -> str:
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    if tokenizer.ends or how.stops:
        return ""
    return (
        "the tokenizer has no end token and the task no stop text: every answer is "
        f"{how.longest} tokens long"
    )


def _empty(found: Sequence[Written]) -> str:
    count = sum(not each.text.strip() for each in found)
    return f"{count} of {len(found)} answers are empty" if count else ""


def _cut(cut: np.ndarray) -> str:
    if not cut.any():
        return ""
    return f"{cut.sum()} of {len(cut)} prompts lost their beginning: the window holds no more"
