"""Rows of different lengths in one state: what a cache holds is filled on the left."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kit.architectures.states import held_by, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

Parts = Sequence[tuple[Any, Sequence[int]]]
"""Of each state the rows that are wanted."""
TIMED = ("keys", "values")
"""What a layer of a cache holds of every token, as [b, heads, t, size]."""


def together(parts: Parts) -> Any:
    """Returns the rows of nested tuples of tensors [b, ...] of equal shapes, as one such tuple."""
    import torch

    first = parts[0][0]
    if isinstance(first, tuple | list):
        places = range(len(first))
        return tuple(together([(each[k], rows) for each, rows in parts]) for k in places)
    with torch.inference_mode():
        return torch.cat([each[torch.as_tensor([*rows])] for each, rows in parts])


def held(cache: Any) -> list[Tensor]:
    """Returns the tensors of a cache of transformers, each with a row of the batch first."""
    return [each for layer in cache.layers for each in held_by(layer)]


def allocated(cache: Any) -> int:
    """Returns the bytes that a cache keeps in memory: a view keeps all of what it looks at."""
    stores = (each.untyped_storage() for each in held(cache))
    return sum({store.data_ptr(): store.nbytes() for store in stores}.values())


def compact(cache: Any) -> None:
    """Lets go of what the sliding layers of a cache only look past: all of a long prompt."""
    for layer in cache.layers:
        if getattr(layer, "is_sliding", False) and layer.is_initialized:
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()


def merged(cache: Any, parts: Parts) -> Any:
    """Fills an empty cache with rows of others, their ends side by side.

    A shorter row is filled with zeros before its beginning, which `padding` hides; how much of each
    row is filling stands in the cache's `padding` [b]. What all rows would be filled with is left
    out, so that a cache becomes shorter again when its longest row leaves.

    Args:
        cache: an empty one of transformers.
        parts: caches and the rows of them that are wanted.
    """
    import torch

    own = [length(each) - _padding(each)[[*rows]] for each, rows in parts]
    longest = max(int(each.max()) for each in own)
    cache.padding = longest - torch.cat(own)
    with torch.inference_mode():
        layers = zip(*(each.layers for each, _ in parts), strict=True)
        cache.layers = [_layer(each, [rows for _, rows in parts], longest) for each in layers]
    return cache


def _layer(layers: Sequence[Any], rows: Sequence[Sequence[int]], longest: int) -> Any:
    """Returns one layer of a merged cache; a sliding layer keeps no more than its window."""
    import torch

    made = copy.copy(layers[0])
    for name, value in vars(layers[0]).items():
        parts = [(getattr(layer, name), each) for layer, each in zip(layers, rows, strict=True)]
        if name in TIMED and value is not None:
            width = min(longest, max(each.shape[-2] for each, _ in parts))
            ends = [_ends(each, width, chosen) for each, chosen in parts]
            setattr(made, name, torch.cat(ends))
        elif isinstance(value, dict):
            joined = {k: _joined([(each[k], chosen) for each, chosen in parts]) for k in value}
            setattr(made, name, joined)
        else:
            setattr(made, name, _joined(parts))
    if hasattr(made, "cumulative_length"):
        made.cumulative_length = longest
    return made


def _joined(parts: Parts) -> Any:
    """Returns a layer's value of the wanted rows; what is no tensor of rows is alike in all."""
    first = parts[0][0]
    return together(parts) if tensors_of(first) else first


def _ends(value: Tensor, width: int, rows: Sequence[int]) -> Tensor:
    """Returns the last tokens of [b, heads, t, size] of some rows, filled on the left."""
    import torch

    kept = value[[*rows], :, -width:]
    return torch.nn.functional.pad(kept, (0, 0, width - kept.shape[-2], 0))


def length(cache: Any) -> int:
    """Returns how many tokens a cache has seen, filling included; 0 where none of its layers says.

    Recurrent layers hold nothing that is as long as the text.
    """
    told = [layer for layer in cache.layers if getattr(layer, "keys", None) is not None]
    return max((int(layer.get_seq_length()) for layer in told), default=0)


def _padding(cache: Any) -> Tensor:
    import torch

    found: Tensor | None = getattr(cache, "padding", None)
    return torch.zeros(len(held(cache)[0]), dtype=torch.int64) if found is None else found


def padding(cache: Any, ids: Tensor, *, placed: bool) -> dict[str, Tensor]:
    """Returns the arguments that tell a model what of a cache is filling; none where nothing is.

    Args:
        cache: of transformers.
        ids: the next tokens [b, t].
        placed: whether the model takes `position_ids`; others count by the mask.
    """
    import torch

    filled: Tensor | None = getattr(cache, "padding", None)
    if filled is None or not filled.any():
        return {}
    places = torch.arange(length(cache) + ids.shape[1])
    told = {"attention_mask": (places >= filled[:, None]).long()}
    if placed:
        told["position_ids"] = places[-ids.shape[1] :] - filled[:, None]
    return told
