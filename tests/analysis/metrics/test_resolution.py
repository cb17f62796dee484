"""Rates over made-up launches whose true rates are known, and spreads against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kit.analysis.metrics import resolution
from kit.analysis.statistics.launches import launches, second_stage


def columns(logs: np.ndarray, foreign: float = 0.0) -> dict[str, np.ndarray]:
    """Returns the columns of launches with log speed-ups: five rounds of a call a side."""
    n = len(logs)
    return {
        "launch": np.repeat(np.arange(n), 10),
        "side": np.tile(["variant", "baseline"], 5 * n),
        "seconds": np.repeat(np.stack([np.full(n, 0.01), 0.01 * np.exp(logs)], 1), 5, 0).ravel(),
        "turn": np.tile(np.repeat(np.arange(5), 2), n),
        "foreign": np.full(10 * n, foreign),
    }


def test_identical_sides_are_called_different_one_time_in_twenty() -> None:
    rates: dict[str, list] = {}
    for seed in range(40):
        logs = np.random.default_rng(seed).normal(0, 0.02, 48)
        for key, rate in resolution.false_alarm_rate(**columns(logs)).items():
            rates.setdefault(key, []).append(rate)
    assert set(rates) == {
        f"machine_load=quiet;{rule}" for rule in ("launches=4", "launches=8", "until=0.02")
    }
    for key, found in rates.items():
        assert np.mean([rate.value for rate in found]) == pytest.approx(0.05, abs=0.025), key
        covered = [rate.interval.low <= 0.05 <= rate.interval.high for rate in found]
        assert np.mean(covered) >= 0.85, key
        assert np.mean([rate.p_value < 0.05 for rate in found]) <= 0.15, key


def test_a_bias_between_twins_is_found_out() -> None:
    """Launches that agree with each other and not with 1: the false alarm that the kit fears."""
    logs = np.random.default_rng(0).normal(0.02, 0.005, 48)
    for rate in resolution.false_alarm_rate(**columns(logs)).values():
        assert rate.value > 0.9 and rate.p_value < 0.01


def test_a_planted_slowdown_is_found_as_often_as_theory_says() -> None:
    sd, slow = 0.02, 0.05
    n, power = 8, []
    for seed in range(20):
        logs = np.random.default_rng(seed).normal(0, sd, 64)
        rates = resolution.detection_rate(**columns(logs))
        power.append(rates[f"machine_load=quiet;launches={n};planted={slow}"].value)
    noncentral = math.log1p(slow) / sd * math.sqrt(n)
    expected = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, noncentral)
    assert np.mean(power) == pytest.approx(expected, abs=0.02)
    wrong_way = resolution.detection_rate(**columns(np.full(8, 0.1) + np.arange(8) / 1e4))
    assert wrong_way["machine_load=quiet;launches=8;planted=0.05"].value == 0


def test_quiet_and_busy_launches_are_apart() -> None:
    both = {
        name: np.concatenate([quiet, busy])
        for (name, quiet), busy in zip(
            columns(np.arange(5) / 100).items(),
            columns(np.arange(4) / 10, foreign=0.4).values(),
            strict=True,
        )
    }
    both["launch"][50:] += 5
    spreads = resolution.launch_spread(**both)
    assert spreads["machine_load=quiet"].n == 5 and spreads["machine_load=busy"].n == 4
    assert spreads["machine_load=quiet"].value == pytest.approx(np.std(np.arange(5) / 100, ddof=1))
    (lost,) = resolution.busy_launches(**both).values()
    assert (lost.value, lost.n) == (pytest.approx(4 / 9), 9)


def test_the_spread_has_the_interval_of_a_variance() -> None:
    logs = np.random.default_rng(3).normal(0, 0.03, 20)
    (spread,) = resolution.launch_spread(**columns(logs)).values()
    low, high = 19 * np.var(logs, ddof=1) / stats.chi2.ppf([0.975, 0.025], 19)
    assert spread.interval[:2] == pytest.approx((math.sqrt(low), math.sqrt(high)))


@pytest.mark.parametrize("spread", [0.005, 0.013, 0.03, 0.2])
def test_the_launches_needed_are_the_fewest_that_do(spread: float) -> None:
    n = resolution.needed(spread, 0.02)

    def half(count: int) -> float:
        return stats.t.ppf(0.975, count - 1) * spread / math.sqrt(count)

    assert half(n) <= math.log1p(0.02) and (n == 3 or half(n - 1) > math.log1p(0.02))


def test_the_two_stage_interval_keeps_its_coverage() -> None:
    """Stein's rule on normal launches, against the plain interval after peeking."""
    rng, covered, narrow, peeked = np.random.default_rng(0), [], [], []
    for _ in range(3000):
        logs = rng.normal(0, 0.03, 400)
        count = min(max(second_stage(np.exp(logs[:4]), 0.04), 4), 400)
        interval = launches(np.exp(logs[:count]), 1.0, first=4).interval
        covered.append(interval.low <= 1 <= interval.high)
        narrow.append(count == 400 or math.log(interval.high / interval.low) / 2 <= 0.0393)
        stop, half = 4, math.inf
        while stop < 400 and half > 0.0392:
            half = stats.t.ppf(0.975, stop - 1) * logs[:stop].std(ddof=1) / math.sqrt(stop)
            stop += half > 0.0392
        peeked.append(abs(logs[:stop].mean()) <= half)
    assert all(narrow)
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * math.sqrt(0.05 * 0.95 / 3000))
    assert np.mean(peeked) < np.mean(covered)  # what the rule is for


def rounds(luck: float, noise: float, launches: int = 40, turns: int = 12) -> dict:
    """Returns the columns of launches of many rounds, one call a side and round."""
    rng = np.random.default_rng(1)
    ratios = rng.normal(0, luck, (launches, 1, 1)) * [1, 0]
    logs = ratios + rng.normal(0, noise, (launches, turns, 2))
    at = np.indices(logs.shape)
    return {
        "launch": at[0].ravel(),
        "turn": at[1].ravel(),
        "side": np.array(["variant", "baseline"])[at[2].ravel()],
        "seconds": 0.01 * np.exp(logs.ravel()),
        "foreign": np.zeros(logs.size),
    }


def test_the_spread_of_few_calls_is_told_from_a_launch_s_luck() -> None:
    key = "machine_load=quiet"
    for luck, noise in ((0.0, 0.1), (0.1, 0.01)):
        data = rounds(luck, noise)
        calls = resolution.call_spread(**data)[key]
        whole = resolution.launch_spread(**data)[key]
        if luck:
            assert calls.value < 0.1 * whole.value
        else:
            assert calls.value == pytest.approx(whole.value, rel=0.3)
        assert calls.interval.low < calls.value < calls.interval.high
        assert calls.n == 40


def test_the_spread_of_calls_needs_three_launches() -> None:
    assert resolution.call_spread(**rounds(0.0, 0.1, launches=2)) == {}
