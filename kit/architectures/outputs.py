"""What a module returned, as the one tensor that counts: its logits, or its hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kit.spec.checking import SpecError

if TYPE_CHECKING:
    from torch import Tensor


def logits(output: Any) -> Tensor:
    """Returns the logits of a model's output: itself, its `.logits`, or the first of a tuple.

    Raises:
        SpecError: it holds none.
    """
    return _tensor(output, "logits", "the logits")


def hidden(output: Any) -> Tensor:
    """Returns the hidden states of an encoder's output, as `logits` does.

    Raises:
        SpecError: it holds none.
    """
    return _tensor(output, "last_hidden_state", "the hidden states")


def _tensor(output: Any, name: str, what: str) -> Tensor:
    found = getattr(output, name, output)
    if isinstance(found, tuple | list) and found:  # as torch's recurrent modules: (output, state)
        found = found[0]
    if not hasattr(found, "dtype"):
        raise SpecError(
            f"the model returned a {type(output).__name__}; expected {what}: a tensor, an output "
            f"with .{name}, or a tuple whose first element they are"
        )
    tensor: Tensor = found
    return tensor
