"""Areas under curves and correlations against scikit-learn, scipy and the jackknife."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from kit.analysis.statistics import ranking
from kit.spec.checking import Undefined

quick = settings(deadline=None, max_examples=60)
sizes = st.integers(2, 60)
seeds = st.integers(0, 10_000)
decimals = st.integers(0, 6)  # none is all ties


def drawn(seed: int, n: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and which items are positive: at least one of each class."""
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.append([True, False], rng.random(n - 2) < 0.4))
    return (rng.normal(size=n) + positive).round(places), positive


@quick
@given(seeds, sizes, decimals)
def test_areas_are_those_of_scikit_learn(seed: int, n: int, places: int) -> None:
    scores, positive = drawn(seed, n, places)
    assert ranking.auroc(scores, positive).value == pytest.approx(roc_auc_score(positive, scores))
    expected = average_precision_score(positive, scores)
    assert ranking.average_precision(scores, positive).value == pytest.approx(expected)


@quick
@given(seeds, sizes, decimals, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_false_positive_rate_is_the_first_point_of_the_curve_that_reaches(
    seed: int, n: int, places: int, recall: float
) -> None:
    scores, positive = drawn(seed, n, places)
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    expected = false[np.argmax(true >= recall - 1e-12)]
    found = ranking.false_positive_rate(scores, positive, recall)
    assert found.value == pytest.approx(expected)


@quick
@given(seeds, st.integers(3, 60), st.integers(1, 6))
def test_spearman_is_that_of_scipy(seed: int, n: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(places) + np.append([9, -9], np.zeros(n - 2))
    y = (x + rng.normal(size=n)).round(places) + np.append([9, -9], np.zeros(n - 2))
    assert ranking.spearman(x, y).value == pytest.approx(spearmanr(x, y).statistic)


MEASURES: list[tuple[Callable[..., Any], float]] = [
    (ranking.auroc, 0.02),
    (ranking.average_precision, 0.06),
    (ranking.spearman, 0.02),
]


@pytest.mark.parametrize(("measure", "tolerance"), MEASURES)
@pytest.mark.parametrize("places", [1, 6])
def test_influence_is_what_the_jackknife_sees(
    measure: Callable[..., Any], tolerance: float, places: int
) -> None:
    scores, positive = drawn(3, 300, places)
    other = positive if measure is not ranking.spearman else (scores + positive).round(places)
    found = measure(scores, other)
    left_out = [np.delete(np.arange(300), item) for item in range(300)]
    jackknife = 299 * (
        found.value - np.array([measure(scores[i], other[i]).value for i in left_out])
    )
    jackknife -= jackknife.mean()
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    assert found.influence.std() == pytest.approx(jackknife.std(), rel=tolerance)
    assert np.corrcoef(found.influence, jackknife)[0, 1] > 0.995


def test_influence_of_auroc_gives_the_variance_of_delong() -> None:
    scores, positive = drawn(5, 200, 1)
    ups, downs = scores[positive], scores[~positive]
    kernel = np.array([[(u > d) + (u == d) / 2 for d in downs] for u in ups])
    delong = kernel.mean(1).var(ddof=1) / len(ups) + kernel.mean(0).var(ddof=1) / len(downs)
    made = ranking.auroc(scores, positive)
    assert made.influence.var(ddof=1) / 200 == pytest.approx(delong, rel=0.02)


def test_spread_of_the_false_positive_rate_is_what_samples_show() -> None:
    found = [ranking.false_positive_rate(*drawn(seed, 600, 6)) for seed in range(300)]
    seen = np.std([one.value for one in found])
    said = np.sqrt(np.mean([one.influence.var() for one in found]) / 600)
    assert said == pytest.approx(seen, rel=0.15)


def test_perfect_and_constant_scores() -> None:
    positive = np.arange(40) % 4 == 0
    perfect, constant = positive.astype(float), np.ones(40)
    assert ranking.auroc(perfect, positive).value == 1
    assert ranking.average_precision(perfect, positive).value == 1
    assert ranking.false_positive_rate(perfect, positive).value == 0
    assert ranking.auroc(constant, positive).value == 0.5
    assert ranking.average_precision(constant, positive).value == 0.25
    assert ranking.false_positive_rate(constant, positive).value == 1
    for measure in (ranking.auroc, ranking.average_precision, ranking.false_positive_rate):
        assert np.abs(measure(perfect, positive).influence).max() < 1e-12


def test_one_class_and_constants_have_no_value() -> None:
    for measure in (ranking.auroc, ranking.average_precision, ranking.false_positive_rate):
        for positive in (np.ones(5, bool), np.zeros(5, bool)):
            with pytest.raises(Undefined, match="every item is"):
                measure(np.arange(5.0), positive)
    with pytest.raises(Undefined, match="the same"):
        ranking.spearman(np.ones(5), np.arange(5.0))
