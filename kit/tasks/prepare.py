"""From raw texts or images to disjoint splits: normalise, drop duplicates, split by content.

A text seen in training and again in a test makes the test easier than the world. So exact and near
duplicates go before anything is split, and the side a text falls on depends on the text (or on the
cluster it belongs to) alone: adding data moves nothing that was there.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.spec import SpecError
from kit.values import real, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SHINGLE = 5
NEAR = 0.8
# 16 bands of 4 rows let a pair at similarity 0.8 through with probability 0.9998; what is let
# through is then compared exactly, so that the many bands cost time and never a good text.
BANDS = (16, 4)
_EDGES = " \"'`.,;!?*-\u2018\u2019\u201c\u201d\u2026"


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


def normalize(text: str) -> str:
    """Returns the form in which two texts count as the same.

    NFKC, case folded, white space collapsed, and without quotes and full stops at the two ends;
    emoticons stay, since `ok :)` and `ok :(` are two texts.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(_EDGES) or folded


def content_id(example: str | NDArray[np.uint8]) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of the normalised text, or of the pixels."""
    data = normalize(example).encode() if isinstance(example, str) else example.tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


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


def missing(value: Any) -> bool:
    """Says whether a cell holds nothing: None, NaN, NaT or pandas' NA."""
    import pandas as pd

    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def clean(value: Any, *, strip: bool = True) -> tuple[str, int]:
    """Returns a text without white space at its ends, and how many characters were replaced.

    Bytes are read as UTF-8; what is not UTF-8, and lone surrogates, become U+FFFD. None, NaN and
    NA become the empty text; numbers and dates become what Python writes for them.

    Args:
        value: of a cell.
        strip: whether white space at the ends goes.

    Raises:
        SpecError: it is a list, a mapping or another thing that is no text.
    """
    import pandas as pd

    if missing(value):
        return "", 0
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", errors="replace")
        replaced = text.count("\ufffd")
    elif isinstance(value, str) or (
        # Python writes whole numbers of thousands of digits on request alone
        pd.api.types.is_scalar(value) and not (isinstance(value, int) and value.bit_length() > 1000)
    ):
        text, replaced = re.subn("[\ud800-\udfff]", "\ufffd", str(value))
    else:
        raise SpecError(f"a cell holds {shown(value)}, a {type(value).__name__}; expected text")
    return text.strip() if strip else text, replaced


