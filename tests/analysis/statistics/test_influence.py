"""What items add to a metric: against derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.influence import Influence, Ratio, added
from kit.spec.checking import Undefined

quick = settings(deadline=None, max_examples=30)


@quick
@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 4))
def test_what_an_item_adds_is_the_derivative(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    top, bottom = rng.exponential(2, (n, k)), rng.integers(1, 50, (n, k)).astype(float)

    def value(weights: np.ndarray) -> float:
        return float(((weights @ top) / (weights @ bottom)).mean())

    found = added(top, bottom)
    for at in range(n):
        step = np.eye(n)[at] * 1e-6
        slope = (value(np.ones(n) + step) - value(np.ones(n) - step)) / 2e-6
        assert found[at] == pytest.approx(slope, abs=1e-6)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    ratio = Ratio(top, bottom)
    assert ratio.value == pytest.approx(value(np.ones(n)))
    assert ratio.pseudo_values() == pytest.approx(ratio.value + n * found)


@quick
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 3))
def test_what_is_left_out_is_the_naive_loop(seed: int, count: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = Clusters(
        rng.permutation(np.append(np.arange(count), rng.integers(0, count, 9))), count
    )
    ratio = Ratio(rng.exponential(2, (count + 9, k)), rng.integers(1, 50, (count + 9, k)))
    without = [ratio.of(clusters.codes != each).value for each in range(count)]
    assert ratio.left_out(clusters) == pytest.approx(ratio.value - np.array(without))


def test_columns_without_a_denominator_are_left_out() -> None:
    top, bottom = np.array([[1.0, 0], [2, 0], [4, 0]]), np.array([[1.0, 0], [1, 0], [1, 0]])
    both, alone = Ratio(top, bottom), Ratio(top[:, 0], bottom[:, 0])
    assert both.value == alone.value == pytest.approx(7 / 3)
    assert both.pseudo_values() == pytest.approx(alone.pseudo_values())
    apart = Clusters.alone(3)
    assert both.left_out(apart) == pytest.approx(alone.left_out(apart))
    with pytest.raises(Undefined, match="denominator is zero"):
        _ = Ratio(np.zeros(3), np.zeros(3)).value


def test_pseudo_values_of_a_mean_are_its_values() -> None:
    values = np.random.default_rng(7).normal(size=50)
    assert np.array_equal(Ratio(values, np.ones(50)).pseudo_values(), values)
    smooth = Influence(float(values.mean()), values - values.mean())
    assert smooth.pseudo_values() == pytest.approx(values)
