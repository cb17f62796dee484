"""The rules by which a repeat confirms or contradicts a table."""

import math

import numpy as np
import pandas as pd
import pytest

from kit.analysis.statistics.launches import launches
from kit.store import results
from kit.trust.comparison import compare_tables, summary, welch

MACHINE = {"cpu": "X", "threads": 2, "torch": "2", "commit": "abc", "memory_gb": 24}


def machines(**changes):
    return pd.DataFrame([MACHINE | changes], index=pd.Index([0], name="machine"))


def quality(value=0.8, **more):
    bar = {"ci_low": 0.7, "ci_high": 0.9, "interval": "items", "n": 100}
    named = {"study": "s", "variant": "v", "seed": 0, "metric": "accuracy", "unit": "share"}
    return results.row(**(named | bar | {"value": value, "run_id": "a", "machine": 0} | more))


def ratio(values, **more):
    found = launches(np.asarray(values), 1.0)
    bar = {"ci_low": found.interval.low, "ci_high": found.interval.high, "interval": "launches"}
    bar = bar if len(values) > 2 else {}
    named = {"metric": "speedup", "unit": "ratio", "n": len(values), "value": found.value}
    return quality(**({"ci_low": None, "ci_high": None, "interval": ""} | bar | named | more))


def other(metric, unit, value, **more):
    bare = {"ci_low": None, "ci_high": None, "interval": ""}
    return quality(value, **(bare | {"metric": metric, "unit": unit} | more))


def compared(old, new, **changes):
    tables = [results.to_frame(rows if isinstance(rows, list) else [rows]) for rows in (old, new)]
    return compare_tables(*tables, machines(), machines(commit="def", **changes))


def verdict(old, new, **changes):
    return compared(old, new, **changes)["verdict"].item()


def test_quality_is_equal_where_run_and_machine_are():
    assert verdict(quality(0.8), quality(0.8 + 1e-9)) == "same"
    assert verdict(quality(0.8), quality(0.8001)) == "contradicted"
    assert verdict(quality(0.8), quality(0.8001), memory_gb=25) == "contradicted"


@pytest.mark.parametrize("why", [{"run_id": "b"}, {}])
def test_quality_of_another_run_or_machine_stays_within_the_old_interval(why):
    away = {} if why else {"torch": "3"}
    assert verdict(quality(0.8), quality(0.85, **why), **away) == "moved"
    assert verdict(quality(0.8), quality(0.95, ci_high=0.96, **why), **away) == "contradicted"
    bare = {"ci_low": None, "ci_high": None, "interval": ""}
    found = compared(quality(**bare), quality(0.5, **bare, **why), **away)
    assert (found["verdict"].item(), "no interval" in found["note"].item()) == ("not judged", True)


def test_times_and_bytes_do_not_apply_on_another_class_of_machine():
    for old, new in (
        (ratio([1, 1.1, 1.2]), ratio([9, 9.1, 9.2])),
        (other("latency", "s", 1), other("latency", "s", 9)),
        (other("peak_bytes", "bytes", 1e6), other("peak_bytes", "bytes", 9e6)),
    ):
        found = compared(old, new, cpu="Y", threads=4)
        assert found["verdict"].item() == "does not apply"
        assert found["note"].item() == "another cpu, threads"
        assert "another cpu, threads" in summary("x", found)


def test_bytes_agree_within_two_percent():
    assert (
        verdict(other("peak_bytes", "bytes", 100), other("peak_bytes", "bytes", 101.5)) == "moved"
    )
    assert (
        verdict(other("peak_bytes", "bytes", 100), other("peak_bytes", "bytes", 103))
        == "contradicted"
    )


def test_absolute_times_are_shown_and_never_judged():
    assert verdict(other("load_seconds", "s", 1), other("load_seconds", "s", 3)) == "moved"
    assert verdict(other("load_seconds", "s", 1), other("load_seconds", "s", 1.01)) == "same"
    rate = {"metric": "detection_rate", "condition": "launches=8", "unit": "share"}
    assert verdict(quality(0.8, **rate), quality(0.95, ci_high=1, **rate)) == "moved"


def test_welch_is_scipys_on_the_launches_themselves():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    first, second = np.exp(rng.normal(0.7, 0.03, 4)), np.exp(rng.normal(0.75, 0.05, 8))
    expected = ttest_ind(np.log(first), np.log(second), equal_var=False).pvalue
    assert welch(ratio(first), ratio(second)) == pytest.approx(expected, rel=1e-9)
    assert welch(ratio(first), ratio(second[:2])) is None
    assert welch(ratio([2, 2, 2]), ratio([2, 2, 2])) == 1
    assert welch(ratio([2, 2, 2]), ratio([3, 3, 3])) == 0


def test_true_repeats_are_rarely_contradicted_and_a_slowdown_is():
    """Holm keeps the chance that one of ten true ratios is contradicted at 1% or below."""
    rng = np.random.default_rng(1)
    sides = np.exp(rng.normal(0, 0.03, (200, 2, 10, 4)))
    wrong = 0
    for pair in sides:
        tables = [
            pd.DataFrame([ratio(values, variant=f"v{i}") for i, values in enumerate(side)])
            for side in pair
        ]
        found = compare_tables(*tables, machines(), machines())
        wrong += (found["verdict"] == "contradicted").any()
    assert wrong <= 6  # 2 expected
    slow = [ratio(values * 1.3, variant=f"v{i}") for i, values in enumerate(sides[0, 1])]
    old = [ratio(values, variant=f"v{i}") for i, values in enumerate(sides[0, 0])]
    found = compared(old, slow)
    assert (found["verdict"] == "contradicted").sum() >= 8
    assert found["p_adjusted"].between(0, 1).all()


def test_keys_that_come_and_go():
    both = [quality(), quality(split="new")]
    assert set(compared(quality(), both)["verdict"]) == {"same", "new"}
    assert set(compared(both, quality())["verdict"]) == {"same", "contradicted"}
    assert set(compared(both, quality(), cpu="Y")["verdict"]) == {"same", "gone"}
    timed = [quality(), other("latency", "s", 1)]
    assert set(compared(timed, quality())["verdict"]) == {"same", "gone"}


def test_what_is_no_longer_measured():
    broken = quality(math.nan, ci_low=None, ci_high=None, interval="", status="error", note="died")
    found = compared(quality(), broken, cpu="Y")
    assert found["verdict"].item() == "contradicted"
    assert "was ok, is error: died" in found["note"].item()
    undefined = other("latency_p99", "s", math.nan, status="undefined", note="12 calls")
    assert verdict(other("latency_p99", "s", 1), undefined) == "not judged"
    assert verdict(undefined, undefined) == "same"