def shingles(text: str) -> NDArray[np.uint32]:
    """Returns the hashes [n] of all runs of five characters of the normalised text."""
    import numpy as np

    padded = normalize(text).ljust(SHINGLE)
    points = np.frombuffer(padded.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    mixed = np.zeros(len(points) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed = (mixed ^ points[offset : offset + len(mixed)]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def similarity(one: str, other: str) -> float:
    """Returns the Jaccard similarity of two texts' sets of five-character runs, 0..1."""
    import numpy as np

    first, second = np.unique(shingles(one)), np.unique(shingles(other))
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> NDArray[np.bool_]:
    """Marks every text that is nearly the same as an earlier one that is not itself marked.

    Candidates come from MinHash with locality-sensitive hashing and are then compared exactly.

    Args:
        texts: in order of preference: of two alike, the earlier stays.
        threshold: Jaccard similarity of five-character runs from which two texts are alike.

    Returns:
        [n], True where a text should be dropped.

    Source: Broder, On the resemblance and containment of documents, 1997; the threshold is that of
    Lee et al., Deduplicating training data makes language models better, 2022.
    """
    import numpy as np
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=BANDS[0] * BANDS[1], params=BANDS)
    empty = MinHash(num_perm=BANDS[0] * BANDS[1], hashfunc=int)
    marked = np.zeros(len(texts), dtype=bool)
    for row, text in enumerate(texts):
        signature = empty.copy()
        hashes = shingles(text)
        for start in range(0, len(hashes), 1 << 16):
            signature.update_batch(hashes[start : start + (1 << 16)])
        marked[row] = any(similarity(text, texts[k]) >= threshold for k in lsh.query(signature))
        if not marked[row]:
            lsh.insert(row, signature, check_duplication=False)
    return marked


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
) -> Prepared:
    """Cleans, deduplicates and splits the items of a task and of its shifts.

    Args:
        sources: name -> frame with a column `text` or `pixels`, and optionally `cluster` and others
            that are kept as they are. The first is split into train, validation and test; each
            further one is a shift, split into `<name>/validation` and `<name>`. Of two texts alike,
            the one of the earlier source stays, so that no shift repeats a training text. Of
            images, exact copies alone are found.
        validation: share of the first source's clusters.
        test: share of the first source's clusters.
        shift_validation: share of a shift's clusters; as validation to test where not given.
        dropped: counts from before, to which those of this function are added.

    Raises:
        SpecError: the shares leave nothing to train on.
    """
    import pandas as pd

    validation = real(validation, f"validation={shown(validation)}", "a share in 0..1")
    test = real(test, f"test={shown(test)}", "a share in 0..1")
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise SpecError(
            f"validation={validation}, test={test}: expected two shares in 0..1 with a sum below 1"
        )
    counts = {name: dict((dropped or {}).get(name, {})) for name in sources}
    cleaned = {name: _cleaned(frame, counts[name]) for name, frame in sources.items()}
    pool = pd.concat(cleaned.values(), keys=range(len(cleaned)), names=["source", None])
    order = ["source", "id", *(name for name in ("text", "label") if name in pool)]
    pool = pool.reset_index(level="source").sort_values(order, kind="stable")
    exact = pool["id"].duplicated()
    _count(counts, pool.loc[exact, "source"], "exact_duplicates")
    pool = pool[~exact]
    if "text" in pool:
        near = near_duplicates(pool["text"].tolist())
        _count(counts, pool.loc[near, "source"], "near_duplicates")
        pool = pool[~near]
    pool = pool.sort_values("id", kind="stable")
    own = {"train": 1 - validation - test, "validation": validation, "test": test}
    held = validation / (validation + test) if shift_validation is None else shift_validation
    splits = {}
    for place, name in enumerate(sources):
        part = pool[pool["source"] == place].drop(columns="source")
        shares = own if place == 0 else {name: 1 - held, f"{name}/validation": held}
        side = part["cluster"].map(lambda key, shares=shares: split_of(key, shares))
        splits.update({key: part[side == key].reset_index(drop=True) for key in shares})
    return Prepared(splits, counts)


def _cleaned(frame: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Returns the frame with clean texts or pixels, ids and clusters."""
    if "pixels" in frame:
        frame = frame.assign(pixels=frame["pixels"].map(pixels))
        frame = frame.assign(id=frame["pixels"].map(content_id))
    else:
        frame = _clean_texts(frame, counts)
    if "cluster" not in frame:
        return frame.assign(cluster=frame["id"])
    # an item whose cluster is not known is a cluster of its own
    clusters = [
        item if missing(cluster) else clean(cluster, strip=False)[0]
        for item, cluster in zip(frame["id"], frame["cluster"].tolist(), strict=True)
    ]
    return frame.assign(cluster=clusters)


def _clean_texts(frame: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Returns the frame with clean texts and their ids, without rows of empty text."""
    texts, replaced = [], 0
    for value in frame["text"].tolist():
        text, characters = clean(value)
        texts.append(text)
        replaced += characters
    frame = frame.assign(text=texts)
    frame = frame[frame["text"] != ""]
    counts["replaced_characters"] = counts.get("replaced_characters", 0) + replaced
    counts["empty"] = counts.get("empty", 0) + len(texts) - len(frame)
    return frame.assign(id=[content_id(text) for text in frame["text"]])


def _count(counts: dict[str, dict[str, int]], places: pd.Series[int], reason: str) -> None:
    for place, name in enumerate(counts):
        counts[name][reason] = int((places == place).sum())
