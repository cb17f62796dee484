"""A saved model's texts become the tokens that transformers makes of them, whatever tokenizer,
window and sides its folder names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from deployed import answers, quiet
from reading import KINDS, SENTENCES, save_trained
from tiny_models import LABELS

import kit
from kit.build.runner import Runner
from kit.spec.ref import Ref
from kit.spec.spec import Variant

POSITIONS = 512
SETTINGS = {
    64: ("left", "right"),
    128: ("right", "left"),
    512: ("left", "left"),
    int(1e30): ("right", "right"),
}
"""Window of the tokenizer -> side of its padding and of its cutting."""

TEXTS = [
    "",
    "a",
    "THE CAT",
    "Überraschung naïve café \u65e5\u672c\u8a9e \U0001f600",
    "tabs\tand\nlines  and  spaces ",
    *SENTENCES[:4],
    " ".join(SENTENCES[:3]),
    " ".join(SENTENCES),
    " ".join(SENTENCES * 3),
]


@pytest.fixture(scope="module")
def task() -> Ref:
    import pandas as pd

    frame = pd.DataFrame({"text": SENTENCES[:4], "label": LABELS * 2})
    return kit.task_from_frame("read", frame, validation=0, test=1.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder of a small BERT with a tokenizer of each kind."""
    place = tmp_path_factory.mktemp("tokenizers")

    def folder(kind: str) -> Path:
        made = place / kind.replace(" ", "-")
        save_trained(kind, made)
        own = transformers.AutoTokenizer.from_pretrained(made)
        config = transformers.BertConfig(
            vocab_size=len(own),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            initializer_range=0.5,
            max_position_embeddings=POSITIONS,
            pad_token_id=own.pad_token_id,
            id2label=dict(enumerate(LABELS)),
        )
        torch.manual_seed(0)
        with quiet():
            model = transformers.AutoModelForSequenceClassification.from_config(config)
            model.save_pretrained(made)
        return made

    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_read_as_transformers_reads_them(
    kind: str, folders: Callable[[str], Path], task: Ref
) -> None:
    folder = folders(kind)
    file = folder / "tokenizer_config.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    for window, (padding, cutting) in SETTINGS.items():
        said = {"model_max_length": window, "padding_side": padding, "truncation_side": cutting}
        file.write_text(json.dumps(about | said), encoding="utf-8")
        runner = Runner(Variant(f"hf:{folder}", name="read"), 1, task)
        own = transformers.AutoTokenizer.from_pretrained(folder)
        assert (own.model_max_length, own.truncation_side) == (window, cutting)
        length = min(window, POSITIONS)
        expected = own(TEXTS, truncation=True, max_length=length)["input_ids"]
        assert unpadded(runner.inputs(TEXTS)) == expected
        with quiet():
            whole = own(TEXTS)["input_ids"]
        cut = runner.cut(TEXTS)
        assert cut is not None
        assert cut.tolist() == [len(ids) > length for ids in whole]
        assert max(map(len, whole)) > length


def unpadded(inputs: Any) -> list[list[int]]:
    """Returns the tokens of each row of a batch that its mask says are none of the padding."""
    pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    return [row[mask.bool()].tolist() for row, mask in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_transformers_with_every_tokenizer(
    kind: str, folders: Callable[[str], Path], task: Ref
) -> None:
    folder = folders(kind)
    file = folder / "tokenizer_config.json"
    about = json.loads(file.read_text(encoding="utf-8")) | {"model_max_length": 64}
    file.write_text(json.dumps(about), encoding="utf-8")
    some = [text for text in TEXTS if text or kind != "byte-level"]  # no text, no token: no answer
    expected = answers(folder, some)[:, ::-1]
    runner = Runner(Variant(f"hf:{folder}", name="read"), 1, task)
    for size in (1, 32):
        np.testing.assert_allclose(runner.predict(some, size), expected, atol=1e-4)
