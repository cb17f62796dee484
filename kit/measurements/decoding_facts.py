"""What is found out before decoding is timed: is it right, and what must it cost at least?"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.architectures.budget import flops_per_token
from kit.architectures.matrices import embeddings
from kit.build.runner import Runner, TorchRunner
from kit.build.traits import on_eager
from kit.machine import environment
from kit.measurements.decoding_calls import MOST_STEPS, Prefill, Step, prompts
from kit.measurements.going_on import AGAIN, decoder
from kit.measurements.greedy import Parting, parting
from kit.spec.checking import Undefined
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Variant, uses
from kit.store import store

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
"""Raised when other texts are tried or other costs counted."""
PROMPT, TOKENS = 32, 24
"""Of a text that is tried: tokens that are read, and that are written."""


class Cost(NamedTuple):
    """What a call has to do at least.

    Attributes:
        moved_bytes: that it reads: weights once, and states.
        flops: of its products; 0 where they are not counted.
    """

    moved_bytes: float
    flops: float


class Facts(NamedTuple):
    """What was found out.

    Attributes:
        partings: of greedy texts from eager's, one a text.
        tokens: that each text has.
        costs: of each call, in their order.
        note: of how it decodes, where that is not by what it keeps of the tokens so far.
    """

    partings: list[Parting]
    tokens: int
    costs: list[Cost]
    note: str = ""


def facts(
    variant: Variant, task: Ref, examples: Sequence[Any], calls: Sequence[Any], threads: int
) -> Facts:
    """Returns what is known of a variant's decoding, found out once a machine.

    Args:
        variant: of a language model.
        task: whose the examples are.
        examples: texts.
        calls: that will be timed.
        threads: of this process.

    Raises:
        Undefined: it is no language model, a context is beyond its window, or states of a batch do
            not fit into memory.
    """
    about = VERSION, variant, uses(variant), task, calls, environment.machine_key()
    key = content_hash("decoding", *about)
    found = Facts(*store.memo(key, lambda: _find(variant, examples, calls, threads)))
    return found._replace(
        partings=[Parting(*each) for each in found.partings],
        costs=[Cost(*each) for each in found.costs],
    )


def _find(variant: Variant, examples: Sequence[Any], calls: Sequence[Any], threads: int) -> Facts:
    runner = Runner(variant, threads)
    if runner.model.kind != "causal":
        raise Undefined(f"{variant.name} is no language model: it writes nothing")
    _check_window(runner, calls)
    given = [each[:PROMPT] for each in prompts(runner, examples, PROMPT)]
    plain = on_eager(variant)
    eager = runner if plain == variant else Runner(plain, threads, reference=True)
    partings = (
        [Parting(TOKENS, 0.0)] * len(given)
        if plain == variant
        else [parting(decoder(runner), decoder(eager), each, TOKENS) for each in given]
    )
    costs = [_cost(runner, eager, examples, call) for call in calls]
    return Facts(partings, TOKENS, costs, "" if hasattr(runner.session, "step") else AGAIN)


def _check_window(runner: Runner, calls: Sequence[Any]) -> None:
    """Raises Undefined where a call would read or write beyond the model's window."""
    if (window := runner.model.window) is None:
        return
    for call in calls:
        written = MOST_STEPS if isinstance(call, Step) else 1
        if call.context + written > window:
            raise Undefined(
                f"a context of {call.context:,} tokens and {written} to write: the window of "
                f"{runner.variant.name} is {window:,} tokens; expected at most {window - written:,}"
            )


def _cost(runner: Runner, eager: Runner, examples: Sequence[Any], call: Prefill | Step) -> Cost:
    import torch

    weights = weight_bytes(runner)
    if isinstance(call, Prefill):
        ids = torch.tensor([prompts(runner, examples, call.context)[0]])
        return Cost(weights, _flops(eager.model.module, ids) * (1 - call.shared / call.context))
    session = decoder(runner)
    text = prompts(runner, examples, call.context)[0]
    state = session.bytes(session.prefill(torch.tensor([text]))[1])
    _check_memory(runner, call, state)
    return Cost(weights + call.batch_size * state, 0.0)


def _flops(module: Any, ids: Tensor) -> float:
    """Returns the operations of reading a prompt [1, t], with the logits of its last token alone.

    Of an architecture that always gives all logits, those of all.
    """
    takes = inspect.signature(module.forward).parameters
    last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
    try:
        return flops_per_token(module, {"input_ids": ids, **last}) * ids.shape[1]
    except Undefined:
        return 0.0


def _check_memory(runner: Runner, call: Step, state: int) -> None:
    """Raises Undefined where the states of a batch, and a copy of one, do not fit into memory."""
    import psutil

    free = psutil.virtual_memory().available
    fits = free // state - 1 if state else call.batch_size
    if call.batch_size > fits:
        raise Undefined(
            f"batch_size={call.batch_size} at a context of {call.context:,} tokens holds "
            f"{call.batch_size * state / 2**30:.1f} GiB of state beside {runner.variant.name}, and "
            f"{free / 2**30:.1f} GiB are free; expected at most {fits}"
        )


def weight_bytes(runner: Runner) -> float:
    """Returns the bytes of weights that a token reads: all but embeddings that are looked up alone.

    Of a mixture of experts a token reads fewer.
    """
    total = runner.stored().nominal_bytes
    if not isinstance(runner, TorchRunner):
        return total
    module: Any = runner.model.module
    output = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    read = {id(each) for each in output.parameters()} if output is not None else set()
    return total - sum(each.nbytes for key, each in embeddings(module).items() if key not in read)
