"""Sessions whose caches a scheme compresses.

A scheme on the state is a function of what each layer of full attention holds after a call, of
which it names what it wants: `keys` and `values` [b, heads, t, size], `attention` [b, heads, t]
(the probability that each token held received so far, summed over queries and over the query heads
that share a head) and `positions` [b, heads, t]. All are in full precision and as they came,
whatever it gave before. It gives what the next call reads in their place, `(keys, values)`: a
simulation; or the places [b, heads, n] of the tokens kept, as many in every layer: eviction. A call
itself reads its own tokens as they are: logits depend on how a text is cut into calls. A function
of `layer`, the empty cache layer of transformers, gives another in its place: for what is packed.

Layers that keep a window or a recurrent state hold no more with a longer text, and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicLayer

from kit.runtimes.decoding import CacheSession, Caching, session_of
from kit.runtimes.kept_layer import KeptLayer
from kit.runtimes.observed import Watched
from kit.spec.arguments import call, positional
from kit.spec.checking import Undefined
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import Tensor, nn


class Keeping:
    """A scheme on the state with its arguments.

    Args:
        function: as registered.
        ref: its name and arguments.
        name: what messages call it; by default its own.
    """

    def __init__(self, function: Callable[..., Any], ref: Ref, name: str = "") -> None:
        self.name = name or ref.name
        self.asks = frozenset(positional(function))
        self.apply = partial(call, function, ref)

    def layer(self, plain: Any) -> Any:
        """Returns what takes the place of an empty layer of a cache."""
        if type(plain) is not DynamicLayer:
            return plain
        return self.apply(layer=plain) if "layer" in self.asks else KeptLayer(self)

    def session(self, model: nn.Module) -> LossySession:
        """Returns a session of a model.

        Raises:
            Undefined: it has no cache of keys and values that grows.
        """
        self.notes(model)
        return LossySession(model, self)

    def notes(self, model: nn.Module) -> tuple[str, ...]:
        """Returns a sentence where some layers stay as they are; raises as `session` does."""
        plain = session_of(model)
        layers = plain.start().layers if isinstance(plain, CacheSession) else []
        treated = sum(type(layer) is DynamicLayer for layer in layers)
        if not treated:
            raise Undefined(
                f"{self.name} acts on keys and values of all tokens, and {type(model).__name__} "
                "keeps no such cache"
            )
        if treated == len(layers):
            return ()
        return (
            f"{self.name} acts on {treated} of {len(layers)} layers: the others keep a window or "
            "a recurrent state",
        )


class LossySession(Caching):
    """Decodes by a cache that a scheme compresses: other logits than by going forward, by design.

    Attributes:
        lossy: which says so; nobody may compare the two.
    """

    lossy = True

    def __init__(self, model: nn.Module, kept: Keeping) -> None:
        super().__init__(model)
        self._kept = kept

    def start(self) -> Any:
        """Returns the state before the first token."""
        cache = super().start()
        cache.layers = [self._kept.layer(layer) for layer in cache.layers]
        return cache

    def _step(self, state: Any, ids: Tensor, **more: Any) -> Tensor:
        layers = [layer for layer in state.layers if isinstance(layer, KeptLayer)]
        if "attention" in self._kept.asks:
            with Watched(layers):
                found = super()._step(state, ids, **more)
        else:
            found = super()._step(state, ids, **more)
        with torch.inference_mode():
            for layer in layers:
                layer.settle()
                if layer.cumulative_length > layer.keys.shape[2] and not self._placed:
                    raise Undefined(  # as with ALiBi, which would count those held alone
                        f"{self._kept.name} forgets tokens, and {type(self.model).__name__} takes "
                        "no position_ids: the others would move up"
                    )
        return found

    def bytes(self, state: Any) -> int:
        """Returns what a state takes in memory; a simulation what it simulates with."""
        read = [getattr(layer, "read", {}) for layer in state.layers]
        simulated: int = sum(one.nbytes for each in read for one in each.values())
        return super().bytes(state) - simulated

    def state_bytes(self, context: int) -> int:
        """Returns the bytes kept of one sequence: empty layers are given so many tokens.

        Args:
            context: tokens.
        """
        state = self.start()
        _, probe = self.prefill(torch.ones(1, 1, dtype=torch.int64))
        with torch.inference_mode():
            for place, (fresh, one) in enumerate(zip(state.layers, probe.layers, strict=True)):
                if getattr(one, "keys", None) is None:
                    state.layers[place] = one  # as large for a longer text
                    continue
                fresh.update(_zeros(one.keys, context), _zeros(one.values, context))
                if isinstance(fresh, KeptLayer):
                    fresh.settle(observed=False)
        return self.bytes(state)

    def untouched(self, state: Any) -> bool:
        """Says whether the scheme left a state as it was: the text was too short for it."""
        flags = [layer.touched for layer in state.layers if hasattr(layer, "touched")]
        return bool(flags) and not any(flags)


def _zeros(like: Tensor, tokens: int) -> Tensor:
    """Returns zeros [1, heads, tokens, size] of one token's type and sizes."""
    return like.new_zeros(1, like.shape[1], tokens, like.shape[3])
