"""Sessions whose caches a scheme compresses.

A scheme on the state is a function of what each layer of full attention holds after a call, of
which it names what it wants: `keys` and `values` [b, heads, t, size], `attention` [b, heads, t]
(the probability that each token held received so far, summed over queries, averaged over the query
heads that share a head) and `positions` [b, heads, t]. All are in full precision and as they came,
whatever it gave before. It gives what the next call reads in their place, `(keys, values)`: a
simulation; or the places [b, heads, n] of the tokens kept, as many in every layer: eviction. A call
itself reads its own tokens as they are. A function of `layer`, the empty cache layer of
transformers, gives another in its place: for what is packed.

Layers that keep a window or a recurrent state hold no more with a longer text, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers.cache_utils import DynamicLayer

from kit.runtimes.decoding import CacheSession, Caching, session_of
from kit.runtimes.rows import held
from kit.spec.arguments import call, positional
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import Tensor, nn

ROWS = 256
"""Queries whose attention is computed at once, for its memory."""


class Keeping:
    """A scheme on the state with its arguments.

    Args:
        function: as registered.
        ref: its name and arguments.
    """

    def __init__(self, function: Callable[..., Any], ref: Ref) -> None:
        self.name = ref.name
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
        return found

    def bytes(self, state: Any) -> int:
        """Returns what a state takes in memory; a simulation what it simulates with."""
        return super().bytes(state) - sum(
            each.nbytes for layer in state.layers for each in getattr(layer, "read", {}).values()
        )

    def state_bytes(self, context: int) -> int:
        """Returns the bytes kept of one sequence of so many tokens: asked of empty layers.

        Args:
            context: tokens.
        """
        _, probe = self.prefill(torch.ones(1, 1, dtype=torch.int64))
        total = 0
        for there, fresh in zip(probe.layers, self.start().layers, strict=True):
            keys, values = (getattr(there, name, None) for name in ("keys", "values"))
            if keys is not None:
                with torch.inference_mode():
                    fresh.update(*(torch.zeros(1, each.shape[1], context, each.shape[3],
                                               dtype=each.dtype) for each in (keys, values)))  # fmt: skip
                    if isinstance(fresh, KeptLayer):
                        fresh.settle(observed=False)
            total += self._layer_bytes(there if keys is None else fresh)
        return total

    def _layer_bytes(self, layer: Any) -> int:
        alone = super().start()
        alone.layers = [layer]
        return self.bytes(alone)

    def untouched(self, state: Any) -> bool:
        """Says whether the scheme left a state as it was: the text was too short for it."""
        flags = [layer.touched for layer in state.layers if hasattr(layer, "touched")]
        return bool(flags) and not any(flags)


class KeptLayer(DynamicLayer):
    """Holds keys and values of tokens, and what a scheme lets be read of them.

    Attributes:
        cumulative_length: tokens seen: positions go on counting those that were forgotten.
        read: keys and values that are read in place of those held; empty where these are.
        attention: [b, heads, t], where the scheme asks for it.
        positions: [b, heads, t], where the scheme asks for them.
        touched: whether the scheme changed or forgot anything yet.
    """

    is_croppable = False

    def __init__(self, kept: Keeping) -> None:
        super().__init__()
        self.kept = kept
        self.cumulative_length = 0
        self.read: dict[str, Tensor] = {}
        self.attention: Tensor | None = None
        self.positions: Tensor | None = None
        self.touched = False
        self.watched: Any = None
        self.observed = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds keys and values [b, heads, t, size]; returns those that are read, these at the end.

        Args:
            key_states: of the call's tokens.
            value_states: of the call's tokens.
            *args: not used.
            **kwargs: not used.
        """
        read = dict(self.read)
        keys, values = super().update(key_states, value_states)
        if read:
            keys = torch.cat([read["keys"], key_states], -2)
            values = torch.cat([read["values"], value_states], -2)
        new, (rows, heads, t, _) = key_states.shape[-2], self.keys.shape
        if "attention" in self.kept.asks:
            before = self.keys.new_zeros(rows, heads, 0, dtype=torch.float32)
            before = before if self.attention is None else self.attention
            self.attention = pad(before, (0, t - before.shape[-1]))
        if "positions" in self.kept.asks:
            places = torch.arange(self.cumulative_length, self.cumulative_length + new)
            fresh = places.expand(rows, heads, new)
            old = [] if self.positions is None else [self.positions]
            self.positions = torch.cat([*old, fresh], -1)
        self.cumulative_length += new
        if self.watched is not None:
            self.watched.layer = self
        return keys, values

    def get_seq_length(self) -> int:
        """Returns how many tokens it has seen."""
        return self.cumulative_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns how many tokens are looked at, and how many before them were forgotten."""
        there = self.keys.shape[-2] if self.is_initialized else 0
        return there + query_length, self.cumulative_length - there

    def observe(self, received: Tensor) -> None:
        """Adds the attention [b, heads, t] of a call's queries, summed over query heads."""
        assert self.attention is not None
        grouped = received.unflatten(1, (self.keys.shape[1], -1))
        self.attention = self.attention + grouped.sum(2)
        self.observed = True

    def settle(self, *, observed: bool = True) -> None:
        """Asks the scheme what stays, after a call.

        Args:
            observed: whether the call's attention has to have been seen.

        Raises:
            Undefined: it was not: the model does not attend by torch's own function.
            SpecError: the scheme gave something else than it may.
        """
        if "attention" in self.kept.asks and observed and not self.observed:
            raise Undefined(
                f"{self.kept.name} reads attention, which this model does not compute by torch's "
                "scaled_dot_product_attention"
            )
        self.observed = False
        names = ("keys", "values", "attention", "positions")
        found = self.kept.apply(**{name: getattr(self, name) for name in names})
        shape = tuple(self.keys.shape)
        if isinstance(found, tuple):
            shapes = [tuple(each.shape) for each in found]
            if shapes != [shape, tuple(self.values.shape)]:
                raise SpecError(f"{self.kept.name} gave shapes {shapes} of keys of shape {shape}")
            self.read = dict(zip(("keys", "values"), found, strict=True))
            self.touched |= not torch.equal(found[0], self.keys)
            return
        if not torch.is_tensor(found) or found.is_floating_point() or found.shape[:2] != shape[:2]:
            what = tuple(found.shape) if torch.is_tensor(found) else type(found).__name__
            raise SpecError(
                f"{self.kept.name} gave {what}; expected (keys, values), or whole numbers of shape "
                f"{shape[:2]} + (n,): the places kept"
            )
        if found.shape[-1] < shape[2]:
            self._forget(found.sort(-1).values)

    def _forget(self, places: Tensor) -> None:
        """Keeps the tokens at some places [b, heads, n] alone."""
        self.touched = True
        for name in ("keys", "values", "attention", "positions"):
            tensor = getattr(self, name)
            if tensor is not None:
                index = places if tensor.ndim == 3 else places[..., None]
                index = index.expand(*places.shape, *tensor.shape[3:])
                setattr(self, name, tensor.gather(2, index))


