"""The items on which a variant and its baseline disagree, to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kit.analysis.metrics.classification import log_softmax
from kit.store import Artifact

if TYPE_CHECKING:
    import pandas as pd


def flips(
    baseline: Artifact, variant: Artifact, texts: Mapping[str, str], labels: Sequence[str]
) -> pd.DataFrame:
    """Returns items right before and wrong after (`lost`), and the reverse (`gained`).

    Args:
        baseline: classification artifact of what was there before.
        variant: classification artifact of what would replace it, on the same split.
        texts: item id -> text.
        labels: class names.

    Returns:
        Columns text, label, baseline, variant, change, confidence (the variant's probability of
        what it said); lost items first, the surest first.
    """
    import pandas as pd

    frames = []
    for artifact in (baseline, variant):
        logits = np.asarray(artifact.columns["logits"], np.float64)
        said = logits.argmax(axis=1)
        frames.append(
            pd.DataFrame(
                {
                    "item": artifact.columns["item"],
                    "label": artifact.columns["label"],
                    "said": said,
                    "confidence": np.exp(log_softmax(logits))[np.arange(len(said)), said],
                }
            )
        )
    both = frames[0].merge(frames[1], on=["item", "label"], suffixes=("_before", ""))
    before, after = both.said_before == both.label, both.said == both.label
    both = both.assign(change=np.where(before, "lost", "gained"))[before != after]
    names = np.asarray(labels)
    table = pd.DataFrame(
        {
            "text": [texts.get(item, "") for item in both["item"]],
            "label": names[both["label"]],
            "baseline": names[both["said_before"]],
            "variant": names[both["said"]],
            "change": both["change"].to_numpy(),
            "confidence": both["confidence"].round(3).to_numpy(),
        }
    )
    order = ["change", "confidence", "text"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True)
