"""Normalising, dropping duplicates and splitting by content."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.spec import SpecError
from kit.tasks.prepare import (
    clean,
    content_id,
    near_duplicates,
    normalize,
    prepare,
    similarity,
    split_of,
)

WORDS = (
    "river stone candle window market paper engine forest garden silver doctor bridge winter "
    "summer letter guitar planet orange ticket camera mirror pencil rocket bottle"
).split()


def sentences(count: int, start: int = 0) -> list[str]:
    """Texts of eight words, no two of which are near each other."""
    return [
        " ".join(WORDS[(n * 7 + k * (n % 5 + 1) + n // 24) % 24] + str(n) for k in range(8))
        for n in range(start, start + count)
    ]


def splits(texts: list[str], **shifts: list[str]) -> dict[str, pd.DataFrame]:
    frames = {"own": pd.DataFrame({"text": texts})}
    frames |= {name: pd.DataFrame({"text": rows}) for name, rows in shifts.items()}
    return dict(prepare(frames, validation=0.2, test=0.3).splits)


def test_normal_form_ignores_case_space_and_closing_marks() -> None:
    assert normalize("  The\u00a0FILM,   again!! ") == normalize("the film, again")
    assert content_id("Wow!") == content_id("\u201cwow\u201d")
    assert content_id("ok :)") != content_id("ok :(")
    assert normalize("...") == "..."


@pytest.mark.parametrize(
    ("value", "text", "replaced"),
    [
        (b"caf\xe9 noir", "caf\ufffd noir", 1),
        ("lone \ud83d surrogate", "lone \ufffd surrogate", 1),
        (None, "", 0),
        (float("nan"), "", 0),
        ("  \n\t ", "", 0),
        (12, "12", 0),
        (
            "\u0645\u0631\u062d\u0628\u0627 \U0001f600",
            "\u0645\u0631\u062d\u0628\u0627 \U0001f600",
            0,
        ),
    ],
)
def test_clean(value: object, text: str, replaced: int) -> None:
    assert clean(value) == (text, replaced)


def test_similarity_is_jaccard_of_five_character_runs() -> None:
    # one run of the three that the two texts have together is in both
    assert similarity("abcdef", "bcdefg") == pytest.approx(1 / 3)
    assert similarity("same text", "Same  text.") == 1
    assert similarity("a", "b") == 0


def test_near_duplicates_agree_with_all_pairs() -> None:
    base = sentences(60)
    near = [text + " x" for text in base[:20]] + [text[:30] for text in base[20:40]]
    texts = base + near
    expected: list[bool] = []
    for row, text in enumerate(texts):
        kept = [texts[k] for k in range(row) if not expected[k]]
        expected.append(any(similarity(text, other) >= 0.8 for other in kept))
    assert near_duplicates(texts).tolist() == expected
    assert 20 <= sum(expected) < 40


def test_a_chain_of_near_duplicates_keeps_what_is_not_near_a_kept_one() -> None:
    text = sentences(1)[0]
    assert near_duplicates([text, text + " yes", text]).tolist() == [False, True, True]


def test_a_very_long_text_is_compared_too() -> None:
    long = " ".join(sentences(2000))[:100_000]
    assert near_duplicates([long, "short", long + " and more"]).tolist() == [False, False, True]


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


@pytest.mark.parametrize(("validation", "test"), [(0, 0.3), (0.5, 0.5), (1.2, 0.1), (0.1, -1)])
def test_shares_that_leave_nothing_are_refused(validation: float, test: float) -> None:
    with pytest.raises(SpecError, match="expected two shares"):
        prepare({"own": pd.DataFrame({"text": ["a"]})}, validation=validation, test=test)
