"""From raw texts or images to disjoint splits: normalise, drop duplicates, split by content.

A text seen in training and again in a test makes the test easier than the world. So exact and near
duplicates go before anything is split, and the side a text falls on depends on the text (or on the
cluster it belongs to) alone: adding data moves nothing that was there. Near copies with different
labels stay and are one cluster, named by the first of theirs: only such a copy moves a text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.spec.checking import SpecError, checked, shown
from kit.spec.fields import Real
from kit.tasks.content import clean, content_id, examples_in, lone_clusters, missing
from kit.tasks.duplicates import Contradictory, contradictions, joined, near_duplicates

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """What a task function may return: a frame a split, and a count of what did not get in.

    Attributes:
        splits: split name -> frame with `text` or `pixels` and, where they apply, `id`, `cluster`,
            `label`, `valence` and group columns.
        dropped: source -> reason -> number of texts (or of characters, for replacements).
    """

    splits: Mapping[str, pd.DataFrame]
    dropped: Mapping[str, Mapping[str, int]]


def pixels(value: Any) -> NDArray[np.uint8]:
    """Returns an image's numbers, row by row.

    Args:
        value: of a cell: whole numbers of 0..255 in any shape.

    Raises:
        SpecError: it is something else.
    """
    import numpy as np

    try:
        image = np.asarray(value)
    except ValueError:  # rows of different lengths
        image = np.empty(0)
    if image.dtype.kind not in "iu" or not image.size or image.min() < 0 or image.max() > 255:
        raise SpecError(f"a cell holds {shown(value)}; expected an image of whole numbers 0..255")
    return image.astype(np.uint8).ravel()


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """Returns the split that `key` falls in: a function of `key` and `shares`, of nothing else.

    Args:
        key: the item's cluster, or its id.
        shares: split name -> share, in a fixed order, summing to 1.
    """
    digest = hashlib.sha256(f"split:{key}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in shares.items():
        position -= share
        if position < 0:
            return name
    return list(shares)[-1]


def split_names(shifts: Iterable[str]) -> list[str]:
    """Returns the splits every task has: its own three, and two for each shift."""
    own = ["train", "validation", "test"]
    return own + [part for shift in shifts for part in (shift, f"{shift}/validation")]


def prepare(
    sources: Mapping[str, pd.DataFrame],
    *,
    validation: float,
    test: float,
    shift_validation: float | None = None,
    dropped: Mapping[str, Mapping[str, int]] | None = None,
    contradictory: Contradictory = "drop",
) -> Prepared:
    """Cleans, deduplicates and splits the items of a task and of its shifts.

    Args:
        sources: name -> frame with a column `text` (and `text_pair`) or `pixels`, and optionally
            `label`, `cluster` and others that are kept as they are. The first is split into train,
            validation and test; each further one is a shift, split into `<name>/validation` and
            `<name>`. Of two texts alike, the one of the earlier source stays, so that no shift
            repeats a training text. Of images, exact copies alone are found.
        validation: share of the first source's clusters.
        test: share of the first source's clusters.
        shift_validation: share of a shift's clusters; as validation to test where not given.
        dropped: counts from before, to which those of this function are added: `empty`,
            `replaced_characters`, `exact_duplicates`, `near_duplicates` and, where there are any,
            `contradictory`.
        contradictory: what becomes of one content with several labels, in one source or in two:
            `drop` leaves it out wholly, `first` keeps the label of its first row.

    Raises:
        SpecError: shares that are none, or leave nothing to test on.
    """
    import pandas as pd

    own = _shares(validation, test)
    counts = {name: dict((dropped or {}).get(name, {})) for name in sources}
    cleaned = {name: _cleaned(frame, counts[name]) for name, frame in sources.items()}
    pool = pd.concat(cleaned.values(), keys=range(len(cleaned)), names=["source", None])
    pool = pool.reset_index(level="source")
    if "label" in pool:
        wrong = contradictions(pool["id"], _labels(pool), contradictory)
        if wrong.any():
            _count(counts, pool.loc[wrong, "source"], "contradictory")
        pool = pool[~wrong]
    order = ["source", "id", *(name for name in ("text", "text_pair") if name in pool)]
    pool = pool.sort_values(order, kind="stable")
    exact = pool["id"].duplicated()
    _count(counts, pool.loc[exact, "source"], "exact_duplicates")
    pool = pool[~exact]
    if "text" in pool:
        pool = _without_near_copies(pool, counts)
    pool = pool.sort_values("id", kind="stable")
    whole = validation + test
    held = validation / whole if shift_validation is None else shift_validation
    splits = {}
    for place, name in enumerate(sources):
        part = pool[pool["source"] == place].drop(columns="source")
        shares = own if place == 0 else {name: 1 - held, f"{name}/validation": held}
        side = part["cluster"].map(lambda key, shares=shares: split_of(key, shares))
        splits.update({key: part[side == key].reset_index(drop=True) for key in shares})
    return Prepared(splits, counts)


def _shares(validation: float, test: float) -> dict[str, float]:
    """Returns the share of each of a task's own splits; only the test split needs one."""
    wrong = (
        f"validation={shown(validation)}, test={shown(test)}: expected two shares in 0..1 with a "
        "sum of at most 1, and some to test on"
    )
    held, tested = (checked(Real, share, wrong) for share in (validation, test))
    if not (0 <= held < 1 and 0 < tested <= 1 and held + tested <= 1):
        raise SpecError(wrong)
    return {"train": 1 - held - tested, "validation": held, "test": tested}


