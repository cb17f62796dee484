"""Detectors against naive loops, and their errors as OpenOOD defines them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from kit.analysis.metrics import ood
from kit.spec.probabilities import log_softmax
from kit.spec.registry import metrics

LOGITS_ALONE = ["msp", "energy", "max_logit", "entropy"]


def drawn(seed: int, n: int, centre: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and features of a model that is less sure of what lies off its centre."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 6)) + 2 * np.eye(3, 6)[label]
    features[:, 5] += centre
    logits = 2 * features[:, :3] * (0.5 if centre else 1.0)
    return logits.astype(np.float32), label, features.astype(np.float32)


def errors(metric: str, shift: np.ndarray, test: np.ndarray, **more: Any) -> dict[str, Any]:
    """Returns a metric of the logits of a shift and of the test split."""
    made: dict[str, Any] = metrics.get(metric).function(
        shift, log_softmax(shift), test, log_softmax(test), **more
    )
    return made


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 6), st.floats(0.1, 20))
def test_detectors_of_logits_are_the_naive_loop(
    seed: int, n: int, classes: int, scale: float
) -> None:
    logits = scale * np.random.default_rng(seed).normal(size=(n, classes))
    found = ood.detectors(logits, log_softmax(logits))
    assert list(found) == LOGITS_ALONE
    for item, row in enumerate(logits.tolist()):
        total = math.fsum(math.exp(score) for score in row)
        shares = [math.exp(score) / total for score in row]
        expected = {
            "msp": -max(shares),
            "energy": -math.log(total),
            "max_logit": -max(row),
            "entropy": -math.fsum(p * math.log(p) for p in shares if p > 0),
        }
        for name, value in expected.items():
            assert found[name][item] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_detectors_of_features_are_the_naive_loop() -> None:
    _, label, inside = drawn(0, 120)
    logits, _, outside = drawn(1, 30, centre=3.0)
    space = ood.fit_features(label, inside)
    assert space is not None and space.k == 10
    found = ood.detectors(logits, log_softmax(logits), outside, space)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (inside, outside)]
    known = NearestNeighbors(n_neighbors=10).fit(unit[0]).kneighbors(unit[1])[0][:, -1]
    assert found["knn"] == pytest.approx(known, rel=1e-4)
    for item in range(30):
        gaps = [outside[item] - inside[label == k].mean(axis=0) for k in range(3)]
        assert found["mahalanobis"][item] == pytest.approx(
            min(gap @ space.precision @ gap for gap in gaps), rel=1e-4
        )
    # the covariance is that of the classes around their own means, hardly shrunk here
    centred = np.concatenate([inside[label == k] - inside[label == k].mean(0) for k in range(3)])
    assert np.linalg.inv(space.precision) == pytest.approx(np.cov(centred.T, bias=True), abs=0.2)


def test_neighbours_are_picked_on_the_shifts_validation_part() -> None:
    rng = np.random.default_rng(0)
    bank = np.concatenate([rng.normal(size=(60, 4)), np.tile([[9.0, 9, 9, 9]], (3, 1))])
    # what is shifted lies on a spot that three items of the bank share: one neighbour misses it
    shifted = np.full((40, 4), 9.0) + 0.001 * rng.normal(size=(40, 4))
    space = ood.fit_features(np.zeros(63, int), bank, shifted)
    assert space is not None and space.k > 1
    assert ood.fit_features(np.zeros(63, int)) is None
    few = ood.fit_features(np.zeros(3, int), bank[:3])
    assert few is not None and few.k == 3


def test_errors_are_those_of_openood() -> None:
    (test, _, _), (shift, _, _) = drawn(0, 300), drawn(1, 200, centre=3.0)
    is_shift = np.repeat([0, 1], [300, 200])
    before, after = (ood.detectors(each, log_softmax(each)) for each in (test, shift))
    names = ("ood_auroc", "fpr_at_95_tpr", "aupr_out", "aupr_in")
    tables = [errors(name, shift, test) for name in names]
    assert all(list(each) == [f"detector={name}" for name in LOGITS_ALONE] for each in tables)
    for name in LOGITS_ALONE:
        scores = np.concatenate([before[name], after[name]])
        auroc, fpr, out, inside = (each[f"detector={name}"] for each in tables)
        assert auroc.value == pytest.approx(roc_auc_score(is_shift, scores))
        false, true, _ = roc_curve(is_shift, scores, drop_intermediate=False)
        assert fpr.value == pytest.approx(false[np.argmax(true >= 0.95)])
        assert out.value == pytest.approx(average_precision_score(is_shift, scores))
        assert inside.value == pytest.approx(average_precision_score(1 - is_shift, -scores))
        assert auroc.value > 0.5 and len(auroc.influence) == 500


def test_features_see_what_logits_do_not() -> None:
    _, label, inside = drawn(0, 400)
    logits, _, test = drawn(1, 300)
    _, _, shift = drawn(2, 300, centre=4.0)
    given: dict[str, Any] = {"features": shift, "test_features": test}
    given["fitted"] = ood.fit_features(label, inside)
    found = errors("ood_auroc", logits, logits, **given)
    assert found["detector=msp"].value == pytest.approx(0.5)
    assert found["detector=mahalanobis"].value > 0.95 and found["detector=knn"].value > 0.7
    assert "detector=knn" not in errors("ood_auroc", logits, logits, **given | {"fitted": None})
