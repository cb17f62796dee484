"""How questions are put."""

from __future__ import annotations

import pytest

from kit.spec.checking import SpecError
from kit.tasks.templates import (
    OWN,
    TEMPLATES,
    Question,
    Template,
    checked_template,
    put,
    shot,
    template_of,
)

ITEM = Question("Cats purr.", "What do cats do?", ("bark", "purr", "moo"), (1,))


def test_a_question_is_put_as_the_template_says() -> None:
    template = Template("{passage}\nQuestion: {question}\nAnswer:")
    prompt = put(template, ITEM)
    assert prompt.context == "Cats purr.\nQuestion: What do cats do?\nAnswer:"
    assert prompt.continuations == (" bark", " purr", " moo")
    assert shot(template, ITEM) == f"{prompt.context} purr\n\n"


def test_letters_stand_for_the_answers_that_they_stand_before() -> None:
    for name in ("letters", "turned"):
        prompt = put(TEMPLATES[name], ITEM)
        for said, choice in zip(prompt.continuations, ITEM.choices, strict=True):
            assert f"\n{said.strip()}. {choice}\n" in prompt.context
    assert put(TEMPLATES["letters"], ITEM) != put(TEMPLATES["turned"], ITEM)


@pytest.mark.parametrize("name", TEMPLATES)
def test_all_templates_ask_the_same(name: str) -> None:
    for passage in ("", "Cats purr."):
        prompt = put(TEMPLATES[name], ITEM._replace(passage=passage))
        assert ITEM.question in prompt.context and len(set(prompt.continuations)) == 3
        assert prompt.context.startswith(passage) and "{" not in prompt.context
    assert len({put(each, ITEM) for each in TEMPLATES.values()}) == len(TEMPLATES) == 8


@pytest.mark.parametrize("text", ["{question} {answer}", "{passage}", "{", "{question:{x}}"])
def test_a_template_that_asks_nothing_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="the template"):
        checked_template("quiz", text)


def test_templates_have_names() -> None:
    own = Template("{question}")
    assert template_of(OWN, own) is own
    with pytest.raises(SpecError, match="Did you mean 'letters'"):
        template_of("leters", own)
