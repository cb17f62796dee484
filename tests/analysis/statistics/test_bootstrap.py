"""The bootstrap against loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kit.analysis.statistics import bootstrap
from kit.analysis.statistics.bootstrap import (
    RESAMPLES,
    bca,
    calls,
    influence,
    ratios,
    studentized,
    unskewed,
)
from kit.values import Undefined

quick = settings(deadline=None, max_examples=30)


def sums(seed: int, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.exponential(2, (count, k)), rng.integers(1, 50, (count, k)).astype(float)


@quick
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 4))
def test_draws_are_a_loop(seed: int, count: int, k: int) -> None:
    top, bottom = sums(seed, count, k)
    draws = ratios(top, bottom, np.random.default_rng(seed))
    picks = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    for at in range(0, RESAMPLES, 100):
        t, b = top[picks[at]], bottom[picks[at]]
        each = t.sum(0) / b.sum(0)
        added = ((t - each * b) / b.sum(0)).mean(1)
        assert draws.values[at] == pytest.approx(each.mean())
        assert draws.errors[at] == pytest.approx(math.sqrt((added**2).sum()), abs=1e-12)
    assert len(draws.values) == RESAMPLES


@quick
@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 4))
def test_influence_is_the_derivative(seed: int, count: int, k: int) -> None:
    top, bottom = sums(seed, count, k)

    def value(weights: np.ndarray) -> float:
        return float(((weights @ top) / (weights @ bottom)).mean())

    got = influence(top, bottom, top.sum(0)[None], bottom.sum(0)[None])[0]
    for at in range(count):
        step = np.eye(count)[at] * 1e-6
        slope = (value(np.ones(count) + step) - value(np.ones(count) - step)) / 2e-6
        assert got[at] == pytest.approx(slope, abs=1e-6)
    assert got.sum() == pytest.approx(0, abs=1e-9)


def test_what_has_no_denominator_is_left_out() -> None:
    top, bottom = np.array([[1.0, 0], [2, 0], [4, 0]]), np.array([[1.0, 0], [1, 0], [1, 0]])
    draws = ratios(top, bottom, np.random.default_rng(0))
    alone = ratios(top[:, :1], bottom[:, :1], np.random.default_rng(0))
    assert draws.value == pytest.approx(7 / 3)
    assert np.allclose(draws.values, alone.values) and np.allclose(draws.errors, alone.errors)


def test_bca_is_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    draws = calls(lambda i: float(values[i].mean()), np.arange(400), 400, np.random.default_rng(2))
    known = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(3))
    ends = (known.confidence_interval.low, known.confidence_interval.high)
    assert bca(draws, 400) == pytest.approx(ends, abs=0.2 * known.standard_error)
    whole = ratios(values[:, None], np.ones((400, 1)), np.random.default_rng(4))
    assert bca(whole, 400) == pytest.approx(ends, abs=0.2 * known.standard_error)


def test_bootstrap_t_is_a_loop() -> None:
    rng = np.random.default_rng(5)
    values = rng.exponential(size=100)
    drawn = values[rng.integers(0, 100, (4000, 100))]
    t = (drawn.mean(1) - values.mean()) / drawn.std(1)
    high, low = np.quantile(t, [0.025, 0.975])
    ends = values.mean() - low * values.std(), values.mean() - high * values.std()
    got = studentized(ratios(values[:, None], np.ones((100, 1)), rng))
    assert got == pytest.approx(ends, abs=0.15 * values.std() / 10)


@quick
@given(st.floats(-3, 3), st.floats(-1, 1))
def test_unskewed_solves_the_cubic(t: float, skewness: float) -> None:
    y = unskewed(t, skewness)
    cubic = y + skewness * y**2 / 3 + skewness**2 * y**3 / 27 + skewness / 6
    assert cubic == pytest.approx(t, abs=1e-5)


def test_functions_see_whole_clusters() -> None:
    codes = np.array([2, 0, 1, 2, 0, 2])

    def value(items: np.ndarray) -> float:
        times = np.bincount(codes[items], minlength=3)
        assert (times % np.bincount(codes) == 0).all()
        return float(times[2])

    draws = calls(value, codes, 3, np.random.default_rng(0))
    assert draws.value == 3 and set(draws.values / 3) == {0, 1, 2, 3}
    assert len(draws.influence) == 3 and draws.influence.sum() == pytest.approx(0)


def test_functions_without_a_value() -> None:
    def value(items: np.ndarray) -> float:
        if 0 not in items:
            raise Undefined("no first item")
        return float(items.mean())

    with pytest.raises(Undefined, match=r"undefined on \d+ of 1000 resamples"):
        calls(value, np.arange(30), 30, np.random.default_rng(0))
    same = calls(lambda items: 1.0, np.arange(30), 30, np.random.default_rng(0))
    assert bca(same, 30) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = sums(0, 5000, 1)
    one, two = (ratios(top, bottom, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.values, two.values)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 10)
    assert len(ratios(top, bottom, np.random.default_rng(7)).values) == 10
