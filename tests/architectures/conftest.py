"""What tests of architectures share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_tasks import language, reviews, training

__all__ = ["language", "reviews", "training"]  # fixtures


def save_tokenizer_in(folder: Path) -> None:
    """Writes a word-level tokenizer with BERT-like special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "bad": 4, "good": 5, "cat": 6}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=32)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "[PAD]", "bos_token": "[CLS]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[[Path], None]:
    return save_tokenizer_in
