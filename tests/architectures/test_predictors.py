"""Null models: what knowing nothing but the labels of the training split gives."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from datasets import Dataset

from kit.architectures.predictors import majority
from kit.spec.checking import SpecError


def test_one_class_an_item_gives_log_shares() -> None:
    answer = majority(Dataset.from_dict({"label": [0, 0, 0, 1]}))(["a", "b"])
    assert answer.shape == (2, 2) and answer.dtype == np.float32
    assert np.exp(answer[0]) == pytest.approx([4 / 6, 2 / 6])


def test_a_class_that_the_training_split_lacks_keeps_its_column() -> None:
    answer = majority(Dataset.from_dict({"label": [0, 0, 0, 1]}), classes=3)(["a"])
    assert np.exp(answer[0]) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_several_labels_give_the_log_odds_of_each() -> None:
    label = [[1, 0, 1], [1, 0, 0], [0, 0, 1]]
    answer = majority(Dataset.from_dict({"label": label}))(["a", "b"])
    assert answer.shape == (2, 3)
    assert 1 / (1 + np.exp(-answer[1])) == pytest.approx([3 / 5, 1 / 5, 3 / 5])


def test_a_number_gives_the_mean() -> None:
    answer = majority(Dataset.from_dict({"label": [1.0, 2.0, 6.0]}))(["a", "b"])
    assert answer.tolist() == [[3.0], [3.0]]


def test_an_empty_training_split_is_told() -> None:
    with pytest.raises(SpecError, match="split 'train', which is empty"):
        majority(Dataset.from_dict({"label": []}))


def test_the_majority_knows_classes_that_are_absent() -> None:
    label = datasets.ClassLabel(names=["a", "b", "c"])
    features = datasets.Features({"label": label})
    rows = Dataset.from_dict({"label": [0, 1, 1]}, features=features)
    expected = np.log(np.array([2, 3, 1]) / 6)
    np.testing.assert_allclose(majority(rows)(["x", "y"]), [expected, expected], rtol=1e-6)
