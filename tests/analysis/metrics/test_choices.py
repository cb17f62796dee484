"""Metrics of answers on offer, against loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from kit.analysis.metrics import choices as metrics
from kit.spec.registry import artifacts


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = artifacts.get("choices").function()
    return found


def offers(columns: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """An item a time, without what lies beyond its answers."""
    return [
        {name: column[k][:count] for name, column in columns.items() if column.ndim == 2}
        for k, count in enumerate(columns["choices"])
    ]


def test_the_likeliest_answer_counts(columns: dict[str, np.ndarray]) -> None:
    given = {name: columns[name] for name in ("loglikelihood", "choices", "label")}
    items = offers(columns)
    plain = [each["label"][each["loglikelihood"].argmax()] == 1 for each in items]
    assert metrics.acc(**given).tolist() == plain
    norm = [e["label"][(e["loglikelihood"] / e["bytes"]).argmax()] == 1 for e in items]
    assert metrics.acc_norm(**given, bytes=columns["bytes"]).tolist() == norm
    gain = [e["label"][(e["loglikelihood"] - e["unconditional"]).argmax()] == 1 for e in items]
    found = metrics.acc_mutual_info(**given, unconditional=columns["unconditional"])
    assert found.tolist() == gain
    assert metrics.acc(**given).dtype == bool


def test_margins_are_those_of_the_best_on_each_side(columns: dict[str, np.ndarray]) -> None:
    expected = [
        e["loglikelihood"][e["label"] == 1].max() - e["loglikelihood"][e["label"] == 0].max()
        for e in offers(columns)
    ]
    given = {name: columns[name] for name in ("loglikelihood", "choices", "label")}
    np.testing.assert_allclose(metrics.choice_margin(**given), expected)


def test_brier_is_scikit_learns_for_two_answers() -> None:
    likelihood = -np.random.default_rng(0).random((50, 2)) * 3
    right = np.random.default_rng(1).integers(0, 2, 50)
    label, count = np.eye(2, dtype=int)[right], np.full(50, 2)
    derive = artifacts.get("choices").traits["derived"]["choice_probabilities"]
    said = derive(likelihood, count)
    found = metrics.choice_brier(said, label).mean()
    assert found == pytest.approx(2 * brier_score_loss(right, said[:, 1]))
    assert said.sum(axis=1) == pytest.approx(1)


def test_several_answers_may_be_right() -> None:
    said = np.array([[0.5, 0.5, 0.0]])
    label = np.array([[1, 1, 0]])
    assert metrics.choice_brier(said, label) == pytest.approx(0)
    assert metrics.chance(np.array([3]), label) == pytest.approx(2 / 3)


def test_what_lies_beyond_the_answers_never_counts(columns: dict[str, np.ndarray]) -> None:
    beyond = np.arange(4) >= columns["choices"][:, None]
    other = {
        "loglikelihood": np.where(beyond, 0.0, columns["loglikelihood"]),
        "greedy": np.where(beyond, True, columns["greedy"]),
        "label": columns["label"],
        "choices": columns["choices"],
    }
    same = ("loglikelihood", "choices", "label")
    for metric in (metrics.acc, metrics.choice_margin):
        one, two = (metric(**{name: each[name] for name in same}) for each in (columns, other))
        np.testing.assert_array_equal(one, two)
    names = ("greedy", "choices", "label")
    one, two = (metrics.greedy_match(**{n: each[n] for n in names}) for each in (columns, other))
    np.testing.assert_array_equal(one, two)


def test_the_favourite_place_is_the_one_said_most_often() -> None:
    loglikelihood = np.array([[-1.0, -2, 0], [-1, -2, 0], [-3, -2, 0], [-1, -3, -2]])
    choices = np.array([2, 2, 2, 3])  # what is beyond an item's number is no answer
    assert metrics.favourite_place(loglikelihood, choices) == 3 / 4
