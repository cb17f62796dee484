"""Items that are alike: copies, copies that contradict each other, near copies and contrasts.

A near copy with another label is a contrast (`it is good`, `it is not good`): where a model looks
closely or does not. It stays, on the same side of a split.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from kit.tasks.content import Example, normalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
Contradictory: TypeAlias = Literal["drop", "first"]
SHINGLE = 5
NEAR = 0.8
# 16 bands of 4 rows let a pair at similarity 0.8 through with probability 0.9998; what is let
# through is then compared exactly, so that the many bands cost time and never a good text.
BANDS = (16, 4)
SECOND = 0x9E3779B9
"""Sets the hashes of a pair's second text apart from those of its first."""


class Alike(NamedTuple):
    """What is nearly the same.

    Attributes:
        duplicates: bool [n], True where an item should be dropped.
        contrasts: places of two items of one source that stay, alike but for a little and the
            label: enough of them to connect all that are.
    """

    duplicates: NDArray[np.bool_]
    contrasts: list[tuple[int, int]]


class Groups:
    """Keys that are joined to groups, each known by its smallest key."""

    def __init__(self) -> None:
        self._above: dict[Any, Any] = {}

    def first(self, key: Any) -> Any:
        """Returns the smallest key of a key's group."""
        while (above := self._above.get(key, key)) != key:
            self._above[key] = self._above.get(above, above)
            key = above
        return key

    def join(self, one: Any, other: Any) -> None:
        """Makes the groups of two keys one."""
        small, large = sorted((self.first(one), self.first(other)))
        self._above[large] = small


def shingles(example: Example) -> NDArray[np.uint32]:
    """Returns the hashes [n] of all runs of five characters of the normalised text, or texts."""
    import numpy as np

    if isinstance(example, tuple):
        first, second = map(shingles, example)
        return np.concatenate([first, second ^ np.uint32(SECOND)])
    padded = normalize(example).ljust(SHINGLE)
    points = np.frombuffer(padded.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    mixed = np.zeros(len(points) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed = (mixed ^ points[offset : offset + len(mixed)]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def similarity(one: Example, other: Example) -> float:
    """Returns the Jaccard similarity of two texts' sets of five-character runs, 0..1.

    Of pairs, the smaller of their two texts': a premise with two hypotheses is two items.
    """
    import numpy as np

    if isinstance(one, tuple):
        return min(map(similarity, one, other))
    first, second = np.unique(shingles(one)), np.unique(shingles(other))
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def contradictions(
    ids: Iterable[str], labels: Iterable[Hashable], keep: Contradictory = "drop"
) -> NDArray[np.bool_]:
    """Marks rows to leave out because the same content has another label elsewhere.

    Args:
        ids: of the rows' content.
        labels: of the rows.
        keep: `drop` marks every row of such content, since nobody knows which label is right;
            `first` those whose label is not that of the first row.
    """
    import numpy as np

    rows = list(zip(ids, labels, strict=True))
    first: dict[str, Hashable] = {}
    differing = {item for item, label in rows if first.setdefault(item, label) != label}
    return np.array(
        [item in differing and (keep == "drop" or label != first[item]) for item, label in rows],
        dtype=bool,
    )


def near_duplicates(
    examples: Sequence[Example],
    labels: Sequence[Hashable] | None = None,
    sources: Sequence[int] | None = None,
    threshold: float = NEAR,
) -> Alike:
    """Finds every item that is nearly the same as an earlier one of its label that stays.

    Candidates come from MinHash with locality-sensitive hashing and are then compared exactly.

    Args:
        examples: in order of preference: of two alike, the earlier stays.
        labels: of the items; those with another label are contrasts. None: there are no labels.
        sources: of the items; one where not given.
        threshold: Jaccard similarity of five-character runs from which two texts are alike.

    Source: Broder, On the resemblance and containment of documents, 1997; the threshold is that of
    Lee et al., Deduplicating training data makes language models better, 2022. Contrasts: Gardner
    et al., Evaluating models' local decision boundaries via contrast sets, 2020.
    """
    import numpy as np
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=BANDS[0] * BANDS[1], params=BANDS)
    empty = MinHash(num_perm=BANDS[0] * BANDS[1], hashfunc=int)
    marked = np.zeros(len(examples), dtype=bool)
    groups, contrasts = Groups(), []
    for row, example in enumerate(examples):
        signature = empty.copy()
        hashes = shingles(example)
        for start in range(0, len(hashes), 1 << 16):
            signature.update_batch(hashes[start : start + (1 << 16)])
        found = lsh.query(signature)
        same = {k for k in found if labels is None or labels[k] == labels[row]}
        marked[row] = any(similarity(example, examples[k]) >= threshold for k in same)
        if not marked[row]:
            lsh.insert(row, signature, check_duplication=False)
            for k in sorted(k for k in found if k not in same):
                beside = sources is None or sources[k] == sources[row]
                apart = beside and groups.first(k) != groups.first(row)  # one of a group will do
                if apart and similarity(example, examples[k]) >= threshold:
                    contrasts.append((k, row))
                    groups.join(k, row)
    return Alike(marked, contrasts)


def joined(clusters: Sequence[T], contrasts: Iterable[tuple[int, int]]) -> list[T]:
    """Returns clusters of which those of two contrasting items are one, under the first name.

    Args:
        clusters: of the items.
        contrasts: places of two items.
    """
    groups = Groups()
    for one, other in contrasts:
        groups.join(clusters[one], clusters[other])
    return [groups.first(name) for name in clusters]
