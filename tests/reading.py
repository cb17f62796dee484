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
