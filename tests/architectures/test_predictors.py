"""Null models."""

from __future__ import annotations

import datasets
import numpy as np
import pytest

from kit.architectures.predictors import majority
from kit.spec import SpecError


def test_the_majority_knows_classes_that_are_absent() -> None:
    label = datasets.ClassLabel(names=["a", "b", "c"])
    features = datasets.Features({"label": label})
    rows = datasets.Dataset.from_dict({"label": [0, 1, 1]}, features=features)
    expected = np.log(np.array([2, 3, 1]) / 6)
    np.testing.assert_allclose(majority(rows)(["x", "y"]), [expected, expected], rtol=1e-6)


@pytest.mark.parametrize("labels", [[[0, 1], [1, 1]], [0.5, 1.5]])
def test_what_is_no_class_has_no_majority(labels: list[object]) -> None:
    with pytest.raises(SpecError, match="the labels of this task are none"):
        majority(datasets.Dataset.from_dict({"label": labels}))
