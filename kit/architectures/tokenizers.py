"""Text to token ids and back, and batches of ids.

Bytes are the default: they need no training, no vocabulary file and no choice that favours an
architecture, and bits per byte follow directly. Pretrained models bring their own tokenizer.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kit.architectures.folder import TOKENIZER_FILES
from kit.spec.checking import SpecError, reason, shown

if TYPE_CHECKING:
    import torch


class Tokenizer(Protocol):
    """What the kit asks of a tokenizer.

    Attributes:
        vocab_size: ids are below it.
        pad_id: fills a batch on the right; the mask, not the id, says what is padding.
        separator_id: stands before each document of a causal model's text.
        opening: what the model expects before a text that it is to go on with.
        ends: ids with which a model says that it has come to an end.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def pad_id(self) -> int: ...

    @property
    def separator_id(self) -> int: ...

    @property
    def opening(self) -> Sequence[int]: ...

    @property
    def ends(self) -> Collection[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids."""

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the ids of each text, cut after `max_length` tokens."""


class ByteTokenizer:
    """UTF-8 bytes as ids; 0 separates documents, so NUL bytes in a text are dropped.

    What UTF-8 cannot say (lone surrogates) becomes a question mark.
    """

    vocab_size = 256
    pad_id = 0
    separator_id = 0
    opening: Sequence[int] = (0,)
    ends: Collection[int] = (0,)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of bytes; what is no UTF-8 becomes a replacement character."""
        return bytes(ids).decode("utf-8", errors="replace")

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the bytes of each text, cut after `max_length` bytes."""
        encoded = (text.encode("utf-8", errors="replace").replace(b"\0", b"") for text in texts)
        return [list(data[:max_length]) for data in encoded]


class HFTokenizer:
    """The tokenizer of a saved model, as transformers reads it.

    Args:
        folder: what `save_pretrained` wrote: of a fast or of a slow tokenizer.
        special: whether `encode` adds the model's special tokens. A language model's text gets its
            one start token from whoever scores it.
        embedded: ids that the model knows; None where no model is given.

    Raises:
        FileNotFoundError: the folder has no tokenizer.
        SpecError: on first use, where its files are broken, or gives an id beyond `embedded`.
    """

    def __init__(
        self, folder: str | Path, *, special: bool = True, embedded: int | None = None
    ) -> None:
        self.folder, self.special, self.embedded = Path(folder), special, embedded
        if not any((self.folder / name).is_file() for name in TOKENIZER_FILES):
            raise FileNotFoundError(
                f"{self.folder} holds no tokenizer (none of {', '.join(TOKENIZER_FILES)}); save "
                "the model's there with AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
            )

    @cached_property
    def library(self) -> Any:
        """The tokenizer of transformers."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.folder, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # whatever a library meets in a broken folder
            raise SpecError(
                f"the tokenizer in {self.folder} could not be read: {reason(error)}"
            ) from error
        tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = (
            True  # whoever cuts tells how many texts
        )
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return len(self.library)

    @property
    def pad_id(self) -> int:
        """The padding token's id; the end token's or 0 where there is none."""
        return self._first("pad_token_id", "eos_token_id")

    @property
    def separator_id(self) -> int:
        """The id of the begin token, else of the end token, else 0."""
        return self._first("bos_token_id", "eos_token_id")

    @cached_property
    def opening(self) -> Sequence[int]:
        """The special tokens that it puts before a text by itself, such as a begin token."""
        made = self.library("a", return_special_tokens_mask=True)
        pairs = zip(made["input_ids"], made["special_tokens_mask"], strict=True)
        return [token for token, _ in itertools.takewhile(lambda pair: pair[1], pairs)]

    @cached_property
    def ends(self) -> Collection[int]:
        """The end token, if there is one."""
        found = self.library.eos_token_id
        return () if found is None else (int(found),)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids, without special tokens."""
        return str(self.library.decode(list(ids), skip_special_tokens=True))

    def _first(self, *names: str) -> int:
        found = (getattr(self.library, name, None) for name in names)
        return next((int(number) for number in found if number is not None), 0)

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the ids of each text, cut to `max_length` on the tokenizer's own side."""
        ids: list[list[int]] = self.inputs(texts, max_length)["input_ids"]
        return ids

    def inputs(
        self, texts: Sequence[str | tuple[str, str]], max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        """Returns what the tokenizer makes of texts or pairs: a list of numbers each, not padded.

        Args:
            texts: texts, or all of them pairs.
            max_length: tokens at which each is cut.
        """
        if not texts:
            return {"input_ids": []}
        both = [(text,) if isinstance(text, str) else text for text in texts]
        made = self.library(
            *([_clean(text) for text in side] for side in zip(*both, strict=True)),
            add_special_tokens=self.special,
            truncation=max_length is not None,
            max_length=max_length,
            return_special_tokens_mask=True,
        )
        highest = max((max(ids) for ids in made["input_ids"] if ids), default=0)
        if self.embedded is not None and highest >= self.embedded:
            raise SpecError(self._unknown(highest))
        return dict(made)

    def _unknown(self, token: int) -> str:
        known = self.library.vocab_size
        why = (
            f"it knows {known} of its own: is it another model's?"
            if known > self.embedded
            else "a token was added without model.resize_token_embeddings(len(tokenizer))"
        )
        return (
            f"{self.folder.name}: its tokenizer gives token {token}, "
            f"{shown(self.library.convert_ids_to_tokens(token))}, and its embedding has "
            f"{self.embedded} rows; {why}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _hf_tokenizer, (self.folder, self.special, self.embedded)


def _hf_tokenizer(folder: Path, special: bool, embedded: int | None) -> HFTokenizer:
    return HFTokenizer(folder, special=special, embedded=embedded)


def _clean(text: str) -> str:
    """Returns a text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def pad(
    ids: Sequence[Sequence[int]], pad_id: int, *, width: int = 1, left: bool = False
) -> dict[str, torch.Tensor]:
    """Returns a batch padded to its longest row.

    Args:
        ids: one row of ids an item.
        pad_id: fills the rest.
        width: tokens that a row gets at least.
        left: whether it is filled on the left instead of the right.

    Returns:
        `input_ids` and `attention_mask` (1 is a token, 0 padding), int64 [b, t] with t >= 1.
    """
    import torch

    width = max(width, *map(len, ids), 1)
    input_ids = torch.full((len(ids), width), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(ids), width), dtype=torch.int64)
    for index, row in enumerate(ids):
        place = slice(width - len(row), width) if left else slice(len(row))
        input_ids[index, place] = torch.as_tensor(row, dtype=torch.int64)
        mask[index, place] = 1
    return {"input_ids": input_ids, "attention_mask": mask}
