"""Written answers against SQuAD's rules, by worked examples and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import squad
from torchmetrics.functional.text.rouge import rouge_score

from kit.analysis.metrics.generations import (
    contains_answer,
    exact_match,
    normalized,
    rouge_l,
    token_f1,
)

SAID = np.array(["The Eiffel Tower!", "in Paris, France", "", "a an the", "42"])
RIGHT = np.array([["eiffel tower", ""], ["Paris", "Rome"], ["no", ""], ["an", ""], ["43", "42."]])


def test_texts_are_normalized_as_squads() -> None:
    assert normalized(" The  cat,\nan a.m. ") == "cat am"


def test_words_in_common() -> None:
    assert exact_match(SAID, RIGHT).tolist() == [True, False, False, True, True]
    assert token_f1(SAID, RIGHT) == pytest.approx([1, 0.5, 0, 1, 1])
    assert contains_answer(SAID, RIGHT).tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("k", range(3))
def test_the_numbers_are_torchmetrics(k: int) -> None:
    answers = [each for each in RIGHT[k].tolist() if each]
    target = {"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "a"}
    found = squad([{"prediction_text": str(SAID[k]), "id": "a"}], [target])
    assert found["exact_match"].item() == 100 * exact_match(SAID, RIGHT)[k]
    assert found["f1"].item() == pytest.approx(100 * token_f1(SAID, RIGHT)[k])


LINES = [
    ("the cat sat on the mat", ["a cat sat upon the mat", "the mat"]),
    ("police killed the gunman", ["the gunman killed police", "police kill the gunman"]),
    ("", ["anything"]),
    ("Yes, 3.5%!", ["yes 3 5", ""]),
    ("no word in common", ["nothing shared", "at all"]),
]


def test_the_longest_common_subsequence_is_rouge_ls() -> None:
    text = np.array([said for said, _ in LINES])
    answers = np.array([[*right, ""][:2] for _, right in LINES])
    found = rouge_l(text, answers)
    # cat sat the mat: 4 of 6 words each; police the gunman: 3 of 4
    assert found == pytest.approx([4 / 6, 3 / 4, 0, 1, 0])
    scorer = RougeScorer(["rougeL"])
    for value, (said, right) in zip(found, LINES, strict=True):
        given = [each for each in right if each]
        scores = [scorer.score(each, said)["rougeL"].fmeasure for each in given]
        assert value == pytest.approx(max(scores))
        other = rouge_score(said, given, accumulate="best", rouge_keys="rougeL")
        assert value == pytest.approx(float(other["rougeL_fmeasure"]))
