"""How far a shifted split is from the test split, as a model's features see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kit.analysis.rows import named
from kit.store import Artifact

FOLDS = 5
NOTE = (
    "linear classifier of test against this split; 0.5 is no shift; no interval: its folds share "
    "items, so that DeLong's covers less than it says"  # 83 to 92% in simulations, for 95%
)


def domain_auroc(reference: np.ndarray, shifted: np.ndarray) -> float:
    """Returns the AUROC of a linear classifier that tells two sets of features apart.

    0.5 is no shift, 1 is data told apart without error. Scores come from 5-fold cross-validation,
    so that no item is judged by a classifier that saw it (the proxy distance of Ben-David et al.,
    "A theory of learning from different domains", Machine Learning 2010, as an AUROC).

    Args:
        reference: features [n, d] of the reference split.
        shifted: features [m, d] of the other split.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([reference, shifted]).astype(np.float64)
    domain = np.repeat([0, 1], [len(reference), len(shifted)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(model, features, domain, cv=folds, method="decision_function")
    return float(roc_auc_score(domain, scores))


def distances(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Returns a `domain_auroc` row for each split of a task whose features were saved.

    Each split is set against the test split of its task by the same variant.
    """
    found = {
        (a.run.variant, args["task"], args["split"]): a
        for a in artifacts
        if a.kind == "features"
        for args in [a.run.measurement.args]
    }
    rows = []
    for (variant, task, split), artifact in found.items():
        reference = found.get((variant, task, "test"))
        if reference is None or split == "test":
            continue
        sets = [np.asarray(a.columns["features"]) for a in (reference, artifact)]
        rows.append(
            named(
                artifact.run,
                metric="domain_auroc",
                value=domain_auroc(*sets),
                unit="AUROC",
                n=len(sets[1]),
                run_id=artifact.run_id,
                note=NOTE,
            )
        )
    return rows
