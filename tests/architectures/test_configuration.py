"""How many tokens a saved model reads at once, and where its files disagree on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import saved_tokenizer
from transformers import AutoConfig, BertConfig, GPT2Config, RobertaConfig

from kit.architectures.configuration import positions, remarks, window
from kit.spec.checking import SpecError


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
    saved = saved_tokenizer(tmp_path, save_tokenizer, model_max_length=said)
    assert window(config, saved) == expected
    disagree = positions(config) is not None and said > positions(config)
    assert disagree == any("texts are cut there" in each for each in remarks(config, saved))


@pytest.mark.parametrize(("asked", "says"), [(65, "has 64 positions"), (2, "expected more")])
def test_a_length_that_cannot_be_read_is_refused(
    tmp_path: Path, save_tokenizer: Any, asked: int, says: str
) -> None:
    saved = saved_tokenizer(tmp_path, save_tokenizer)
    assert window(BertConfig(max_position_embeddings=64), saved, 3) == 3
    with pytest.raises(SpecError, match=says):
        window(BertConfig(max_position_embeddings=64), saved, asked)


def test_a_window_of_nothing_is_refused(tmp_path: Path, save_tokenizer: Any) -> None:
    saved = saved_tokenizer(tmp_path, save_tokenizer, model_max_length=0)
    with pytest.raises(SpecError, match="model_max_length is 0"):
        window(BertConfig(), saved)
