"""How surely a loss hidden in one group is flagged, and how often one that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.common import Figure
from kit.analysis.groups import LEVEL, TIMES, group_changes
from kit.analysis.statistics.clusters import Clusters

GROUPS, FLIPS, STUDIES = 10, 0.02, 500
PLANTED = {300: 0.07, 1000: 0.03}


def flagged(losses: Sequence[float], size: int, studies: int, seed: int = 0) -> np.ndarray:
    """Returns which groups are flagged [studies, groups] in simulated studies of right and wrong.

    Args:
        losses: share of each group's items that it loses beyond the flips both ways.
        size: items a group.
        studies: how many.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(len(losses)), size)
    groups = {f"group={name}": names == name for name in range(len(losses))}
    lost = FLIPS + np.repeat(losses, size)
    found = []
    for _ in range(studies):
        draws = rng.random(len(names))
        change = (draws > 1 - FLIPS) - (draws < lost).astype(float)
        got = group_changes(
            change[None],
            Clusters.alone(len(names)),
            groups,
            binary=True,
            higher_is_better=True,
        )
        found.append([one.excess is not None and one.excess.flagged for one in got])
    return np.array(found)


def bound(loss: float, size: int) -> float:
    """Returns the power of a test of the excess alone at the level that a family of groups leaves.

    By the normal law, with the flips both ways of each group unknown to the test: what is then the
    best unbiased test, McNemar's, has this error (Lehmann and Romano, section 4.4).
    """
    from scipy.stats import norm

    share = 1 / GROUPS
    own, others = 2 * FLIPS + loss * (1 - loss), 2 * FLIPS
    variance = (1 - TIMES * share) ** 2 * own + TIMES**2 * share * (1 - share) * others
    excess = loss * (1 - TIMES * share) * np.sqrt(size / variance)
    return float(norm.sf(norm.isf(LEVEL / GROUPS) - excess))


def groups() -> Iterator[Figure]:
    """Ten groups of right and wrong with 2% of flips each way, and a loss in one of them."""
    for size, loss in PLANTED.items():
        found = flagged([loss] + [0.0] * (GROUPS - 1), size, STUDIES)
        title = f"a loss of {100 * loss:.0f} points in one group of {size:,} is flagged"
        share, wrong = found[:, 0].mean(), found[:, 1:].any(axis=1).mean()
        text = f"{share:.1%} of {STUDIES} (another group: {wrong:.1%})"
        yield Figure(title, text, ">= 80%", bool(share >= 0.8))
        alone = f"{bound(loss, size):.0%}"
        yield Figure("were the excess tested over all groups at once", alone)
    for size in PLANTED:
        none = 1 - flagged([0.0] * GROUPS, size, STUDIES).any(axis=1).mean()
        title = f"no loss anywhere, groups of {size:,}: no flag"
        yield Figure(title, f"{none:.1%} of {STUDIES}", ">= 95%", bool(none >= 0.95))
    half = GROUPS // 2
    least = flagged([0.01] * half + [0.0] * half, 1000, STUDIES).any(axis=1).mean()
    title = "half of the groups lose exactly twice the mean, 1 point: a flag"
    yield Figure(title, f"{least:.1%} of {STUDIES}")
