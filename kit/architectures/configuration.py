"""What a pretrained model's configuration says, and how many tokens it reads at once.

Where tokenizer and configuration disagree, the one that transformers' model uses wins, and
`remarks` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.architectures.folder import config_folder
from kit.architectures.pretrained import UNLIMITED
from kit.architectures.tokenizers import HFTokenizer
from kit.machine.quiet import import_quietly
from kit.spec.checking import SpecError, reason, shown


def config_of(folder: Path) -> Any:
    """Returns transformers' configuration of a folder; of an adapter alone its base's.

    Raises:
        SpecError: it cannot be read.
    """
    from transformers import AutoConfig

    folder = config_folder(folder)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a library meets in a broken file
        raise SpecError(f"{folder}: config.json could not be read: {reason(error)}") from error


def window(config: Any, tokenizer: HFTokenizer, asked: int | None = None) -> int | None:
    """Returns the tokens that a model reads at once, None where there is no limit.

    Args:
        config: transformers' configuration of the model.
        tokenizer: the model's.
        asked: what is wanted instead of the least of what the tokenizer says (`model_max_length`)
            and of the positions that the model has.

    Raises:
        SpecError: that is more than the model has positions, or leaves no token of a text.
    """
    if asked is not None:
        most, added = positions(config), tokenizer.library.num_special_tokens_to_add()
        if asked > (most or asked):
            raise SpecError(f"length={asked}: the model has {most} positions; expected fewer")
        if tokenizer.special and asked <= added:
            raise SpecError(f"length={asked}: the tokenizer adds {added}; expected more")
        return asked
    said = tokenizer.library.model_max_length
    limits = [int(one) for one in (said, positions(config)) if one is not None and one < UNLIMITED]
    if limits and min(limits) < 1:
        raise SpecError(
            f"{tokenizer.folder.name}: model_max_length is {shown(said)} in tokenizer_config.json; "
            "expected the tokens that the model reads at once"
        )
    return min(limits, default=None)


def positions(config: Any) -> int | None:
    """Returns the positions that a model has, None where it does not count them.

    RoBERTa's kind counts from after the padding id, so that its table has rows no token reaches.
    """
    text = config.get_text_config()
    most = getattr(text, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return None
    return most - _first_position(text)


def _first_position(config: Any) -> int:
    import_quietly()
    import torch
    from transformers import AutoModel

    build: Any = AutoModel.from_config
    try:
        with torch.device("meta"):
            parts = [*build(config).named_modules()]
    except Exception:  # no such model without its head
        return 0
    tables = [part for name, part in parts if name.split(".")[-1] == "position_embeddings"]
    padding = [getattr(table, "padding_idx", None) for table in tables]
    return padding[0] + 1 if padding and padding[0] is not None else 0


def remarks(config: Any, tokenizer: HFTokenizer) -> Iterator[str]:
    """Yields where configuration and tokenizer disagree, and which of them counts."""
    library, text = tokenizer.library, config.get_text_config()
    for role in ("pad", "bos", "eos"):
        ours, theirs = (getattr(one, f"{role}_token_id", None) for one in (text, library))
        if isinstance(ours, int) and isinstance(theirs, int) and ours != theirs:
            wins = "the first, which the model passes over" if role == "pad" else "the second"
            yield (
                f"{role}_token_id is {ours} in config.json and {theirs} in the tokenizer: "
                f"{wins}, counts"
            )
    most, said = positions(config), library.model_max_length
    if most is not None and said > most:
        told = "nothing" if said >= UNLIMITED else f"{said:,}"
        yield (
            f"the tokenizer says {told} of a longest text and the model has {most:,} positions: "
            "texts are cut there"
        )
