"""Launches against scipy's t test on their logarithms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kit.analysis.statistics.launches import launches


def test_launches_are_a_t_test_on_logarithms() -> None:
    ratios = np.array([1.9, 2.1, 2.3, 1.8])
    got = launches(ratios, null=1.0)
    known = stats.ttest_1samp(np.log(ratios), 0)
    assert got.value == pytest.approx(stats.gmean(ratios))
    assert got.p_value == pytest.approx(known.pvalue)
    limits = np.exp(known.confidence_interval())
    assert got.interval[:2] == pytest.approx(tuple(limits))
    assert 0 < got.mde < 1


def test_two_launches_have_no_interval() -> None:
    assert "2 launches" in launches(np.array([1.0, 2.0])).interval.note
