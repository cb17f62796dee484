"""What an item is: its normal form, its id and how cells become text."""

from __future__ import annotations

import pytest

from kit.tasks.content import clean, content_id, normalize


def test_normal_form_ignores_case_space_and_closing_marks() -> None:
    assert normalize("  The\u00a0FILM,   again!! ") == normalize("the film, again")
    assert content_id("Wow!") == content_id("\u201cwow\u201d")
    assert content_id("ok :)") != content_id("ok :(")
    assert normalize("...") == "..."


@pytest.mark.parametrize(
    ("value", "text", "replaced"),
    [
        (b"caf\xe9 noir", "caf\ufffd noir", 1),
        ("lone \ud83d surrogate", "lone \ufffd surrogate", 1),
        (None, "", 0),
        (float("nan"), "", 0),
        ("  \n\t ", "", 0),
        (12, "12", 0),
        (
            "\u0645\u0631\u062d\u0628\u0627 \U0001f600",
            "\u0645\u0631\u062d\u0628\u0627 \U0001f600",
            0,
        ),
    ],
)
def test_clean(value: object, text: str, replaced: int) -> None:
    assert clean(value) == (text, replaced)


def test_a_pair_is_another_item_than_its_texts_in_a_row_or_turned_round() -> None:
    ids = {content_id(each) for each in (("a b", "c"), ("a", "b c"), ("c", "a b"), "a b c", "a bc")}
    assert len(ids) == 5
    assert content_id(("A  b.", "c")) == content_id(("a b", "C!"))
    assert content_id(("a\x1eb", "c")) != content_id(("a", "b\x1ec"))
