"""Sessions of PyTorch modules: each goes forward, and those that keep a state decode too."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kit.architectures.outputs import logits
from kit.runtimes.rows import allocated, compact, held, merged, padding, together
from kit.runtimes.session import Inputs

if TYPE_CHECKING:
    from torch import Tensor, nn

ATTENTION = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers that look at what a mask lets them, wherever in the input it stands."""


class ModuleSession:
    """Goes forward.

    Args:
        model: logits of keyword arguments.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns the logits of a padded batch."""
        import torch

        with torch.inference_mode():
            return logits(self.model(**inputs))


class StateSession(ModuleSession):
    """Decodes by a module's own `decode(ids, state=None) -> (logits, state)`.

    Its state is a tuple of tensors, or of such tuples, each with a row of the batch first.
    """

    def prefill(self, ids: Tensor) -> tuple[Tensor, Any]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state = [None]
        return self.step(state, ids)[:, -1], state

    def step(self, state: Any, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        import torch

        with torch.inference_mode():
            found: Tensor
            found, state[0] = self.model.decode(ids, state[0])
        return found

    def fork(self, state: Any, n: int) -> Any:
        """Returns a new state with every row n times."""
        return [_mapped(state[0], lambda each: each.repeat_interleave(n, 0))]

    def merge(self, parts: Sequence[tuple[Any, Sequence[int]]]) -> Any:
        """Returns a new state of some rows of several; nothing in it is as long as the text."""
        states = [(state[0], rows) for state, rows in parts]
        return [together(states)]

    def bytes(self, state: Any) -> int:
        """Returns what a state takes in memory."""
        sizes: list[int] = []
        _mapped(state[0], lambda each: sizes.append(each.nbytes))
        return sum(sizes)


def _mapped(state: Any, change: Any) -> Any:
    several = isinstance(state, tuple | list)
    return tuple(_mapped(each, change) for each in state) if several else change(state)


class Caching(ModuleSession):
    """Decodes by the cache of a language model of transformers, rows of one length."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        takes = inspect.signature(model.forward).parameters
        self._cache = "cache_params" if "cache_params" in takes else "past_key_values"
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._placed = "position_ids" in takes

    def prefill(self, ids: Tensor) -> tuple[Tensor, Any]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""
        state = self.start()
        return self._step(state, ids, **self._last)[:, -1], state

    def start(self) -> Any:
        """Returns the state before the first token."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def step(self, state: Any, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""
        return self._step(state, ids)

    def _step(self, state: Any, ids: Tensor, **more: Any) -> Tensor:
        import torch

        with torch.inference_mode():
            more |= padding(state, ids, placed=self._placed)
            given = {"input_ids": ids, self._cache: state, "use_cache": True}
            found = logits(self.model(**given, **more))
            if ids.shape[1] > 1:
                compact(state)
            return found

    def fork(self, state: Any, n: int) -> Any:
        """Returns a new state with every row n times."""
        rows = range(len(held(state)[0]))
        return merged(self.start(), [(state, [row for row in rows for _ in range(n)])])

    def bytes(self, state: Any) -> int:
        """Returns what a state takes in memory."""
        return allocated(state)


class CacheSession(Caching):
    """Also puts rows of different lengths into one state."""

    def merge(self, parts: Sequence[tuple[Any, Sequence[int]]]) -> Any:
        """Returns a new state of some rows of several; shorter rows are filled on their left."""
        return merged(self.start(), parts)


class TreeSession(CacheSession):
    """Also answers many continuations at once, packed in one row: a model of attention alone."""

    def tree(
        self,
        state: Any,
        ids: Tensor,
        positions: Tensor,
        attends: Tensor,
        asked: Tensor,
        *,
        grows: bool = False,
    ) -> tuple[Tensor, Any]:
        """Returns the logits of tokens of which each sees the state and some of the others.

        Args:
            state: what came before, of one row; None: nothing.
            ids: [t].
            positions: [t] of each token in its own sequence.
            attends: bool [t, t], which of these tokens each may look at.
            asked: [k] places of the tokens whose logits are wanted.
            grows: the tokens are one sequence, and the state after them is wanted.

        Returns:
            Logits [k, v], and the state; the old one stays as it is.
        """
        import torch

        from kit.runtimes.attention import Narrow

        past = 0 if state is None else int(state.get_seq_length())
        moved = self.start() if state is None else _branch(state)
        before = torch.ones(len(ids), past, dtype=torch.bool)
        allowed = torch.cat([before, attends], 1)
        with torch.inference_mode(), Narrow(allowed):
            output = self.model(
                input_ids=ids[None],
                position_ids=positions[None],
                attention_mask=self._masks(past, positions, allowed),
                past_key_values=moved,
                use_cache=True,
                logits_to_keep=asked,
            )
        return logits(output)[0], moved if grows else None

    @property
    def longest(self) -> int:
        """Tokens of the longest state from which a tree may grow: a sliding layer forgets."""
        window = window_of(self.model.config)
        return sys.maxsize - 1 if window is None else window - 1

    def _masks(self, past: int, positions: Tensor, allowed: Tensor) -> Any:
        """Returns the additive mask of each kind of layer, [1, 1, t, past + t].

        Additive, since transformers' own attention adds a mask of booleans as zeros and ones.
        """
        import torch

        dtype, config = self.model.dtype, self.model.config
        before = torch.arange(past)

        def additive(seen: Tensor) -> Tensor:
            closed = torch.zeros(seen.shape, dtype=dtype)
            return closed.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]

        window = window_of(config)
        if window is None:
            return additive(allowed)
        near = positions[:, None] - torch.cat([before, positions])[None] < window
        kinds = set(getattr(config, "layer_types", None) or ())
        if not kinds:
            return additive(allowed & near)
        masks = {"full_attention": allowed, "sliding_attention": allowed & near}
        return {kind: additive(masks[kind]) for kind in kinds}


class CropSession(TreeSession):
    """Also goes back: a model none of whose layers forgets."""

    def crop(self, state: Any, n: int) -> None:
        """Forgets the last n tokens of every row of a state, in place."""
        state.crop(-n)


def window_of(config: Any) -> int | None:
    """Returns how many tokens back the sliding layers of a model look; None where none slides."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    found: int | None = getattr(config, "sliding_window", None)
    return found


def _branch(state: Any) -> Any:
    """Returns a cache that shares its tensors: what is appended makes new ones."""
    branch = copy.copy(state)
    branch.layers = [copy.copy(layer) for layer in state.layers]
    return branch


def session_of(model: nn.Module) -> ModuleSession:
    """Returns the session of a module that can do most: by its own `decode`, by a cache."""
    if hasattr(model, "decode"):
        return StateSession(model)
    if not (hasattr(model, "config") and hasattr(model, "generate")):
        return ModuleSession(model)
    config = model.config
    kinds = getattr(config, "layer_types", None)
    recurrent = getattr(model, "_is_stateful", False)
    attention = not recurrent if kinds is None else set(kinds) <= ATTENTION
    if not attention:
        return CacheSession(model)
    return CropSession(model) if window_of(config) is None else TreeSession(model)
