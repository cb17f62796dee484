"""The one file that a pretrained model is read from, where there is one: a GGUF."""

from __future__ import annotations

from pathlib import Path

from kit.architectures.folder import GGUF, local
from kit.assets import assets


def has_checkpoint(source: str) -> bool:
    """Says whether a source is read from one file; fetches nothing."""
    place = local(source)
    return source in assets.language_models() if place is None else place.is_file()


def checkpoint(source: str) -> Path | None:
    """Returns the one file that a source is read from, fetched where it is an asset; else None.

    Raises:
        FileNotFoundError: an asset that is fetched on request alone is absent.
    """
    if not has_checkpoint(source):
        return None
    return local(source) or next(assets.path(source).glob(f"*{GGUF}"))
