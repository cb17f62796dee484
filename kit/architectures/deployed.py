"""How a pretrained model reads texts: by its own tokenizer, cut at its own window, padded so that a
batch gives what each text alone gives.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.architectures.tokenizers import HFTokenizer, pad
from kit.machine.quiet import import_quietly
from kit.spec.checking import SpecError

if TYPE_CHECKING:
    from torch import Tensor

FILLER = "the text is as long as it has to be"


@dataclass(frozen=True)
class Row:
    """What a tokenizer makes of one text or pair.

    Attributes:
        inputs: lists of numbers by the name of the model's input.
        special: which of the tokens the tokenizer added.
        cut: whether the text was longer.
    """

    inputs: Mapping[str, list[int]]
    special: list[int]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class DeployedTexts:
    """Texts, or pairs of texts, to the inputs of a sequence classifier of transformers.

    Attributes:
        tokenizer: the model's.
        names: of the inputs that the model takes of what the tokenizer gives.
        pad_id: the id that the model passes over; None where it knows none.
        left: whether a batch is padded on the left: for a model that reads its answer at the last
            position, whatever stands there.
        source: for messages.
    """

    tokenizer: HFTokenizer
    names: tuple[str, ...]
    pad_id: int | None
    left: bool
    source: str

    def encode(self, examples: Sequence[Any], length: int | None = None) -> list[Row]:
        """Returns a row for each text or pair, cut after `length` tokens.

        Raises:
            SpecError: an example is of another modality, or a token has no row in the embedding.
        """
        rows = self._rows(examples, None)
        long = [k for k, row in enumerate(rows) if length is not None and len(row) > length]
        if long:
            short = self._rows([examples[k] for k in long], length)
            for k, row in zip(long, short, strict=True):
                rows[k] = Row(row.inputs, row.special, cut=True)
        return rows

    def _rows(self, examples: Sequence[Any], length: int | None) -> list[Row]:
        for example in examples:
            if not isinstance(example, str | tuple):
                raise SpecError(f"the model reads texts; it was given a {type(example).__name__}")
        made = self.tokenizer.inputs(list(examples), length)
        special = made.get("special_tokens_mask", [])
        return [
            Row({name: made[name][k] for name in self.names if name in made}, special[k])
            for k in range(len(examples))
        ]

    def filled(self, examples: Sequence[Any], length: int) -> list[Row]:
        """Returns rows of exactly `length` tokens: each text followed by itself.

        The tokens that the tokenizer adds stay where they are, so that a text has as many ends as
        before.

        Raises:
            SpecError: the tokens that the tokenizer adds do not fit in.
        """
        return [self._filled(row, length) for row in self.encode(examples, length)]

    def _filled(self, row: Row, length: int) -> Row:
        own = [k for k, special in enumerate(row.special) if not special]
        if not own:
            if len(row) != length:
                raise SpecError(f"length={length}: a text without tokens cannot be filled up")
            return row
        last, more = own[-1], length - len(row)
        if more < 0:
            raise SpecError(f"length={length} is less than the {len(row)} tokens of an empty text")
        order = [*range(last + 1), *itertools.islice(itertools.cycle(own), more)]
        order += range(last + 1, len(row))
        inputs = {name: [values[k] for k in order] for name, values in row.inputs.items()}
        return Row(inputs, [row.special[k] for k in order])

    def made_up(self, count: int, length: int) -> list[Row]:
        """Returns `count` times the same text of `length` tokens."""
        return self.filled([FILLER], length) * count

    def collate(self, rows: Sequence[Row], width: int = 1) -> dict[str, Tensor]:
        """Returns the model's inputs, int64 [b, t].

        Raises:
            SpecError: rows of different lengths, or several at all, and no id to fill with.
        """
        if self.pad_id is None and (len(rows) > 1 or any(len(row) < width for row in rows)):
            raise SpecError(
                f"{self.source} has no padding token, so that it answers one text at a time: ask "
                "for batch_size=1, or name a pad_token_id in its config.json"
            )
        ids = [row.inputs["input_ids"] for row in rows]
        made = pad(ids, self.pad_id or 0, width=width, left=self.left)
        for name in rows[0].inputs:
            if name not in made:
                fill = self.tokenizer.library.pad_token_type_id
                values = [row.inputs[name] for row in rows]
                made[name] = pad(values, fill, width=width, left=self.left)["input_ids"]
        return {name: made[name] for name in self.names if name in made}


def deployed_texts(config: Any, tokenizer: HFTokenizer, source: str) -> DeployedTexts:
    """Returns how a sequence classifier reads texts.

    Args:
        config: transformers' configuration of the model.
        tokenizer: the model's.
        source: for messages.
    """
    import_quietly()
    from transformers import AutoModelForSequenceClassification

    model_class: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
    takes = inspect.signature(model_class.forward).parameters
    given = tokenizer.library.model_input_names
    names = tuple(n for n in ("input_ids", "attention_mask", "token_type_ids")
                  if n in takes and n in {*given, "input_ids"})  # fmt: skip
    pad_id = getattr(config.get_text_config(), "pad_token_id", None)
    return DeployedTexts(
        tokenizer,
        names,
        tokenizer.library.pad_token_id if pad_id is None else pad_id,
        getattr(config, "summary_type", "") == "last",
        source,
    )
