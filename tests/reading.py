"""Tokenizers of tiny models: words of a fixed list between a family's special tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Reading:
    """A family's special tokens.

    Attributes:
        specials: in the order of their ids.
        template: of one text; `token:2` has token type 2.
        roles: `pad` -> token and so on, as `tokenizer_config.json` names them with `_token`.
        padding_side: where a batch is filled up.
        bytes: a text is its bytes (a family whose class splits texts its own way), not its words.
    """

    specials: Sequence[str]
    template: str
    roles: Mapping[str, str]
    padding_side: str = "right"
    bytes: bool = False

    def vocabulary(self, words: Sequence[str]) -> dict[str, int]:
        """Returns the id of each token: the special ones, then the words or the bytes."""
        from tokenizers.pre_tokenizers import ByteLevel

        rest = sorted(ByteLevel.alphabet()) if self.bytes else words
        return {token: place for place, token in enumerate([*self.specials, *rest])}

    def ids(self) -> dict[str, int]:
        """Returns `pad_token_id` and so on, for the model's configuration."""
        wanted = ("pad", "bos", "eos")
        return {
            f"{role}_token_id": self.specials.index(token)
            for role, token in self.roles.items()
            if role in wanted
        }


ROBERTA = {
    "bos": "<s>",
    "eos": "</s>",
    "cls": "<s>",
    "sep": "</s>",
    "pad": "<pad>",
    "unk": "<unk>",
    "mask": "<mask>",
}

READINGS = {
    "bert": Reading(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "[CLS] $A [SEP]",
        {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    ),
    "roberta": Reading(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>", ROBERTA),
    "t5": Reading(
        ["<pad>", "</s>", "<unk>"], "$A </s>", {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    ),
    "xlm": Reading(
        ["<s>", "</s>", "<pad>", "<unk>"],
        "</s> $A </s>",
        {"bos": "<s>", "cls": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"},
    ),
    "xlnet": Reading(
        ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"],
        "$A <sep> <cls>:2",
        {**ROBERTA, "cls": "<cls>", "sep": "<sep>"},
        padding_side="left",
    ),
    "funnel": Reading(
        ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>"],
        "<cls>:2 $A <sep>",
        {"pad": "<pad>", "unk": "<unk>", "cls": "<cls>", "sep": "<sep>", "mask": "<mask>"},
    ),
    "gpt": Reading(
        ["<|endoftext|>", "<unk>"],
        "",
        {role: "<|endoftext|>" for role in ("bos", "eos", "pad")} | {"unk": "<unk>"},
    ),
    "qwen": Reading(
        ["<|endoftext|>"], "", {"eos": "<|endoftext|>", "pad": "<|endoftext|>"}, bytes=True
    ),
    "llama": Reading(
        ["<unk>", "<s>", "</s>", "<pad>"],
        "<s> $A",
        {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"},
        padding_side="left",
    ),
}


def save_tokenizer(folder: Path, words: Sequence[str], reading: str, **settings: Any) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` of words between special tokens.

    Args:
        folder: is made.
        words: have the ids after the special tokens'.
        reading: a name in `READINGS`.
        settings: of `tokenizer_config.json`, over the family's own.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    family = READINGS[reading]
    vocabulary = family.vocabulary(words)
    if family.bytes:
        made = Tokenizer(models.BPE(vocabulary, merges=[]))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        made = Tokenizer(models.WordLevel(vocabulary, unk_token=family.roles["unk"]))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if family.template:
        used = {part.partition(":")[0] for part in family.template.split()} & {*family.specials}
        made.post_processor = processors.TemplateProcessing(
            single=family.template, special_tokens=[(each, vocabulary[each]) for each in used]
        )
    made.add_special_tokens(list(family.specials))
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "padding_side": family.padding_side,
        **{f"{role}_token": token for role, token in family.roles.items()},
        **settings,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")


SENTENCES = [
    "The cat sat on the mat, and looked at another dog in some old garden.",
    "It was not a good film: 42 of 100 liked it!",
    "Anna said that nobody would ever read Überraschung or naïve café again.",
    "low lower lowest, new newer newest, wide wider widest",
] * 5


def save_trained(kind: str, folder: Path) -> None:
    """Saves a small tokenizer of a real algorithm, in the files that transformers reads.

    Args:
        kind: a name in `KINDS`.
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = KINDS[kind](folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _wordpiece(folder: Path) -> dict[str, Any]:
    from tokenizers import BertWordPieceTokenizer

    made = BertWordPieceTokenizer(lowercase=True)
    made.train_from_iterator(SENTENCES, vocab_size=120, show_progress=False)
    made.save(str(folder / "tokenizer.json"))
    return {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **_roles("bert")}


def _vocabulary_file(folder: Path) -> dict[str, Any]:
    from tokenizers import BertWordPieceTokenizer

    made = BertWordPieceTokenizer(lowercase=False)
    made.train_from_iterator(SENTENCES, vocab_size=120, show_progress=False)
    made.save_model(str(folder))
    return {"tokenizer_class": "BertTokenizer", "do_lower_case": False, **_roles("bert")}


def _byte_level(folder: Path) -> dict[str, Any]:
    made = _bytes()
    made.save(str(folder / "tokenizer.json"))
    return {"tokenizer_class": "GPT2Tokenizer", **_roles("gpt")}


def _merges_file(folder: Path) -> dict[str, Any]:
    _bytes(*READINGS["roberta"].specials).save_model(str(folder))
    return {"tokenizer_class": "RobertaTokenizer", **_roles("roberta")}


def _bytes(*specials: str) -> Any:
    from tokenizers import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    tokens = list(specials or READINGS["gpt"].specials)
    made.train_from_iterator(SENTENCES, 330, show_progress=False, special_tokens=tokens)
    return made


def _bpe(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = list(READINGS["roberta"].specials)
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=tokens, show_progress=False)
    made.train_from_iterator(SENTENCES, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.save(str(folder / "tokenizer.json"))
    return {"tokenizer_class": "PreTrainedTokenizerFast", **_roles("roberta")}


def _unigram(folder: Path) -> dict[str, Any]:
    from tokenizers import SentencePieceUnigramTokenizer, processors

    made = SentencePieceUnigramTokenizer()
    tokens = list(READINGS["t5"].specials)
    made.train_from_iterator(
        SENTENCES, 120, show_progress=False, special_tokens=tokens, unk_token="<unk>"
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    made.save(str(folder / "tokenizer.json"))
    return {"tokenizer_class": "PreTrainedTokenizerFast", **_roles("t5")}


def _roles(reading: str) -> dict[str, str]:
    return {f"{role}_token": token for role, token in READINGS[reading].roles.items()}


KINDS = {
    "wordpiece": _wordpiece,
    "vocab.txt alone": _vocabulary_file,
    "bpe": _bpe,
    "byte-level": _byte_level,
    "vocab.json and merges.txt": _merges_file,
    "unigram": _unigram,
}
