"""What a runtime gives: a session, which goes forward and may decode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from kit.spec import registry
from kit.spec.arguments import call
from kit.spec.checking import SpecError
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import Tensor

Inputs = Mapping[str, "Tensor"]


class Session(Protocol):
    """What executes a model. One that gives `forward` alone may be that function.

    A state is what decoding keeps of the tokens so far, such as a cache of keys and values; it is
    the session's own affair, and nothing else looks into it. All rows of one are equally long, but
    where a session also has `merge(parts)`: a new state of some rows of several states, of which
    each part is `(state, rows)`, whatever the lengths; `step` then goes on with each row from its
    own end. A session that also has `tree` (`kit.runtimes.decoding.TreeSession`) answers many
    continuations packed in one row.
    """

    def forward(self, inputs: Inputs) -> Tensor | np.ndarray:
        """Returns the logits of a padded batch: causal [b, t, v], of a classifier [b, classes]."""

    def prefill(self, ids: Tensor) -> tuple[Tensor, Any]:
        """Returns the logits [b, v] of the token after ids [b, t], and the state they leave."""

    def step(self, state: Any, ids: Tensor) -> Tensor:
        """Returns the logits [b, t, v] after each of the next ids [b, t]; the state moves on."""

    def fork(self, state: Any, n: int) -> Any:
        """Returns a new state with every row n times, [b * n]; the old one stays as it is."""

    def bytes(self, state: Any) -> int:
        """Returns what a state takes in memory."""


class Forward:
    """A session that goes forward only."""

    def __init__(self, forward: Callable[[Any], Any]) -> None:
        self.forward = forward


METHODS = {"forward": ("forward",), "decode": ("prefill", "step", "fork", "bytes")}
"""What a session has that gives each of `registry.GIVES`."""


def open_session(runtime: Ref, **supplied: Any) -> Session:
    """Returns a runtime's session.

    Args:
        runtime: which.
        **supplied: `model`, or the `path` of another form, and `threads`.

    Raises:
        SpecError: it cannot do what its runtime says.
    """
    entry = registry.runtimes.get(runtime.name)
    session = call(entry.function, runtime, **supplied)
    if not hasattr(session, "forward") and callable(session):
        session = Forward(session)
    for given in entry.traits["gives"]:
        lacking = [name for name in METHODS[given] if not hasattr(session, name)]
        if lacking:
            raise SpecError(
                f"the runtime {runtime.name} says that it gives {given}, and its "
                f"{type(session).__name__} has no {', '.join(lacking)}"
            )
    return cast(Session, session)


def as_array(output: Any) -> np.ndarray:
    """Returns what a session gave as float32."""
    if hasattr(output, "detach"):
        output = output.detach().float().numpy()
    return np.asarray(output, np.float32)
