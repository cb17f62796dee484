from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from kit.architectures.head import Head, head_of
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.tasks.task import Task

NAMES = ("NEGATIVE", "neutral", "POSITIVE")


def task(labels: Sequence[str], kind: str = "classification") -> Task:
    return Task(Ref("mine"), kind, tuple(labels), {}, "", (), {})  # type: ignore[arg-type]


def made(
    names: Sequence[str],
    labels: Sequence[str],
    mapping: Mapping[str, int | str | None] | None = None,
    kind: str = "classification",
    **config: Any,
) -> Head:
    about = {"id2label": dict(enumerate(names)), **config}
    return head_of(about, task(labels, kind), mapping, "mine")


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_any_order_of_the_labels_gives_the_same_answers(order: list[int], seed: int) -> None:
    labels = [f"label {k}" for k in range(5)]
    outputs = np.random.default_rng(seed).normal(size=(7, 5)).astype(np.float32)
    head = made([labels[k].upper() for k in order], labels)
    np.testing.assert_array_equal(head(outputs[:, order]), outputs)
    assert head.labels == tuple(labels)


def test_what_the_task_lacks_stays_an_answer() -> None:
    head = made(NAMES, ["negative", "positive"])
    assert head.labels == ("negative", "positive", "neutral")
    outputs = np.array([[1.0, 3.0, 2.0]])
    assert head(outputs).tolist() == [[1.0, 2.0, 3.0]], "so that the answer is neutral, and wrong"
    left_out = made(
        NAMES, ["negative", "positive"], {"NEGATIVE": 0, "POSITIVE": 1, "neutral": None}
    )
    assert left_out(outputs).tolist() == [[1.0, 2.0]], "asked for by name, it is impossible"


def test_probabilities_of_several_labels_are_added() -> None:
    outputs = np.random.default_rng(0).normal(size=(9, 3)) * 5
    head = made(NAMES, ["bad", "good"], {"NEGATIVE": 0, "neutral": 0, "POSITIVE": 1})
    own = softmax(outputs, axis=1)
    expected = np.stack([own[:, 0] + own[:, 1], own[:, 2]], axis=1)
    np.testing.assert_allclose(softmax(head(outputs), axis=1), expected, rtol=1e-5)


@pytest.mark.parametrize("positive", [0, 1])
def test_one_output_is_read_by_a_sigmoid(positive: int) -> None:
    outputs = np.linspace(-4, 4, 9)[:, None]
    head = made(["LABEL_0"], ["no", "yes"], {"LABEL_0": positive})
    np.testing.assert_allclose(
        softmax(head(outputs), axis=1)[:, positive], expit(outputs[:, 0]), rtol=1e-6
    )


def test_one_output_whose_side_is_not_named_is_refused_with_what_works() -> None:
    with pytest.raises(SpecError, match=r"one output, LABEL_0.*as labels=\{'LABEL_0': 'yes'\}"):
        made(["LABEL_0"], ["no", "yes"])


def test_a_multi_label_model_gives_no_softmax_probabilities() -> None:
    problem = {"problem_type": "multi_label_classification"}
    assert made(["toxic", "insult"], ["insult", "toxic"], **problem).probabilities is False
    head = made(["toxic", "insult", "rude"], ["insult", "toxic"], kind="multi_label", **problem)
    assert head(np.array([[1.0, 2.0, 3.0]])).tolist() == [[2.0, 1.0]]
    assert head.probabilities is None, "a sigmoid of each is one"
    with pytest.raises(SpecError, match="gives one label a text"):
        made(["toxic", "insult"], ["insult", "toxic"], kind="multi_label")


def test_numbers_and_classes_are_not_confused() -> None:
    head = made(["LABEL_0"], [], kind="regression")
    assert head(np.array([[2.5]])).tolist() == [[2.5]]
    with pytest.raises(SpecError, match="asks for one number"):
        made(NAMES, [], kind="regression")
    with pytest.raises(SpecError, match="kind='regression'"):
        made(["LABEL_0"], ["no", "yes"], problem_type="regression")


def test_the_tasks_label_is_meant_by_name_or_number() -> None:
    by_name = made(NAMES, ["bad", "good"], {"NEGATIVE": "Bad", "neutral": None, "POSITIVE": "good"})
    assert by_name == made(NAMES, ["bad", "good"], {"NEGATIVE": 0, "neutral": None, "POSITIVE": 1})
    with pytest.raises(SpecError, match="'fine' is none of the task's"):
        made(NAMES, ["bad", "good"], {"NEGATIVE": 0, "POSITIVE": "fine"})


def test_names_that_differ_in_unicode_form_are_the_same() -> None:
    name = unicodedata.normalize("NFD", "négatif")
    assert made(["positif", "négatif"], [name, "positif"]).columns == ((1,), (0,))
    assert made(["positif", "négatif"], ["a", "b"], {name: 0, "positif": 1}).columns[0] == (1,)


def test_what_is_suggested_is_never_a_wrong_guess() -> None:
    with pytest.raises(
        SpecError, match=r"labels=\{'NEGATIVE': 'neg', 'neutral': 'neu', 'POSITIVE': 'pos'\}"
    ):
        made(NAMES, ["neg", "neu", "pos"])
    with pytest.raises(SpecError, match=r"'NEG' is none of its labels.*'POSITIVE': 'positive'"):
        made(NAMES, ["negative", "neutral", "positive"], {"NEG": 0})
    with pytest.raises(SpecError, match=r"7 is none of the task's.*'neutral': \.\.\."):
        made(NAMES, ["bad", "good"], {"neutral": 7})


@pytest.mark.parametrize(
    "labels",
    [None, {"NEGATIV": 0, "POSITIVE": 1}, {"NEGATIVE": 0}, {"NEGATIVE": 0, "POSITIVE": 2}],
)
def test_labels_that_do_not_match(labels: dict[str, int] | None) -> None:
    with pytest.raises(
        SpecError, match=r"mine has the labels NEGATIVE, neutral, POSITIVE; .*0: 'bad'"
    ):
        made(NAMES, ["bad", "good"], labels)
