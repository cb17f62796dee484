"""What decoding keeps of texts: allocated, by a formula, and the users whose states fit."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kit.architectures.states import state_bytes
from kit.build.runner import Runner, TorchRunner
from kit.build.steps import steps
from kit.build.traits import on_eager
from kit.measurements.interface import Positive, Raw
from kit.measurements.limits import GIB, within_memory, within_window
from kit.measurements.memory import STATUS, status
from kit.spec.checking import Undefined
from kit.spec.kinds import Quantity
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.store import results

Contexts = Annotated[
    tuple[Positive, ...],
    Field(min_length=1),
    Preset(smoke=(16, 32), default=(128, 1024), full=(128, 512, 1024, 2048)),
]
Sizes = Annotated[
    tuple[Positive, ...], Field(min_length=1), Preset(smoke=(1, 2), default=(1, 8), full=(1, 8, 32))
]
Rows = list[tuple[str, str, float]]


@register_measurement(
    where="worker",
    artifacts=("quantities",),
    quantities={
        "allocated_state_bytes": Quantity("bytes"),
        "expected_state_bytes": Quantity("bytes"),
        "weight_bytes": Quantity("bytes"),
    },
    decodes=True,
    version=1,
    seconds=20.0,
)
def state(runner: Runner, *, contexts: Contexts, batch_sizes: Sizes) -> Raw:
    """Bytes that a session allocates for its state, beside those that a formula gives.

    And those of the weights (`weight_bytes`, as `Memory` has them), which are there beside.

    The formula is the session's own where it has one, else the architecture's
    (`kit.architectures.states.state_bytes`); where neither is known its rows are missing.

    Args:
        runner: of a language model that keeps a state.
        contexts: tokens that were read, of which a text is made up; with each in turn
        batch_sizes: so many texts.

    Raises:
        Undefined: it keeps no state, a context is beyond its window, or a batch does not fit.
    """
    rows: Rows = [("weight_bytes", "", runner.stored().nominal_bytes)]
    session: Any = runner.session
    for context in contexts:
        one = read(runner, context)
        expected = expected_bytes(runner, context)
        for size in batch_sizes:
            within_memory(runner, size, context, session.bytes(one))
            condition = results.condition(batch_size=size, context=context)
            held = session.bytes(one if size == 1 else session.fork(one, size))
            rows.append(("allocated_state_bytes", condition, held))
            if expected is not None:
                rows.append(("expected_state_bytes", condition, size * expected))
    return _raw(rows)


@register_measurement(
    where="fresh",
    artifacts=("quantities",),
    quantities={
        "users": Quantity("count", higher_is_better=True),
        "given_bytes": Quantity("bytes", None),
        "held_bytes": Quantity("bytes"),
    },
    decodes=True,
    version=1,
    seconds=30.0,
)
def users(
    runner: Runner,
    *,
    memory_gib: Annotated[float, Field(gt=0)] = 2.0,
    context: Annotated[Positive, Preset(smoke=32, default=1024, full=2048)],
) -> Raw:
    """The users whose states fit into a memory, by formula, and what they really take.

    users = (memory - what the process holds without any) / bytes of a state at the context.
    So many states are then allocated, and one more; the resident memory of each is recorded. Both
    are over what the process held before the model and what imports added, as in `memory`.

    Args:
        runner: the variant, loaded in this fresh process.
        memory_gib: that model and states may take together, in GiB.
        context: tokens that each user's state holds.

    Raises:
        Undefined: it keeps no state, not one user fits, the memory is not there, or there is no
            `/proc`.
    """
    if not STATUS.exists():
        raise Undefined("resident memory is read from /proc, which this system does not have")
    session: Any = runner.session
    first = read(runner, context)
    each = expected_bytes(runner, context) or session.bytes(first)
    given = memory_gib * GIB
    alone = _resident() - runner.imported_bytes - session.bytes(first)
    most = int((given - alone) // each)
    if most < 1:
        raise Undefined(
            f"memory_gib={memory_gib:g}: {runner.variant.name} takes {alone / GIB:.2f} GiB without "
            f"any user and {each / GIB:.2g} GiB with each; expected at least "
            f"{(alone + each) / GIB:.2f}"
        )
    within_memory(runner, most + 1, context, each)
    rows: Rows = [("users", results.condition(context=context), most)]
    rows.append(("given_bytes", results.condition(context=context), given))
    for count in (most, most + 1):
        others = session.fork(first, count - 1) if count > 1 else None
        held = _resident() - runner.imported_bytes
        rows.append(("held_bytes", results.condition(context=context, users=count), held))
        del others
    return _raw(rows)


def read(runner: Runner, context: int) -> Any:
    """Returns the state after one made-up text of so many tokens.

    Raises:
        Undefined: the runtime keeps no state, or the model's window is shorter.
    """
    import torch

    if not hasattr(runner.session, "prefill"):
        name = runner.variant.name
        raise Undefined(f"{name} keeps no state on {runner.variant.runtime.name}")
    within_window(runner, context)
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    ids = 7 * torch.arange(context) % tokenizer.vocab_size
    return runner.session.prefill(ids[None])[1]


def expected_bytes(runner: Runner, context: int) -> int | None:
    """Returns the bytes of one text's state by formula; None where none is known."""
    own = getattr(runner.session, "state_bytes", None)
    if own is not None:
        return int(own(context))
    try:
        return state_bytes(runner.once("module of the state", lambda: _module(runner)), context)
    except Undefined:
        return None


def _resident() -> int:
    """Returns the resident bytes of this process, without what was freed but not given back."""
    with contextlib.suppress(AttributeError, OSError):  # other C libraries give it back at once
        ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


def _module(runner: Runner) -> Any:
    """Returns the module whose state a runtime holds, which may run another form of it."""
    if isinstance(runner, TorchRunner):
        return runner.model.module
    return steps(on_eager(runner.variant))[-1].load(runner.task).module


def _raw(rows: Rows) -> Raw:
    quantity, condition, value = zip(*rows, strict=True)
    columns = {"quantity": np.array(quantity), "condition": np.array(condition)}
    return Raw("quantities", columns | {"value": np.array(value, np.float64)})
