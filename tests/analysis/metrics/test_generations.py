"""Written answers against SQuAD's rules, by worked examples and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from torchmetrics.functional.text import squad

from kit.analysis.metrics.generations import contains_answer, exact_match, normalized, token_f1

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
