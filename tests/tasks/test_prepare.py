"""Normalising, dropping duplicates and splitting by content."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import sentences

from kit.spec.checking import SpecError
from kit.tasks.duplicates import similarity
from kit.tasks.prepare import Prepared, prepare, split_of


def splits(texts: list[str], **shifts: list[str]) -> dict[str, pd.DataFrame]:
    frames = {"own": pd.DataFrame({"text": texts})}
    frames |= {name: pd.DataFrame({"text": rows}) for name, rows in shifts.items()}
    return dict(prepare(frames, validation=0.2, test=0.3).splits)


def test_duplicates_across_sources_go_from_the_later_one() -> None:
    own = sentences(40)
    shifted = [*sentences(20, 100), own[3].upper(), own[5] + " !"]
    frames = {"own": pd.DataFrame({"text": own}), "new": pd.DataFrame({"text": shifted})}
    prepared = prepare(frames, validation=0.2, test=0.3)
    assert prepared.dropped["own"]["exact_duplicates"] == 0
    assert prepared.dropped["new"]["exact_duplicates"] == 2
    ids = [item for frame in prepared.splits.values() for item in frame["id"]]
    assert len(ids) == len(set(ids)) == 60


@given(st.permutations(range(30)), st.integers(0, 30))
@settings(deadline=None, max_examples=15)
def test_the_split_of_a_text_depends_on_nothing_but_the_text(order: list[int], others: int) -> None:
    texts = sentences(30)
    everything = splits([texts[k] for k in order] + sentences(others, 50))
    alone = splits(texts)
    side = {text: name for name, frame in everything.items() for text in frame["text"]}
    for name, frame in alone.items():
        assert all(side[text] == name for text in frame["text"])
        assert frame["id"].is_monotonic_increasing


@given(st.text(max_size=40), st.floats(0.05, 0.9))
@settings(deadline=None, max_examples=50)
def test_a_greater_training_share_moves_nothing_out_of_training(key: str, share: float) -> None:
    one = split_of(key, {"train": share, "test": 1 - share})
    more = split_of(key, {"train": share + 0.05, "test": 0.95 - share})
    assert one == "test" or more == "train"


def test_shares_are_kept_about() -> None:
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    sides = pd.Series([split_of(str(k), shares) for k in range(5000)]).value_counts(normalize=True)
    assert sides.to_dict() == pytest.approx(shares, abs=0.02)


def test_clusters_stay_whole_and_a_missing_one_is_the_text_alone() -> None:
    clusters = [None if k % 10 == 0 else f"author {k % 7}" for k in range(80)]
    frame = pd.DataFrame({"text": sentences(80), "cluster": clusters})
    parts = prepare({"own": frame}, validation=0.3, test=0.3).splits
    found = [set(part["cluster"]) for part in parts.values()]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert sum(len(names) for names in found) == 7 + 8


@pytest.mark.parametrize(
    ("validation", "test"), [(0.3, 0), (1, 0.5), (0.6, 0.5), (1.2, 0.1), (0.1, -1), (-0.1, 1)]
)
def test_shares_that_leave_nothing_to_test_on_are_refused(validation: float, test: float) -> None:
    with pytest.raises(SpecError, match="expected two shares"):
        prepare({"own": pd.DataFrame({"text": ["a"]})}, validation=validation, test=test)


def test_all_rows_may_be_test() -> None:
    frames = {"own": pd.DataFrame({"text": sentences(30)})}
    frames["new"] = pd.DataFrame({"text": sentences(20, 40)})
    parts = prepare(frames, validation=0, test=1).splits
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes == {"train": 0, "validation": 0, "test": 30, "new": 20, "new/validation": 0}


TEMPLATE = "the waiter who brought us the {} and the {} on our {} evening there was {} indeed"
contents = st.tuples(*[st.sampled_from(["soup", "fish", "third", "last"])] * 3)
rows_of = st.lists(
    st.tuples(contents, st.sampled_from(["kind", "rude", "kind!"]), st.integers(0, 1)),
    min_size=1,
    max_size=25,
)


def prepared(rows: list[tuple[str, int]], contradictory: Any = "drop") -> Prepared:
    frames = {}
    for name, part in (("own", rows[::2]), ("new", rows[1::2])):
        frames[name] = pd.DataFrame(part, columns=["text", "label"])
    return prepare(frames, validation=0.3, test=0.3, contradictory=contradictory)


@given(rows_of, st.sampled_from(["drop", "first"]))
@settings(deadline=None, max_examples=60)
def test_every_row_is_in_a_split_or_counted_and_no_copy_is_left(rows: Any, keep: Any) -> None:
    texts = [(TEMPLATE.format(*words, last), label) for words, last, label in rows]
    made = prepared(texts, keep)
    found = pd.concat(made.splits)
    lost = sum(sum(counts.values()) for counts in made.dropped.values())
    assert len(found) + lost == len(texts)
    labels: dict[str, set[int]] = {}
    first: dict[str, int] = {}
    for text, label in texts[::2] + texts[1::2]:
        labels.setdefault(text.rstrip("!"), set()).add(label)
        first.setdefault(text, label)
    for text, label in zip(found["text"], found["label"], strict=True):
        assert label in labels[text.rstrip("!")]
        assert keep == "first" or len(labels[text]) == 1 or text not in first
    kept = list(zip(found["text"], found["label"], strict=True))
    for place, (text, label) in enumerate(kept):
        alike = [other for other in kept[:place] if similarity(text, other[0]) >= 0.8]
        assert all(other != label for _, other in alike)


@given(rows_of)
@settings(deadline=None, max_examples=60)
def test_contrasts_lie_on_one_side_and_the_order_of_rows_changes_nothing(rows: Any) -> None:
    texts = [(TEMPLATE.format(*words, last), label) for words, last, label in rows]
    frames = [pd.DataFrame(part, columns=["text", "label"]) for part in (texts, texts[::-1])]
    one, other = (prepare({"own": frame}, validation=0.3, test=0.3) for frame in frames)
    assert one.dropped == other.dropped
    for split, part in one.splits.items():
        pd.testing.assert_frame_equal(part, other.splits[split])
    kept = [
        (split, *row)
        for split, part in one.splits.items()
        for row in zip(part["text"], part["cluster"], strict=True)
    ]
    for split, text, cluster in kept:
        for beside, near, its_cluster in kept:
            if similarity(text, near) >= 0.8:
                assert (beside, its_cluster) == (split, cluster)


def test_a_text_with_two_labels_is_left_out_of_every_source() -> None:
    texts = sentences(6)
    own = pd.DataFrame(
        {"text": [texts[0], texts[0].upper(), *texts[1:4]], "label": [0, 1, 0, 0, 1]}
    )
    new = pd.DataFrame({"text": [texts[1], texts[2], texts[5]], "label": [1, 0, 1]})
    made = prepare({"own": own, "new": new}, validation=0.3, test=0.3)
    assert set(pd.concat(made.splits)["text"]) == {texts[2], texts[3], texts[5]}
    assert made.dropped["own"] | made.dropped["new"] == {
        **made.dropped["own"], "contradictory": 1, "exact_duplicates": 1
    }  # fmt: skip
    assert made.dropped["own"]["contradictory"] == 3
    first = prepare({"own": own, "new": new}, validation=0.3, test=0.3, contradictory="first")
    labels = dict(zip(*[pd.concat(first.splits)[c] for c in ("text", "label")], strict=True))
    assert labels == {texts[0]: 0, texts[1]: 0, texts[2]: 0, texts[3]: 1, texts[5]: 1}
    assert [first.dropped[name]["contradictory"] for name in ("own", "new")] == [1, 1]


def test_a_contrast_in_a_shift_stays_there() -> None:
    text = TEMPLATE.format("soup", "fish", "last", "kind")
    own = pd.DataFrame({"text": [*sentences(20), text], "label": [0, 1] * 10 + [1]})
    new = pd.DataFrame({"text": [text.replace("kind", "rude"), text + " yes"], "label": [0, 1]})
    made = prepare({"own": own, "new": new}, validation=0.3, test=0.3)
    assert made.dropped["new"]["near_duplicates"] == 1
    assert sum(len(made.splits[name]) for name in ("new", "new/validation")) == 1


def test_pairs_are_told_apart_by_both_texts() -> None:
    premise, other = (" ".join(sentences(4, start)) for start in (0, 10))
    rows = [
        (premise, "the first claim of some length", 0),
        (premise, "another thing that nobody said", 0),
        (premise.upper(), "The first claim of some length.", 0),
        (premise, "the first claim of some length, so", 0),
        (premise, "the first claim of some length!!", 0),
        ("the first claim of some length", premise, 0),
        (other, "the first claim of some length", 1),
        (other, " ", 1),
    ]
    frame = pd.DataFrame(rows, columns=["text", "text_pair", "label"])
    made = prepare({"own": frame}, validation=0, test=1)
    found = made.splits["test"]
    assert len(found) == 4
    assert made.dropped["own"]["empty"] == 1
    assert made.dropped["own"]["exact_duplicates"] + made.dropped["own"]["near_duplicates"] == 3
    shared = found[found["text"].str.startswith(premise[:20])]
    assert len(shared) == 2 and shared["cluster"].nunique() == 1, "a premise is one cluster"
