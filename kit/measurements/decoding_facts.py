"""What is found out before decoding is timed: is it right, and what must it cost at least?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kit.build.runner import Runner
from kit.build.traits import on_eager, reads_task
from kit.machine import environment
from kit.measurements.decoding_calls import Cost, prompts
from kit.measurements.going_on import AGAIN, decoder
from kit.measurements.greedy import Parting, parting
from kit.measurements.limits import within_window
from kit.spec.checking import Undefined
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Variant, uses
from kit.store import store

VERSION = 2
"""Raised when other texts are tried or other costs counted."""
PROMPT, TOKENS = 32, 24
"""Of a text that is tried: tokens that are read, and that are written."""


class Facts(NamedTuple):
    """What was found out.

    Attributes:
        partings: of greedy texts from those of eager's plain forwards, one a text.
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
        Undefined: it is no language model, a context is beyond its window, states of a batch do
            not fit into memory, or guessing ahead changes what is written.
    """
    asked = [[type(call).__name__, *vars(call).values()] for call in calls]
    used = [uses(each) for each in (variant, *sum(asked, [])) if isinstance(each, Variant)]
    about = VERSION, variant, used, task, asked, environment.machine_key()
    key = content_hash("decoding", *about)
    found = Facts(*store.memo(key, lambda: _find(variant, task, examples, calls, threads)))
    return found._replace(
        partings=[Parting(*each) for each in found.partings],
        costs=[Cost(*each) for each in found.costs],
    )


def _find(
    variant: Variant, task: Ref, examples: Sequence[Any], calls: Sequence[Any], threads: int
) -> Facts:
    read = task if reads_task(variant) else None
    runner = Runner(variant, threads, read)
    if runner.model.kind != "causal":
        raise Undefined(f"{variant.name} is no language model: it writes nothing")
    for call in calls:
        within_window(runner, call.context, call.longest - call.context)
    given = prompts(runner, examples, PROMPT)
    plain = on_eager(variant)
    eager = runner if plain == variant else Runner(plain, threads, read, reference=True)
    partings = [parting(decoder(runner), eager, each, TOKENS) for each in given]
    costs = [call.cost(runner, eager, examples) for call in calls]
    return Facts(partings, TOKENS, costs, "" if hasattr(runner.session, "step") else AGAIN)