def _labels(pool: pd.DataFrame) -> list[Hashable]:
    """Returns the labels of rows, those of several classes as tuples."""
    return [tuple(label) if isinstance(label, list) else label for label in pool["label"].tolist()]


def _without_near_copies(pool: pd.DataFrame, counts: dict[str, dict[str, int]]) -> pd.DataFrame:
    """Returns the rows that are no near copy of an earlier one, contrasts in one cluster.

    Where a contrast lies in another source, each keeps its cluster: a shift is no side of a split.
    """
    labels = _labels(pool) if "label" in pool else None
    source = pool["source"].tolist()
    near, contrasts = near_duplicates(examples_in(pool), labels, source)
    _count(counts, pool.loc[near, "source"], "near_duplicates")
    named = list(zip(source, pool["cluster"].tolist(), strict=True))
    return pool.assign(cluster=[cluster for _, cluster in joined(named, contrasts)])[~near]


def _cleaned(frame: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Returns the frame with clean texts or pixels, ids and clusters."""
    if "pixels" in frame:
        frame = frame.assign(pixels=frame["pixels"].map(pixels))
    else:
        frame = _clean_texts(frame, counts)
    frame = frame.assign(id=[content_id(example) for example in examples_in(frame)])
    if "cluster" not in frame:
        return frame.assign(cluster=lone_clusters(frame))
    # an item whose cluster is not known is a cluster of its own
    clusters = [
        item if missing(cluster) else clean(cluster, strip=False)[0]
        for item, cluster in zip(frame["id"], frame["cluster"].tolist(), strict=True)
    ]
    return frame.assign(cluster=clusters)


def _clean_texts(frame: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Returns the frame with clean texts, without rows of which a text is empty."""
    before, replaced = len(frame), 0
    for column in [name for name in ("text", "text_pair") if name in frame]:
        found = [clean(value) for value in frame[column].tolist()]
        replaced += sum(characters for _, characters in found)
        frame = frame.assign(**{column: [text for text, _ in found]})
    for column in [name for name in ("text", "text_pair") if name in frame]:
        frame = frame[frame[column] != ""]
    counts["replaced_characters"] = counts.get("replaced_characters", 0) + replaced
    counts["empty"] = counts.get("empty", 0) + before - len(frame)
    return frame


def _count(counts: dict[str, dict[str, int]], places: pd.Series[int], reason: str) -> None:
    for place, name in enumerate(counts):
        counts[name][reason] = int((places == place).sum())
