"""What a model reads at once, and what memory holds of it: said before either is exceeded."""

from __future__ import annotations

from kit.build.runner import Runner
from kit.spec.checking import Undefined

GIB = 2**30


def within_window(runner: Runner, context: int, more: int = 0) -> None:
    """Raises Undefined where a context, and the tokens after it, are beyond a model's window."""
    window = runner.model.window
    if window is not None and context + more > window:
        after = f" and the {more} tokens after it are" if more else " is"
        raise Undefined(
            f"context={context}{after} more than the {window} tokens that {runner.variant.name} "
            f"reads at once; expected at most context={window - more}"
        )


def within_memory(
    runner: Runner, batch_size: int, context: int, each: float, others: int = 0
) -> None:
    """Raises Undefined where the states of a batch do not fit into memory.

    Args:
        runner: of a causal model.
        batch_size: texts.
        context: tokens of each.
        each: bytes of a text's state.
        others: texts whose states have to be there beside.
    """
    import psutil

    free = psutil.virtual_memory().available
    fits = int(free // each) - others if each else batch_size
    if batch_size > fits:
        raise Undefined(
            f"batch_size={batch_size} at a context of {context:,} tokens holds "
            f"{batch_size * each / GIB:.1f} GiB of state beside {runner.variant.name}, and "
            f"{free / GIB:.1f} GiB are free; expected at most {fits}"
        )
