"""Copies, near copies and contrasts."""

from __future__ import annotations

import pytest
from texts import sentences

from kit.tasks.duplicates import contradictions, joined, near_duplicates, similarity


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
    assert near_duplicates(texts).duplicates.tolist() == expected
    assert 20 <= sum(expected) < 40


def test_a_chain_of_near_duplicates_keeps_what_is_not_near_a_kept_one() -> None:
    text = sentences(1)[0]
    assert near_duplicates([text, text + " yes", text]).duplicates.tolist() == [False, True, True]


def test_a_very_long_text_is_compared_too() -> None:
    long = " ".join(sentences(2000))[:100_000]
    found = near_duplicates([long, "short", long + " and more"])
    assert found.duplicates.tolist() == [False, False, True]


def test_a_near_copy_with_another_label_is_a_contrast_and_stays() -> None:
    text = " ".join(sentences(2))
    texts = [text, text + " not", text + " no", text + " now", sentences(1, 30)[0]]
    found = near_duplicates(texts, [0, 1, 0, 1, 0])
    assert found.duplicates.tolist() == [False, False, True, True, False]
    assert found.contrasts == [(0, 1)]
    assert near_duplicates(texts).contrasts == []


def test_clusters_are_joined_under_their_first_name() -> None:
    assert joined(["d", "b", "c", "a", "e"], [(0, 1), (2, 3), (3, 0)]) == ["a"] * 4 + ["e"]
    assert joined(["b", "a", "b"], [(0, 1)]) == ["a", "a", "a"]


def test_contradictions_are_all_rows_of_a_content_or_those_unlike_its_first() -> None:
    ids, labels = list("xyxzxy"), [1, (0, 1), 0, 2.5, 1, (0, 1)]
    assert contradictions(ids, labels).tolist() == [True, False, True, False, True, False]
    assert contradictions(ids, labels, "first").tolist() == [False, False, True, *[False] * 3]
