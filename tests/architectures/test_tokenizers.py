from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.architectures.tokenizers import ByteTokenizer, HFTokenizer, pad


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_bytes_round_trip(text: str) -> None:
    (ids,) = ByteTokenizer().encode([text])
    assert bytes(ids).decode() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a\0b", "ab"),
        ("\ud800", "?"),
        ("🙂", "🙂"),
        ("שלום", "שלום"),
        ("x" * 100_000, None),
    ],
)
def test_bytes_of_hard_texts(text: str, expected: str | None) -> None:
    (ids,) = ByteTokenizer().encode([text])
    assert 0 not in ids
    assert bytes(ids).decode() == (text if expected is None else expected)


def test_bytes_are_cut() -> None:
    assert [len(ids) for ids in ByteTokenizer().encode(["abcdef", "ab"], 3)] == [3, 2]


def test_saved_tokenizer(save_tokenizer: Callable[[Path], None], tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = HFTokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.separator_id) == (7, 0, 2)
    assert tokenizer.encode(["good cat", "", "\ud800"]) == [[2, 5, 6, 3], [2, 3], [2, 1, 3]]
    assert tokenizer.encode(["good cat bad cat"], 4) == [[2, 5, 6, 3]]
    assert tokenizer.encode(["good cat bad cat"]) == [[2, 5, 6, 4, 6, 3]]
    assert pickle.loads(pickle.dumps(tokenizer)).encode(["cat"]) == [[2, 6, 3]]  # noqa: S301


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer"):
        HFTokenizer(tmp_path)


def test_pad() -> None:
    batch = pad([[5, 6, 7], [], [8]], pad_id=9, width=4)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9], [9] * 4, [8, 9, 9, 9]]
    assert batch["attention_mask"].sum(1).tolist() == [3, 0, 1]
    assert pad([[]], 0)["input_ids"].shape == (1, 1)
