"""The items that compression itself costs: all seeds lose them, and the baseline keeps them.

One model's flips are partly luck: another seed flips other items. What all seeds of the compressed
model get wrong and the baseline's get right is lost to the compression (Hooker et al., "What do
compressed deep neural networks forget?", 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kit.analysis.answers import answers
from kit.analysis.paired import places
from kit.analysis.statistics.clusters import Array
from kit.spec.checking import SpecError
from kit.store.store import Artifact

if TYPE_CHECKING:
    import pandas as pd


class Exemplars(NamedTuple):
    """Items that compression costs, and how many chance would give.

    Attributes:
        items: a row an item, see `exemplars`.
        n: items that all seeds of both have seen.
        by_chance: items expected if nothing but chance told the two apart: each item's right
            answers dealt anew over the seeds of both, as some items are hard for all of them.
    """

    items: pd.DataFrame
    n: int
    by_chance: float


def exemplars(
    baselines: Sequence[Artifact],
    variants: Sequence[Artifact],
    texts: Mapping[str, str],
    labels: Sequence[str],
) -> Exemplars:
    """Returns the items that all seeds of a variant lose and most of the baseline's keep.

    Args:
        baselines: predictions of the baseline, one a seed, on one split.
        variants: of the variant, likewise.
        texts: item id -> text.
        labels: names of the task's labels.

    Returns:
        Items with columns text, label, baseline and variant (what most seeds say), baseline_right
        and variant_right (how many seeds, such as `3 of 3`), agreement (share of the variant's
        seeds that say the same); those that the baseline is surest of first.

    Raises:
        SpecError: no artifacts, none of their items is shared, or they give no labels.
    """
    import pandas as pd

    if not baselines or not variants:
        raise SpecError("exemplars needs predictions of the baseline and of the variant")
    both, bases = [*baselines, *variants], len(baselines)
    shared, at = places(both)
    found = [answers(one, labels) for one in both]
    words = np.stack([each.said[where] for each, where in zip(found, at, strict=True)])
    hits = np.stack([each.right[where] for each, where in zip(found, at, strict=True)])
    said, right = ([every[:bases], every[bases:]] for every in (words, hits))
    label = found[0].label[at[0]]
    kept, still = (each.sum(axis=0) for each in right)
    sizes = (len(baselines), len(variants))
    least = sizes[0] // 2 + 1
    chosen = np.flatnonzero((kept >= least) & (still == 0))
    modes = [_mode(each[:, chosen], labels) for each in said]
    agreement = (said[1][:, chosen] == modes[1]).mean(axis=0)
    table = pd.DataFrame(
        {
            "text": [texts.get(str(item), "") for item in shared[chosen]],
            "label": label[chosen],
            "baseline": modes[0],
            "variant": modes[1],
            "baseline_right": [f"{count} of {sizes[0]}" for count in kept[chosen]],
            "variant_right": [f"0 of {sizes[1]}"] * len(chosen),
            "agreement": agreement,
        }
    )
    table = table.iloc[np.lexsort((-agreement, -kept[chosen]))].reset_index(drop=True)
    return Exemplars(table, len(shared), _chance(kept + still, sizes[0], sizes[1], least))


def _mode(said: Array, labels: Sequence[str]) -> Array:
    """Returns what most seeds say of each item, of equally many the first of the labels."""
    names = np.array([*dict.fromkeys([*labels, *np.unique(said)])])
    counts = np.stack([(said == name).sum(axis=0) for name in names])
    return np.asarray(names[counts.argmax(axis=0)])


def _chance(right: Array, bases: int, variants: int, least: int) -> float:
    """Returns the items expected where each item's right answers fall on any seeds alike.

    With k of the b + v seeds right, all k have to fall on the baseline's b.
    """
    from scipy.special import comb

    possible = (right >= least) & (right <= bases)
    k = np.where(possible, right, 0)
    return float((possible * comb(bases, k) / comb(bases + variants, k)).sum())
