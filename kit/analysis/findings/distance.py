"""How far a shifted split is from the test split, as a model's features see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kit.analysis.rows import named
from kit.analysis.sample import Sample
from kit.spec.checking import Undefined
from kit.spec.register_derived import register_derived
from kit.spec.spec import Variant
from kit.store.store import Artifact

FOLDS = 5
NOTE = (
    "linear classifier of test against this split; 0.5 is no shift; no interval: its folds share "
    "items, so that DeLong's covers less than it says"  # 83 to 92% in simulations, for 95%
)


def domain_auroc(
    reference: np.ndarray, shifted: np.ndarray, clusters: Sequence[np.ndarray]
) -> float:
    """Returns the AUROC of a linear classifier that tells two sets of features apart.

    0.5 is no shift, 1 is data told apart without error. Scores come from 5-fold cross-validation,
    so that no item is judged by a classifier that saw it or another of its cluster (the proxy
    distance of Ben-David et al., "A theory of learning from different domains", Machine Learning
    2010, as an AUROC).

    Args:
        reference: features [n, d] of the reference split.
        shifted: features [m, d] of the other split.
        clusters: of the items of either, [n] and [m].

    Raises:
        Undefined: one of the sets has a single cluster.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([reference, shifted]).astype(np.float64)
    domain = np.repeat([0, 1], [len(reference), len(shifted)])
    count = min(FOLDS, *(len(np.unique(names)) for names in clusters))
    if count < 2:
        raise Undefined("all items are of one cluster: none is left to judge the classifier by")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    judged = {"groups": np.concatenate(clusters), "method": "decision_function"}
    scores = cross_val_predict(model, features, domain, cv=folds, **judged)
    return float(roc_auc_score(domain, scores))


@register_derived(name="domain_auroc", unit="AUROC", higher_is_better=False, version=1)
def distances(samples: Sequence[Sample], baseline: Variant) -> list[dict[str, Any]]:
    """Returns a `domain_auroc` row for each shift's test part, as the baseline's features see it.

    Each is set against the test split of its task; predictions without features give none.
    """
    return [
        _row(reference, sample.artifact)
        for sample in samples
        for reference in [sample.related.get("test")]
        if sample.artifact.run.variant == baseline
        and "features" in sample.artifact.columns
        and not sample.aside
        and isinstance(reference, Artifact)
    ]


def _row(reference: Artifact, shifted: Artifact) -> dict[str, Any]:
    features, clusters = (
        [np.asarray(each.columns[name]) for each in (reference, shifted)]
        for name in ("features", "cluster")
    )
    made: dict[str, Any]
    try:
        far = domain_auroc(features[0], features[1], clusters)
        made = {"value": far, "note": NOTE}
    except Undefined as error:
        made = {"status": "undefined", "note": str(error)}
    return named(
        shifted.run,
        metric="domain_auroc",
        unit="AUROC",
        n=len(features[1]),
        run_id=shifted.run_id,
        **made,
    )
