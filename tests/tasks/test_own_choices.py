"""Questions with answers on offer, from a table."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import kit
from kit import tasks
from kit.spec.checking import SpecError
from kit.spec.registry import tasks as registered
from kit.tasks import quizzes

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")


def quiz(count: int = 40, **more: Any) -> pd.DataFrame:
    """Sums whose answers are three numbers."""
    rows = [
        {
            "question": f"What is {k} and {k * 7 % 11}?",
            "choices": [str(k + k * 7 % 11 + by) for by in (0, 1, 5)],
            "answer": "ABC"[0],
            "kind": "even" if k % 2 == 0 else "odd",
        }
        for k in range(count)
    ]
    return pd.DataFrame(rows).assign(**more)


def test_a_table_becomes_a_task() -> None:
    ref = kit.choices_from_frame("sums", quiz(), groups=["kind"])
    data, about = tasks.load(ref), tasks.describe(ref)
    assert about["sizes"]["test"] + about["sizes"]["train"] == 40
    rows = data.split("test", 5)
    items = data.questions(rows, data.contents(rows))
    for item, prompt, group in zip(items, data.examples(rows), rows["kind"], strict=True):
        assert item.right == (0,) and len(item.choices) == 3
        assert prompt == f"Question: {item.question}\nAnswer:"
        number = int(item.question.split()[2])
        assert item.choices[0] == str(number + number * 7 % 11)
        assert group == ("even" if number % 2 == 0 else "odd")


@pytest.mark.parametrize(
    ("answer", "right"),
    [("B", (1,)), ("b", (1,)), (2, (2,)), (2.0, (2,)), ([0, "C"], (0, 2)), (["A"], (0,))],
)
def test_what_is_right_is_said_by_letter_place_or_list(answer: Any, right: tuple[int]) -> None:
    frame = quiz()
    frame["choices"] = [[f"about {each}" for each in offer] for offer in frame["choices"]]
    frame["answer"] = [answer] * len(frame)
    data = tasks.load(kit.choices_from_frame("sums", frame))
    assert {tuple(each) for each in data.data["test"]["label"]} == {right}


def test_an_answer_is_a_column_each() -> None:
    frame = quiz()
    for place in range(3):
        frame[f"option {place}"] = [offer[place] for offer in frame["choices"]]
    frame["answer"] = [offer[1] for offer in frame["choices"]]
    options = [f"option {place}" for place in range(3)]
    data = tasks.load(kit.choices_from_frame("sums", frame, choices=options))
    assert {tuple(each) for each in data.data["test"]["label"]} == {(1,)}


def test_unsound_rows_are_left_out_and_counted() -> None:
    frame = quiz()
    frame.at[0, "choices"] = ["7"]
    frame.at[1, "choices"] = ["7", "7", "8"]
    frame.at[2, "choices"] = ["7", "", "8"]
    frame.at[3, "answer"] = "D"
    frame.at[4, "answer"] = "neither"
    about = tasks.describe(kit.choices_from_frame("sums", frame))
    assert about["dropped"]["sums"]["unsound"] == 5


def test_questions_on_one_passage_stay_together() -> None:
    frame = quiz(60, passage=[f"Passage {k // 6} about numbers." for k in range(60)])
    data = tasks.load(kit.choices_from_frame("sums", frame, passage="passage", test=0.5))
    parts = [set(rows["text"]) for rows in (data.data["train"], data.data["test"])]
    assert all(parts) and not parts[0] & parts[1]
    rows = data.split("test", 1)
    assert data.examples(rows)[0].startswith("Passage ")


def test_the_same_question_with_other_answers_is_another_item() -> None:
    twice = pd.concat([quiz(), quiz().assign(choices=[["1", "2", "300"]] * 40)])
    about = tasks.describe(kit.choices_from_frame("sums", twice))
    assert sum(about["sizes"].values()) == 80


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"choices": "choice"}, "Did you mean 'choices'"),
        ({"answer": "kind"}, "unknown answer .even."),
        ({"choices": "question"}, "expected a list of answers"),
        ({"template": "{answer}"}, "has a field that is none of"),
    ],
)
def test_what_makes_no_quiz_is_told(more: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        kit.choices_from_frame("sums", quiz(), **more)


def test_every_quiz_is_sound() -> None:
    for name in registered.names():
        entry = registered.get(name)
        if entry.function.__module__ == quizzes.__name__:
            about = tasks.describe(name)
            lost = sum(sum(each.values()) for each in about["dropped"].values())
            assert about["sizes"]["test"] >= 300, name
            assert about["sizes"]["train"] >= 20, name
            assert lost < 4500, (name, about["dropped"])


@pytest.mark.parametrize("kind", [int, str, float])
def test_a_number_among_numbers_is_an_answer_and_no_place(kind: Any) -> None:
    frame = pd.DataFrame(
        {"question": [f"What is {k} and 1?" for k in range(1, 30)]}
        | {name: [k + by for k in range(1, 30)] for by, name in enumerate("abc")}
    )
    frame["answer"] = [kind(each) for each in frame["b"]]
    data = tasks.load(kit.choices_from_frame("sums", frame, choices=["a", "b", "c"], test=1.0))
    assert {tuple(each) for each in data.data["test"]["label"]} == {(1,)}
    assert tasks.describe(data.ref)["dropped"]["sums"]["unsound"] == 0


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    frame = quiz()
    frame.at[3, "answer"] = "neither"
    kit.choices_from_frame("sums", frame)
    assert "1 of 40 questions are left out; the first: task sums" in (
        said := capsys.readouterr().out
    )
    assert "row 3" in said and "unknown answer 'neither'" in said


def test_a_table_without_rows_is_told() -> None:
    for make in (kit.choices_from_frame, kit.generation_from_frame):
        with pytest.raises(SpecError, match="frame 'none' has no rows"):
            make("none", quiz(0, question=[], choices=[], answer=[]), **(
                {} if make is kit.choices_from_frame else {"prompt": "question"}))  # fmt: skip
