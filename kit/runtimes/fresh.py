"""Does a graph that was just made answer as the module that it was made of?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.runtimes.failures import cause
from kit.spec.checking import Undefined

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-3
"""By how much a fresh graph may differ from its module, as a share of the largest logit."""


def check_forward(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    forward: Callable[[Mapping[str, Tensor]], Any],
) -> None:
    """Tries a graph on other batches and lengths than those of its example.

    Args:
        module: what it was made of.
        inputs: the example, by name.
        forward: runs the graph.

    Raises:
        Undefined: it does not take them, or answers otherwise than the module.
    """
    import torch

    from kit.architectures.outputs import logits

    for batch, length in ((3, 11), (1, 7)):
        other = _resized(inputs, batch, length)
        with torch.no_grad():
            expected = logits(module(**other)).float().numpy()
        try:
            found = np.asarray(forward(other))
        except Exception as error:  # the exceptions of runtimes have no class in common
            raise Undefined(
                f"the exported graph works for inputs of {_shape(inputs)} alone; with "
                f"{_shape(other)} it fails: {cause(error)}"
            ) from error
        if not _alike(found, expected):
            raise Undefined(
                f"the exported graph answers otherwise than the model on inputs of {_shape(other)}"
            )


def check_decoding(module: nn.Module, ids: Tensor, session: Any) -> None:
    """Tries whether a graph goes forward and decodes as its module goes forward.

    Args:
        module: what it was made of.
        ids: [b, t], of which others are made.
        session: decodes by the graph.

    Raises:
        Undefined: it does not, or answers otherwise.
    """
    import torch

    from kit.architectures.outputs import logits

    ids = torch.cat([ids, ids.flip(1), ids.roll(3, 1)])[:3, :11]
    with torch.no_grad():
        expected = logits(module(input_ids=ids)).float().numpy()
    try:
        whole = session.forward({"input_ids": ids})
        first, state = session.prefill(ids[:, :4])
        steps = [session.step(state, part) for part in (ids[:, 4:5], ids[:, 5:8], ids[:, 8:])]
    except Exception as error:  # the exceptions of runtimes have no class in common
        raise Undefined(f"the exported graph fails: {cause(error)}") from error
    decoded = np.asarray(torch.cat([first[:, None], *steps], 1))
    tried = {"forward": (np.asarray(whole), expected), "decoding": (decoded, expected[:, 3:])}
    for how, (found, right) in tried.items():
        if not _alike(found, right):
            raise Undefined(f"the exported graph answers otherwise than the model when {how}")


def _alike(found: np.ndarray, expected: np.ndarray) -> bool:
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-9)
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= allowed)


def _shape(inputs: Mapping[str, Tensor]) -> str:
    return " x ".join(map(str, next(iter(inputs.values())).shape))


def _resized(inputs: Mapping[str, Tensor], batch: int, length: int) -> dict[str, Tensor]:
    """Returns inputs of another batch and, of texts, length: first and last tokens stay."""
    import torch

    from kit.architectures.preprocessing import free_dimensions

    found = {}
    for name, tensor in inputs.items():
        rows = tensor.repeat(batch, *[1] * (tensor.ndim - 1))[:batch]
        if free_dimensions(tensor) > 1:
            rows = torch.cat([rows[:, : length - 3], rows[:, -3:]], dim=1)
        found[name] = rows
    return found
