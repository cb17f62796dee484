"""Clusters of items against statsmodels and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import OLS

from kit.analysis.statistics.clusters import Clusters

quick = settings(deadline=None, max_examples=40)


def drawn(seed: int, count: int) -> Clusters:
    rng = np.random.default_rng(seed)
    return Clusters(rng.permutation(np.append(np.arange(count), rng.integers(0, count, 40))), count)


@quick
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_cluster_robust_error_is_statsmodels(seed: int, count: int) -> None:
    clusters = drawn(seed, count)
    values = np.random.default_rng(seed).normal(size=len(clusters.codes)) + clusters.codes
    fit = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters.codes}
    )
    assert clusters.standard_error(values) == pytest.approx(fit.bse[0])


@quick
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_sums_and_draws_are_the_naive_loop(seed: int, count: int) -> None:
    clusters, rng = drawn(seed, count), np.random.default_rng(seed)
    values, picks = rng.normal(size=len(clusters.codes)), rng.integers(0, count, count)
    members = [np.flatnonzero(clusters.codes == code) for code in range(count)]
    assert clusters.sums(values) == pytest.approx([values[each].sum() for each in members])
    assert list(clusters.items(picks)) == [item for pick in picks for item in members[pick]]


def test_some_items_more_items_and_names() -> None:
    clusters = Clusters.named(np.array(["b", "a", "b", "c"]))
    assert (list(clusters.codes), clusters.count, clusters.over) == ([0, 1, 0, 2], 3, "clusters")
    part = clusters.of(np.array([False, True, False, True]))
    assert (list(part.codes), part.count, part.over) == ([0, 1], 2, "items")
    assert clusters.of(None) is clusters
    more = clusters.more(2)
    assert (list(more.codes), more.count) == ([0, 1, 0, 2, 3, 4], 5)
    alone = Clusters.alone(3)
    assert (list(alone.codes), alone.count, alone.over) == ([0, 1, 2], 3, "items")
