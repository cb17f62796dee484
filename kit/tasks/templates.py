"""How a question with answers on offer is put to a language model, and the same otherwise put."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Literal, NamedTuple

from kit.spec.checking import SpecError, shown, suggest

OWN = "own"
"""The task's own template."""
FIELDS = ("about", "passage", "question", "options")


class Template(NamedTuple):
    """How an item is put.

    Attributes:
        prompt: with `{question}` and, where wanted, `{passage}`, `{about}` (the passage and a new
            line; nothing where there is none) and `{options}`, the answers on offer as lettered
            lines.
        answers: what the model is to say: an answer's `text`, or its `letter`.
        turned: puts the answers in another order, by the hash of the question.
        between: stands between prompt and answer.
        stops: texts that end an answer that a model writes.
        longest: tokens of such an answer.
    """

    prompt: str
    answers: Literal["text", "letter"] = "text"
    turned: bool = False
    between: str = " "
    stops: tuple[str, ...] = ("\n",)
    longest: int = 32


class Question(NamedTuple):
    """An item.

    Attributes:
        passage: what it is about, '' for nothing.
        question: what is asked.
        choices: the answers on offer.
        right: places of those that count as right.
    """

    passage: str
    question: str
    choices: tuple[str, ...]
    right: tuple[int, ...]


class Prompt(NamedTuple):
    """What a model reads: the context, and a continuation for each of the item's choices."""

    context: str
    continuations: tuple[str, ...]


TEMPLATES: Mapping[str, Template] = {
    "plain": Template("{about}{question}"),
    "question": Template("{about}Question: {question}\nAnswer:"),
    "short": Template("{about}Q: {question}\nA:"),
    "spaced": Template("{about}Question:\n\n{question}\n\nAnswer:\n\n", between=""),
    "told": Template("{about}Answer the following question.\n\n{question}\n\nThe answer is:"),
    "listed": Template("{about}Question: {question}\n{options}\nAnswer:"),
    "letters": Template("{about}Question: {question}\n{options}\nAnswer:", "letter"),
    "turned": Template("{about}Question: {question}\n{options}\nAnswer:", "letter", turned=True),
}
"""Eight ways to ask the same: wording, white space, answers shown or not, letter or text, order."""


def template_of(name: str, own: Template) -> Template:
    """Returns a template by its name, `own` for the task's.

    Raises:
        SpecError: no such template.
    """
    if name != OWN and name not in TEMPLATES:
        raise SpecError(suggest(name, (OWN, *TEMPLATES), "template"))
    return own if name == OWN else TEMPLATES[name]


def checked_template(task: str, given: str | Template) -> Template:
    """Returns a task's own template.

    Raises:
        SpecError: it does not ask the question, or has a field that items lack.
    """
    template = Template(given) if isinstance(given, str) else given
    prompt = template.prompt
    try:
        filled = prompt.format(**dict.fromkeys(FIELDS, "\0"))
    except (KeyError, IndexError, ValueError) as error:
        raise SpecError(
            f"task {task}: the template {shown(prompt)} has a field that is none of "
            f"{', '.join(f'{{{name}}}' for name in FIELDS)}: {error}"
        ) from None
    if "\0" not in filled or "{question}" not in prompt:
        raise SpecError(f"task {task}: the template {shown(prompt)} has no {{question}}")
    return template


def put(template: Template, item: Question) -> Prompt:
    """Returns what a model reads of an item."""
    order = _order(item) if template.turned else range(len(item.choices))
    letters = ascii_uppercase[: len(item.choices)]
    options = "\n".join(
        f"{letter}. {item.choices[place]}" for letter, place in zip(letters, order, strict=True)
    )
    known = {"passage": item.passage, "question": item.question, "options": options}
    context = template.prompt.format(about=f"{item.passage}\n" if item.passage else "", **known)
    said = item.choices
    if template.answers == "letter":
        at = {place: letter for letter, place in zip(letters, order, strict=True)}
        said = tuple(at[place] for place in range(len(item.choices)))
    return Prompt(context, tuple(f"{template.between}{each}" for each in said))


def shot(template: Template, item: Question) -> str:
    """Returns an example with its answer, to stand before a question."""
    prompt = put(template, item)
    return f"{prompt.context}{prompt.continuations[item.right[0]]}\n\n"


def _order(item: Question) -> Sequence[int]:
    """Returns another order of an item's choices than the given one, told by its content."""
    digest = hashlib.sha256(item.question.encode("utf-8", "replace")).digest()
    by = 1 + digest[0] % max(len(item.choices) - 1, 1)
    places = [*range(len(item.choices))]
    return places[by:] + places[:by]
