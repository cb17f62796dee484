"""What decoding keeps of the tokens so far: the bytes of a language model's cache."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.spec.checking import Undefined, reason

if TYPE_CHECKING:
    from torch import Tensor, nn


class Layer(NamedTuple):
    """What one layer of a cache holds of one sequence.

    Attributes:
        fixed: bytes that do not grow: of a convolution or a recurrence.
        token: bytes of each token: keys and values, or what else grows with the text.
        most: tokens that it keeps at most; infinite but for a sliding window, which keeps one less
            than the window: the newest token sees itself beside.
    """

    fixed: int
    token: int
    most: float

    def bytes(self, context: int) -> int:
        """Returns what it holds after so many tokens."""
        return self.fixed + self.token * int(min(context, self.most))


def state_bytes(module: nn.Module, context: int) -> int:
    """Returns the bytes that decoding keeps for one sequence after `context` tokens.

    The architecture says it (`state_bytes(context)`); of a model of transformers its cache does.

    Raises:
        Undefined: neither does.
    """
    if hasattr(module, "state_bytes"):
        method: Callable[..., int] = module.state_bytes  # type: ignore[assignment]
        sizes = {parameter.element_size() for parameter in module.parameters()}
        if "itemsize" in inspect.signature(method).parameters and len(sizes) == 1:
            return int(method(context, itemsize=sizes.pop()))
        return int(method(context))
    if not (hasattr(module, "config") and hasattr(module, "generate")):
        name = type(module).__name__
        raise Undefined(f"{name} has no method state_bytes(context), so its state is not known")
    return sum(layer.bytes(context) for layer in cache_layers(module))


def cache_layers(module: Any) -> list[Layer]:
    """Returns what each layer of a model's cache holds, told from its caches of one and two tokens.

    So it is right for whatever transformers keeps: keys and values by heads, the latent
    vectors of multi-head latent attention, the states of convolutions and recurrences. What a cache
    holds beside its layers is one more.

    Args:
        module: a causal model of transformers; two short passes are made.

    Raises:
        Undefined: it gives no cache.
    """
    one, two = (_parts(_filled(module, tokens)) for tokens in (1, 2))
    found = []
    for first, second in zip(one, two, strict=True):
        fewer, more = (sum(each.nbytes for each in held_by(part)) for part in (first, second))
        most = first.sliding_window - 1 if getattr(first, "is_sliding", False) else math.inf
        found.append(Layer(2 * fewer - more, more - fewer, most))
    if not any(each.fixed or each.token for each in found):
        raise Undefined(f"{type(module).__name__} gives no cache, so its state is not known")
    return found


def attention_bytes(config: Any, context: int, itemsize: int = 4, batch: int = 1) -> int:
    """Returns the bytes of keys and values, by the formula of grouped-query attention.

    2 x layers x key-value heads x head size x min(context, window - 1) x bytes a number x batch.
    It is what a reader checks `cache_layers` with, for models whose layers all are such attention.

    Args:
        config: of transformers.
        context: tokens of each sequence.
        itemsize: bytes a number.
        batch: sequences.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    slides = kinds.count("sliding_attention") if kinds else config.num_hidden_layers * bool(window)
    kept = (config.num_hidden_layers - slides) * context
    kept += slides * min(context, (window or 0) - 1) if slides else 0
    return int(2 * heads * size * kept * itemsize * batch)


def held_by(layer: Any) -> list[Tensor]:
    """Returns the tensors of a layer of a cache, each with a row of the batch first."""
    return [each for value in vars(layer).values() for each in tensors_of(value)]


def tensors_of(value: Any) -> list[Tensor]:
    """Returns the tensors of rows in what a cache holds under one name."""
    import torch

    if isinstance(value, dict | list | tuple):
        inside = value.values() if isinstance(value, dict) else value
        return [each for inner in inside for each in tensors_of(inner)]
    return [value] if isinstance(value, torch.Tensor) and value.ndim > 1 else []


def _parts(cache: Any) -> list[Any]:
    """Returns the layers of a cache, and what it holds beside them."""
    whole = vars(cache) if hasattr(cache, "__dict__") else {"state": cache}
    rest = {name: value for name, value in whole.items() if name != "layers"}
    return [*whole.get("layers", ()), SimpleNamespace(**rest)]


def _filled(module: Any, tokens: int) -> Any:
    """Returns the cache that a model makes of one sequence of so many tokens; None for none."""
    import torch

    ids = torch.zeros(1, tokens, dtype=torch.long, device=module.device)
    try:
        with torch.no_grad():
            output = module(input_ids=ids, use_cache=True)
    except Exception as error:  # whatever a model raises
        raise Undefined(f"{type(module).__name__} fails on {tokens} tokens: {reason(error)}") from (
            error
        )
    names = ("past_key_values", "cache_params", "state")
    return next((each for name in names if (each := getattr(output, name, None))), None)
