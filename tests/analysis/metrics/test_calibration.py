"""Gaps of confidence and accuracy against naive loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from statsmodels.stats.proportion import proportion_confint

from kit.analysis.metrics import calibration, classification
from kit.spec.checking import Undefined

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 10_000)


def drawn(seed: int, n: int, classes: int = 3, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return softmax(scale * rng.normal(size=(n, classes)), axis=1), rng.integers(0, classes, n)


def calibrated(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the probabilities themselves."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(-scores))).astype(int)
    return softmax(np.stack([np.zeros(n), scores], axis=1), axis=1), label


def naive(said: Any, true: Any, inside: list[Any], weigh: Callable[[Any, Any], float]) -> float:
    """Sums a quantity of each bin's items, by their share."""
    return sum(each.mean() * weigh(said[each], true[each]) for each in inside if each.any())


def width_bins(said: Any) -> list[Any]:
    edges = np.arange(15) / 15
    return [(said > low) & (said <= low + 1 / 15 + 1e-12) for low in edges]


def gap(said: Any, true: Any) -> float:
    return float(abs(said.mean() - true.mean()))


@quick
@given(seeds, st.integers(1, 80))
def test_ece_is_the_naive_loop(seed: int, n: int) -> None:
    probabilities, label = drawn(seed, n)
    said, true = probabilities.max(1), probabilities.argmax(1) == label
    expected = naive(said, true, width_bins(said), gap)
    assert calibration.ece(probabilities, label) == pytest.approx(expected)
    each = [naive(one, label == k, width_bins(one), gap) for k, one in enumerate(probabilities.T)]
    assert calibration.classwise_ece(probabilities, label) == pytest.approx(np.mean(each))


def test_bins_of_equal_mass_hold_as_many_items_and_keep_ties_together() -> None:
    rng = np.random.default_rng(0)
    assert set(np.bincount(calibration.equal_mass(rng.random(150)))) == {10}
    tied = rng.random(300).round(1)
    pairs = set(zip(tied, calibration.equal_mass(tied), strict=True))
    assert len(pairs) == len(set(tied))


@quick
@given(seeds, st.integers(2, 80))
def test_equal_mass_and_debiased_are_the_naive_loop(seed: int, n: int) -> None:
    probabilities, label = drawn(seed, n)
    said, true = probabilities.max(1), probabilities.argmax(1) == label
    bins = calibration.equal_mass(said)
    inside = [bins == place for place in range(15)]
    found = calibration.ece_equal_mass(probabilities, label)
    assert found == pytest.approx(naive(said, true, inside, gap))
    kept = [each for each in inside if each.sum() > 1]
    total = sum(each.sum() for each in kept)
    squares = 0.0
    for each in kept:
        a, size = true[each].mean(), each.sum()
        squares += size / total * (gap(said[each], true[each]) ** 2 - a * (1 - a) / (size - 1))
    if kept:
        expected = np.sqrt(max(squares, 0))
        assert calibration.rms_calibration_error(probabilities, label) == pytest.approx(expected)


def test_the_debiased_square_is_right_on_average_where_ece_is_too_large() -> None:
    sets = [calibrated(seed, 200) for seed in range(300)]
    assert np.mean([calibration.ece(*each) for each in sets]) > 0.03
    squares = []
    for probabilities, label in sets:
        said, right = probabilities.max(1), probabilities.argmax(1) == label
        bins = calibration.equal_mass(said)
        n, gaps = np.bincount(bins), np.bincount(bins, right - said)
        accuracy = np.bincount(bins, right) / n
        squares.append(((gaps / n) ** 2 - accuracy * (1 - accuracy) / (n - 1)) @ n / 200)
    assert np.mean(squares) == pytest.approx(0, abs=3 * np.std(squares) / np.sqrt(300))
    assert np.median([calibration.rms_calibration_error(*each) for each in sets]) < 0.03


@quick
@given(seeds, st.integers(1, 60), st.integers(2, 4))
def test_parts_of_brier_add_up(seed: int, n: int, classes: int) -> None:
    probabilities, label = drawn(seed, n, classes)
    parts = calibration.brier_parts(probabilities, label)
    total = classification.brier(probabilities, label).mean()
    sign = {"part=resolution": -1}
    assert sum(sign.get(k, 1) * v for k, v in parts.items()) == pytest.approx(total)
    assert min(parts["part=reliability"], parts["part=resolution"]) >= 0


def test_parts_of_brier_of_distinct_forecasts_are_those_of_murphy() -> None:
    # 0.8 is said of five items of which four happen, 0.4 of five of which three do
    said, true = np.repeat([0.8, 0.4], 5), np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0])
    parts = calibration.brier_parts(np.stack([1 - said, said], axis=1), true)
    assert parts["part=reliability"] == pytest.approx(0.5 * 0.2**2)
    assert parts["part=resolution"] == pytest.approx(0.1**2)
    assert parts["part=uncertainty"] == pytest.approx(0.7 * 0.3)
    assert parts["part=within_bins"] == pytest.approx(0, abs=1e-12)


def test_reliability_is_what_a_diagram_shows() -> None:
    probabilities, label = calibrated(0, 500)
    for mass in (False, True):
        frame = calibration.reliability(np.log(probabilities), label, mass=mass)
        assert frame["n"].sum() == 500 and frame["confidence"].is_monotonic_increasing
        metric = calibration.ece_equal_mass if mass else calibration.ece
        gaps = (frame["confidence"] - frame["accuracy"]).abs()
        assert (gaps * frame["n"]).sum() / 500 == pytest.approx(metric(probabilities, label))
    first = frame.iloc[0]
    known = proportion_confint(round(first.n * first.accuracy), first.n, method="wilson")
    assert (first.ci_low, first.ci_high) == pytest.approx(known)


def test_one_item_and_perfect_and_constant_scores() -> None:
    label = np.arange(40) % 2
    assert calibration.ece(np.eye(2)[label], label) == pytest.approx(0)
    assert calibration.rms_calibration_error(np.eye(2)[label], label) == pytest.approx(0)
    assert calibration.ece(np.full((40, 2), 0.5), label) == pytest.approx(0)
    with pytest.raises(Undefined, match="no two items"):
        calibration.rms_calibration_error(np.full((1, 2), 0.5), np.zeros(1, int))