class Watched(TorchFunctionMode):
    """While it lasts, layers are told what attention their tokens receive.

    Args:
        layers: which.
    """

    def __init__(self, layers: Sequence[KeptLayer]) -> None:
        super().__init__()
        self._layers, self.layer = layers, None

    def __enter__(self) -> Any:
        """Has each layer say when it is its turn."""
        for layer in self._layers:
            layer.watched = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Lets them go."""
        for layer in self._layers:
            layer.watched = None
        super().__exit__(*error)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what was called, attention after a layer's turn by `attend`."""
        del types
        given = dict(kwargs or {})
        if func is not scaled_dot_product_attention or self.layer is None:
            return func(*args, **given)
        layer: KeptLayer = self.layer
        self.layer = None
        found, received = attend(*args, **given)
        layer.observe(received)
        return found


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns what torch's `scaled_dot_product_attention` does, and what each key received.

    Args:
        query: [b, heads, t, size].
        key: [b, heads or fewer, all, size].
        value: as the keys.
        attn_mask: of booleans, True for what is seen, or added.
        dropout_p: not used: nothing is trained.
        is_causal: whether a query sees the keys up to its own place.
        scale: of the products; by default one over the root of the size.
        enable_gqa: query heads share keys.

    Returns:
        [b, heads, t, size] and [b, heads, all], summed over queries.
    """
    del dropout_p
    if enable_gqa:
        share = query.shape[1] // key.shape[1]
        key, value = (each.repeat_interleave(share, 1) for each in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    t, every = query.shape[-2], key.shape[-2]
    if is_causal:
        attn_mask = torch.ones(t, every, dtype=torch.bool).tril()
    found, received = [], query.new_zeros(*query.shape[:2], every, dtype=torch.float32)
    for start in range(0, t, ROWS):
        rows = slice(start, start + ROWS)
        scores = (query[..., rows, :] @ key.mT) * scale
        if attn_mask is not None:
            seen = attn_mask if attn_mask.shape[-2] == 1 else attn_mask[..., rows, :]
            boolean = seen.dtype == torch.bool
            scores = scores.masked_fill(~seen, -torch.inf) if boolean else scores + seen
        weights = scores.float().softmax(-1)
        received += weights.sum(-2)
        found.append(weights.to(value.dtype) @ value)
    return torch.cat(found, -2), received
