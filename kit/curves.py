"""What figures of a study's predictions are drawn from, and the items that compression costs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kit import store, tasks
from kit.kinds import log_softmax
from kit.ref import Ref
from kit.study import Study
from kit.values import SpecError, Undefined

if TYPE_CHECKING:
    import pandas as pd

    from kit.analysis.exemplars import Exemplars


def reliability(
    study: Study, variants: Sequence[str], split: str = "test", corruption: Ref | None = None
) -> pd.DataFrame:
    """Returns how often variants are right at each confidence, before and after scaling.

    The temperature is each variant's own, fitted on the validation split.

    Args:
        study: done, with predictions on `validation` and on the split.
        variants: their names; a panel each.
        split: whose items are shown.
        corruption: and with which corruption.

    Returns:
        Columns of `kit.plot.reliability`: panel, line, confidence, accuracy, n, ci_low, ci_high.
        A variant that no temperature is best for, such as one without an error on validation, has
        no line after scaling.

    Raises:
        SpecError: no such predictions, or not of one class an item.
    """
    import pandas as pd

    from kit.analysis.metrics.calibration import reliability as bins
    from kit.analysis.metrics.scaling import fit_temperature

    frames = []
    for name in variants:
        known = _classified(study, name, "validation").columns
        shown = _classified(study, name, split, corruption).columns
        lines = {"as it is": shown["logits"]}
        with contextlib.suppress(Undefined):
            heat = fit_temperature(known["logits"], known["label"])
            lines["temperature scaled"] = shown["logits"] / heat
        for line, logits in lines.items():
            frames.append(bins(logits, shown["label"], mass=True).assign(panel=name, line=line))
    return pd.concat(frames, ignore_index=True)


def roc(study: Study, variant: str, splits: Sequence[str]) -> pd.DataFrame:
    """Returns the ROC curves of a variant's detectors: is an item of the test split or a shift's?

    Args:
        study: done, with predictions on `validation`, `test` and the splits.
        variant: its name.
        splits: shifts; a panel each.

    Returns:
        Columns of `kit.plot.roc`: panel, line (the detector), fpr, tpr.

    Raises:
        SpecError: no such predictions, or not of one class an item.
    """
    import pandas as pd
    from sklearn.metrics import roc_curve

    from kit.analysis.metrics.ood import detectors, fit_features

    known = _classified(study, variant, "validation").columns
    asked = dict.fromkeys(str(run.measurement.args.get("split")) for run in study.runs)
    tuned_on = [split for split in asked if split.endswith("/validation")]
    parts = [study.predictions(variant, split).columns.get("features") for split in tuned_on]
    shifted_parts = [part for part in parts if part is not None]
    outliers = np.concatenate(shifted_parts) if shifted_parts else None
    space = fit_features(known["label"], known.get("features"), outliers)
    inside = study.predictions(variant, "test").columns
    ours = detectors(inside["logits"], log_softmax(inside["logits"]), inside.get("features"), space)
    frames = []
    for split in splits:
        outside = study.predictions(variant, split).columns
        theirs = detectors(
            outside["logits"], log_softmax(outside["logits"]), outside.get("features"), space
        )
        for line in ours:
            shifted = np.repeat([0, 1], [len(ours[line]), len(theirs[line])])
            fpr, tpr, _ = roc_curve(shifted, np.concatenate([ours[line], theirs[line]]))
            frames.append(pd.DataFrame({"panel": split, "line": line, "fpr": fpr, "tpr": tpr}))
    return pd.concat(frames, ignore_index=True)


def _classified(
    study: Study, name: str, split: str, corruption: Ref | None = None
) -> store.Artifact:
    """Returns predictions of one class an item.

    Raises:
        SpecError: there are none.
    """
    found = study.predictions(name, split, corruption)
    if found.kind != "classification":
        raise SpecError(f"{name} gives {found.kind}; such a curve needs one class an item")
    return found


def exemplars(study: Study, variant: str, split: str = "test") -> Exemplars:
    """Returns the items that all seeds of a variant lose and most of the baseline's keep.

    Args:
        study: done.
        variant: its name.
        split: of the task.

    Raises:
        SpecError: no such predictions, or not of one class an item.
    """
    from kit.analysis.exemplars import exemplars as found

    def all_seeds(name: str) -> list[int]:
        return sorted({v.seed for v in study.variants() if v.name == name})

    base, ours = (
        [study.predictions(name, split, seed=seed) for seed in all_seeds(name)]
        for name in (study.baseline.name, variant)
    )
    task = study.predictions(variant, split).run.measurement.args["task"]
    return found(base, ours, study.examples(task, split), tasks.load(task).labels)
