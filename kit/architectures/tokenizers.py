"""Text to token ids and back, and batches of ids.

Bytes are the default: they need no training, no vocabulary file and no choice that favours an
architecture, and bits per byte follow directly. Pretrained models bring their own tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kit.values import SpecError, read_object

if TYPE_CHECKING:
    import torch


class Tokenizer(Protocol):
    """What the kit asks of a tokenizer.

    Attributes:
        vocab_size: ids are below it.
        pad_id: fills a batch on the right; the mask, not the id, says what is padding.
        separator_id: stands before each document of a causal model's text.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def pad_id(self) -> int: ...

    @property
    def separator_id(self) -> int: ...

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the ids of each text, cut after `max_length` tokens."""


class ByteTokenizer:
    """UTF-8 bytes as ids; 0 separates documents, so NUL bytes in a text are dropped.

    What UTF-8 cannot say (lone surrogates) becomes a question mark.
    """

    vocab_size = 256
    pad_id = 0
    separator_id = 0

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the bytes of each text, cut after `max_length` bytes."""
        encoded = (text.encode("utf-8", errors="replace").replace(b"\0", b"") for text in texts)
        return [list(data[:max_length]) for data in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids; separators vanish, broken characters become U+FFFD."""
        return bytes(i for i in ids if i != self.separator_id).decode("utf-8", errors="replace")


class HFTokenizer:
    """The fast tokenizer of a saved model, by the `tokenizers` library alone.

    Args:
        folder: holds `tokenizer.json`, and `tokenizer_config.json` that names the special tokens.

    Raises:
        FileNotFoundError: the folder has no `tokenizer.json`.
        SpecError: on first use, where its files are broken.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "tokenizer.json").is_file():
            raise FileNotFoundError(
                f"{self.folder} holds no tokenizer.json; save one there with "
                "AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
            )

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer as Fast

        path = self.folder / "tokenizer.json"
        try:
            tokenizer = Fast.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise SpecError(f"{path} is no tokenizer: {error}") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _special(self) -> dict[str, int]:
        path = self.folder / "tokenizer_config.json"
        settings = read_object(path) if path.is_file() else {}
        found = {}
        for role in ("pad_token", "bos_token", "eos_token", "unk_token"):
            value = settings.get(role)
            token = value.get("content") if isinstance(value, dict) else value
            if isinstance(token, str) and self._tokenizer.token_to_id(token) is not None:
                found[role] = int(self._tokenizer.token_to_id(token))
        return found

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def pad_id(self) -> int:
        """The padding token's id; the end token's or 0 where there is none."""
        return self._special.get("pad_token", self._special.get("eos_token", 0))

    @property
    def separator_id(self) -> int:
        """The id of the begin token, else of the end token, else 0."""
        return self._special.get("bos_token", self._special.get("eos_token", 0))

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Returns the ids of each text with the model's special tokens, cut to `max_length`."""
        if max_length is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_length)
        clean = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean)]

    def __reduce__(self) -> tuple[Any, ...]:
        return HFTokenizer, (self.folder,)


def pad(
    ids: Sequence[Sequence[int]], pad_id: int, multiple: int = 1, width: int = 1
) -> dict[str, torch.Tensor]:
    """Returns a batch padded on the right to its longest row.

    Args:
        ids: one row of ids an item.
        pad_id: fills the rest.
        multiple: the width is rounded up to a multiple of it.
        width: tokens that a row gets at least.

    Returns:
        `input_ids` and `attention_mask` (1 is a token, 0 padding), int64 [b, t] with t >= 1.
    """
    import torch

    longest = max(width, *map(len, ids), 1)
    width = -(-longest // multiple) * multiple
    input_ids = torch.full((len(ids), width), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(ids), width), dtype=torch.int64)
    for index, row in enumerate(ids):
        input_ids[index, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
        mask[index, : len(row)] = 1
    return {"input_ids": input_ids, "attention_mask": mask}
