"""How a saved classifier reads texts, held against transformers' own call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, BertConfig, GPT2Config, RobertaConfig

from kit.architectures.deployed import DeployedTexts, deployed_texts, positions, remarks, window
from kit.architectures.tokenizers import HFTokenizer
from kit.spec.checking import SpecError

TEXTS = ["good cat", "", "bad good cat bad good", "\ud800 cat"]


def tokenizer(folder: Path, save: Any, **settings: Any) -> HFTokenizer:
    save(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return HFTokenizer(folder)


def reading(folder: Path, save: Any, config: Any = None, **settings: Any) -> DeployedTexts:
    config = BertConfig(vocab_size=7) if config is None else config
    return deployed_texts(config, tokenizer(folder, save, **settings), "mine")


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
    texts = reading(tmp_path, save_tokenizer, BertConfig(vocab_size=6))
    assert texts.encode(["good"])
    with pytest.raises(SpecError, match=r"token 6, 'cat', .*resize_token_embeddings"):
        texts.encode(["good cat"])


@pytest.mark.parametrize(
    ("said", "config", "expected"),
    [
        (64, BertConfig(max_position_embeddings=512), 64),
        (10**30, BertConfig(max_position_embeddings=128), 128),
        (512, BertConfig(max_position_embeddings=64), 64),
        (10**30, RobertaConfig(max_position_embeddings=130, pad_token_id=1), 128),
        (10**30, GPT2Config(n_positions=256), 256),
        (10**30, AutoConfig.for_model("bloom"), None),
    ],
)
def test_a_text_is_cut_at_the_models_own_window(
    tmp_path: Path, save_tokenizer: Any, said: int, config: Any, expected: int | None
) -> None:
    saved = tokenizer(tmp_path, save_tokenizer, model_max_length=said)
    assert window(config, saved) == expected
    disagree = positions(config) is not None and said > positions(config)
    assert disagree == any("texts are cut there" in each for each in remarks(config, saved))


@pytest.mark.parametrize(("asked", "says"), [(65, "has 64 positions"), (2, "expected more")])
def test_a_length_that_cannot_be_read_is_refused(
    tmp_path: Path, save_tokenizer: Any, asked: int, says: str
) -> None:
    saved = tokenizer(tmp_path, save_tokenizer)
    assert window(BertConfig(max_position_embeddings=64), saved, 3) == 3
    with pytest.raises(SpecError, match=says):
        window(BertConfig(max_position_embeddings=64), saved, asked)


def test_a_window_of_nothing_is_refused(tmp_path: Path, save_tokenizer: Any) -> None:
    saved = tokenizer(tmp_path, save_tokenizer, model_max_length=0)
    with pytest.raises(SpecError, match="model_max_length is 0"):
        window(BertConfig(), saved)
