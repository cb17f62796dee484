"""The items on which a variant and its baseline disagree, to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from kit.analysis.answers import Names, answers
from kit.store.store import Artifact

if TYPE_CHECKING:
    import pandas as pd


def flips(
    baseline: Artifact, variant: Artifact, texts: Mapping[str, str], labels: Names
) -> pd.DataFrame:
    """Returns items right before and wrong after (`lost`), and the reverse (`gained`).

    Args:
        baseline: predictions of what was there before.
        variant: of what would replace it, on the same split.
        texts: item id -> text.
        labels: names of the task's labels; of questions the answers on offer by item.

    Returns:
        Columns text, label, baseline, variant, change, confidence (the variant's probability of
        what it said); lost items first, the surest first. Where items have several labels these are
        joined, and right only all together.

    Raises:
        SpecError: predictions of no labels, as a regression's.
    """
    import pandas as pd

    frames = []
    for artifact in (baseline, variant):
        found = answers(artifact, labels)
        frames.append(pd.DataFrame({"item": artifact.columns["item"], **found._asdict()}))
    both = frames[0].merge(frames[1], on=["item", "label"], suffixes=("_before", ""))
    both = both.assign(change=np.where(both.right_before, "lost", "gained"))
    both = both[both.right_before != both.right]
    table = pd.DataFrame(
        {
            "text": [texts.get(item, "") for item in both["item"]],
            "label": both["label"].to_numpy(),
            "baseline": both["said_before"].to_numpy(),
            "variant": both["said"].to_numpy(),
            "change": both["change"].to_numpy(),
            "confidence": both["confidence"].round(3).to_numpy(),
        }
    )
    order = ["change", "confidence", "text"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True)
