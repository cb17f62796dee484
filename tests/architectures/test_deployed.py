"""How a saved classifier reads texts, held against transformers' own call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import saved_tokenizer
from transformers import AutoTokenizer, BertConfig, GPT2Config

from kit.architectures.configuration import remarks
from kit.architectures.deployed import DeployedTexts, deployed_texts
from kit.spec.checking import SpecError

TEXTS = ["good cat", "", "bad good cat bad good", "\ud800 cat"]


def reading(folder: Path, save: Any, config: Any = None, **settings: Any) -> DeployedTexts:
    config = BertConfig(vocab_size=7) if config is None else config
    return deployed_texts(config, saved_tokenizer(folder, save, **settings), "mine")


@pytest.mark.parametrize("side", ["left", "right"])
def test_ids_are_those_of_transformers(tmp_path: Path, save_tokenizer: Any, side: str) -> None:
    texts = reading(tmp_path, save_tokenizer, truncation_side=side, padding_side="left")
    own = AutoTokenizer.from_pretrained(tmp_path)
    for length in (None, 4):
        rows = texts.encode(TEXTS, length)
        for text, row in zip(TEXTS, rows, strict=True):
            clean = text.encode("utf-8", "replace").decode()
            expected = own(clean, truncation=length is not None, max_length=length)["input_ids"]
            assert list(row.inputs["input_ids"]) == expected
            assert row.cut == (length is not None and len(own(clean)["input_ids"]) > length)


def test_pairs_are_read_as_transformers_reads_them(tmp_path: Path, save_tokenizer: Any) -> None:
    texts = reading(tmp_path, save_tokenizer, model_input_names=["input_ids", "token_type_ids"])
    own = AutoTokenizer.from_pretrained(tmp_path)
    rows = texts.encode([("good cat", "bad"), ("bad", "cat cat")])
    for (one, other), row in zip([("good cat", "bad"), ("bad", "cat cat")], rows, strict=True):
        expected = own(one, other)
        assert list(row.inputs["input_ids"]) == expected["input_ids"]
        assert list(row.inputs["token_type_ids"]) == expected["token_type_ids"]
    batch = texts.collate(rows)
    assert batch["token_type_ids"].shape == batch["input_ids"].shape


def test_a_batch_is_filled_with_the_id_that_the_model_passes_over(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    config = GPT2Config(vocab_size=7, pad_token_id=6, bos_token_id=2, eos_token_id=3)
    texts = reading(tmp_path, save_tokenizer, config)
    batch = texts.collate(texts.encode(["good", "good cat cat"]))
    assert batch["input_ids"][0, -1] == 6
    assert batch["attention_mask"].sum(1).tolist() == [3, 5]
    said = " ".join(remarks(config, texts.tokenizer))
    assert "pad_token_id is 6 in config.json and 0 in the tokenizer: the first" in said


def test_without_an_id_to_fill_with_texts_are_answered_one_at_a_time(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    config = GPT2Config(vocab_size=7, pad_token_id=None, bos_token_id=2, eos_token_id=3)
    texts = reading(tmp_path, save_tokenizer, config, pad_token=None)
    rows = texts.encode(["good cat", "bad"])
    assert texts.collate(rows[:1])["input_ids"].shape == (1, 4)
    with pytest.raises(SpecError, match="no padding token, so that it answers one text at a time"):
        texts.collate(rows)


def test_a_text_is_filled_up_between_the_tokens_that_the_tokenizer_adds(
    tmp_path: Path, save_tokenizer: Any
) -> None:
    texts = reading(tmp_path, save_tokenizer)
    (row,) = texts.filled(["good cat"], 9)
    assert list(row.inputs["input_ids"]) == [2, 5, 6, 5, 6, 5, 6, 5, 3]
    assert torch.equal(texts.collate([row])["attention_mask"], torch.ones(1, 9, dtype=torch.int64))
    (short,) = texts.filled(["good cat good cat good cat"], 5)
    assert len(short) == 5


def test_a_token_beyond_the_embedding_is_named(tmp_path: Path, save_tokenizer: Any) -> None:
    texts = reading(tmp_path, save_tokenizer)
    known = len(texts.tokenizer.library)
    texts.tokenizer.embedded = known
    texts.tokenizer.library.add_tokens(["dog"])
    assert texts.encode(["good cat"])
    with pytest.raises(SpecError, match=f"token {known}, 'dog', .*resize_token_embeddings"):
        texts.encode(["good dog"])
    texts.tokenizer.embedded = 6
    with pytest.raises(SpecError, match=r"token 6, 'cat', .* 6 rows; it knows .* another model's"):
        texts.encode(["good cat"])
