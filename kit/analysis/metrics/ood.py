"""Does a model notice that an item is none of its kind? Detectors of a shift, and their errors.

A detector gives a score, higher for items out of distribution; the shift's items are the positives,
the test split's the negatives, as in OpenOOD (Yang et al. 2022). All but `mahalanobis` and `knn`
need logits alone; these two need the columns `features` of the split, of the test split and of the
validation split, and are left out where these are not there. They are left out of the shifts'
validation parts too, which are set against the very items that they were fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kit.analysis.statistics import ranking
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Influence
from kit.spec.register_measures import register_metric

NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)
"""Tried for `knn` on the shifts' validation parts; without these, 10."""
ROWS = 2048
"""Items whose distances are computed at once."""


Measure = Callable[[Array, Array], Influence]


class FeatureSpace(NamedTuple):
    """What the feature detectors keep of the validation split.

    Attributes:
        means: of each class that occurs [classes, d].
        precision: inverse of the covariance that the classes share [d, d].
        bank: features of unit length [n, d].
        k: which neighbour's distance is the score of `knn`.
    """

    means: Array
    precision: Array
    bank: Array
    k: int


def fit_features(
    label: Array, features: Array | None = None, ood_features: Array | None = None
) -> FeatureSpace | None:
    """Returns what the feature detectors need, from the validation split; None without features.

    The covariance is shrunk (Ledoit and Wolf 2004): a few hundred items in a space as wide have
    none that could be inverted. `k` is picked by AUROC on the shifts' validation parts, where an
    item of the bank is no neighbour of itself.

    Args:
        label: [n].
        features: pooled hidden vectors [n, d].
        ood_features: of the shifts' validation parts [m, d].
    """
    from sklearn.covariance import LedoitWolf

    if features is None:
        return None
    wide, classes = features.astype(np.float64), np.unique(label)
    means = np.stack([wide[label == each].mean(axis=0) for each in classes])
    centred = wide - means[np.searchsorted(classes, label)]
    shape = LedoitWolf(assume_centered=True).fit(centred)
    bank, k = _unit(wide), 10
    if ood_features is not None:
        kept = [each for each in NEIGHBOURS if each < len(bank)] or [1]
        scores = [_neighbours(bank, bank, [1 + each for each in kept])]
        scores.append(_neighbours(_unit(ood_features.astype(np.float64)), bank, kept))
        shifted = np.repeat([False, True], [len(part) for part in scores])
        stacked = np.concatenate(scores)
        k = kept[int(np.argmax([ranking.auroc(one, shifted).value for one in stacked.T]))]
    return FeatureSpace(means, shape.precision_, bank, min(k, len(bank)))


def _unit(features: Array) -> Array:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths == 0, 1, lengths))


def _neighbours(items: Array, bank: Array, ranks: list[int]) -> Array:
    """Returns the distance of each item to its neighbours of these ranks [n, ranks]."""
    places = np.minimum(ranks, len(bank)) - 1
    found = []
    for chunk in np.array_split(items, max(1, len(items) // ROWS)):
        nearest = np.partition(-chunk @ bank.T, places, axis=1)[:, places]
        found.append(np.sqrt(np.maximum(2 + 2 * nearest, 0)))
    return np.concatenate(found)


def detectors(
    logits: Array,
    log_probabilities: Array,
    features: Array | None = None,
    space: FeatureSpace | None = None,
) -> dict[str, Array]:
    """Returns each detector's score of each item, higher for items out of distribution.

    `msp`: the largest probability, negated (Hendrycks and Gimpel 2017); `energy`: -log of the sum
    of exponentials (Liu et al. 2020); `max_logit` negated (Hendrycks et al. 2022); `entropy` of the
    probabilities; `mahalanobis`: the squared distance to the nearest class (Lee et al. 2018);
    `knn`: the distance to the k-th neighbour in validation, at unit length (Sun et al. 2022).

    Args:
        logits: [n, classes].
        log_probabilities: [n, classes].
        features: [n, d].
        space: what `fit_features` gave.
    """
    logs, scores = log_probabilities, logits.astype(np.float64)
    probabilities = np.exp(logs)
    found = {
        "msp": -probabilities.max(axis=1),
        "energy": (logs - scores)[:, 0],
        "max_logit": -scores.max(axis=1),
        "entropy": -(probabilities * logs).sum(axis=1),
    }
    if features is not None and space is not None:
        wide = features.astype(np.float64)
        squares = [_squared_distance(wide - mean, space.precision) for mean in space.means]
        found["mahalanobis"] = np.min(squares, axis=0)
        found["knn"] = _neighbours(_unit(wide), space.bank, [space.k])[:, 0]
    return found


def _squared_distance(gap: Array, precision: Array) -> Array:
    return np.asarray(((gap @ precision) * gap).sum(axis=1))


def _detection(**traits: Any) -> Callable[[Measure], Measure]:
    """Registers a measure of scores and which are of the shift, for each detector of both sides."""

    def register(measure: Measure) -> Measure:
        def by_detector(
            logits: Array,
            log_probabilities: Array,
            test_logits: Array,
            test_log_probabilities: Array,
            features: Array | None = None,
            test_features: Array | None = None,
            fitted: FeatureSpace | None = None,
        ) -> dict[str, Influence]:
            inside = detectors(test_logits, test_log_probabilities, test_features, fitted)
            outside = detectors(logits, log_probabilities, features, fitted)
            found = {}
            for name in [name for name in inside if name in outside]:
                scores = np.concatenate([inside[name], outside[name]])
                shifted = np.arange(len(scores)) >= len(inside[name])
                found[f"detector={name}"] = measure(scores, shifted)
            return found

        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(by_detector, name, getattr(measure, name))
        register_metric(artifact="classification", fit=fit_features, **traits)(by_detector)
        return measure

    return register


@_detection(higher_is_better=True, unit="AUROC")
def ood_auroc(scores: Array, shifted: Array) -> Influence:
    """Chance that an item of the shift scores above one of the test split, by detector."""
    return ranking.auroc(scores, shifted)


@_detection(higher_is_better=False, unit="share")
def fpr_at_95_tpr(scores: Array, shifted: Array) -> Influence:
    """Share of the test split flagged where 95% of the shift are, by detector."""
    return ranking.false_positive_rate(scores, shifted)


@_detection(higher_is_better=True, unit="AUPR")
def aupr_out(scores: Array, shifted: Array) -> Influence:
    """Average precision with the shift's items as positives, by detector."""
    return ranking.average_precision(scores, shifted)


@_detection(higher_is_better=True, unit="AUPR")
def aupr_in(scores: Array, shifted: Array) -> Influence:
    """Average precision with the test split's items as positives, by detector."""
    return ranking.average_precision(-scores, ~shifted)
