"""How fast a language model reads a prompt and writes, against a baseline taking turns with it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kit.build.traits import tolerance
from kit.machine.ceilings import ceilings
from kit.measurements import pairs
from kit.measurements.decoding_calls import Cost, Prefill, Step
from kit.measurements.decoding_facts import Facts, facts
from kit.measurements.interface import AllCores, Bench, Driver, Positive, Raw, Split
from kit.measurements.latency import (
    Against,
    Launches,
    Most,
    Seconds,
    Until,
    paired,
    timed,
    verified,
)
from kit.spec.checking import SpecError, Undefined
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import TaskRef

Sizes = tuple[Positive, ...]


def _guess(args: Mapping[str, Any]) -> float:
    """Returns about how many seconds a run takes."""
    calls = len(args["prompts"]) * (1 + len(args["shared"]))
    calls += len(args["contexts"]) * len(args["batch_sizes"])
    return float(args["launches"] * (16 + 3.5 * calls * args["seconds"]))


@register_measurement(
    where="driver", artifacts=("decoding",), decodes=True, version=1, seconds=_guess
)
def decode(
    driver: Driver,
    *,
    task: TaskRef,
    split: Split = "test",
    prompts: Annotated[Sizes, Preset(smoke=(16,), default=(64, 512), full=(64, 512, 1024))],
    shared: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (),
    contexts: Annotated[Sizes, Preset(smoke=(16,), default=(64, 1024), full=(64, 512, 1536))],
    batch_sizes: Annotated[Sizes, Preset(smoke=(1, 2), default=(1, 8), full=(1, 8, 32))],
    threads: Annotated[Positive, AllCores()],
    launches: Launches,
    seconds: Seconds,
    wait: pairs.Wait,
    until: Until = None,
    most: Most = 32,
    against: Against = None,
) -> Raw:
    """Seconds to the first token by prompt, and a token after it by context and batch.

    Of a variant and of its baseline, taking turns in several launches. Greedy tokens are compared
    with eager's before anything is timed. Beside each time stands what the machine allows: the
    bytes that a token reads over the bandwidth of memory, the operations of a prompt over the
    fastest product in float32.

    Args:
        driver: opens the workers and keeps finished launches.
        task: whose texts are read, one joined to the next.
        split: which part of it.
        prompts: tokens that are read up to the first new one, one text at a time.
        shared: parts of each prompt that were read before, such as 0.9 of it.
        contexts: tokens before those that are written; with each in turn
        batch_sizes: so many texts are written at once.
        threads: of each process.
        launches, seconds, wait, until, most, against: as in `latency`.

    Raises:
        SpecError: no other side, or nothing to time.
        Undefined: it is no language model, it writes otherwise than eager, the context is beyond
            its window, or what is held does not fit.
    """
    if not prompts and not (contexts and batch_sizes):
        raise SpecError("nothing to time: expected prompts, or contexts and batch_sizes")
    calls: list[Prefill | Step] = [
        *(Prefill(size, round(size * part)) for size in prompts for part in (0, *shared)),
        *itertools.starmap(Step, itertools.product(contexts, batch_sizes)),
    ]
    pairing = paired(
        driver, against, task, split, calls,
        launches=launches, until=until, most=most, threads=threads, seconds=seconds, wait=wait,
    )  # fmt: skip
    return decoded(driver, pairing, "decoding")


def decoded(driver: Driver, pairing: pairs.Pairing, kind: str) -> Raw:
    """Finds out whether a variant writes rightly, then does the launches.

    Raises:
        Undefined: a side answers or writes otherwise than it has to.
    """
    notes = verified(driver, pairing, 1)
    with driver.worker(Bench, threads=pairing.threads) as worker:
        asked = driver.variant, pairing.task, pairing.examples, pairing.calls, pairing.threads
        known: Facts = worker.call("find", facts, *asked)
    notes += [*_written(driver, known), *filter(None, [known.note])]
    if gap := max(cost.gap for cost in known.costs):
        notes.append(
            f"guessing ahead breaks a near tie the other way, by {gap:.2g} of the largest logit: "
            "several tokens at once are rounded otherwise"
        )
    return _beside(timed(driver, pairing, kind, notes), pairing, known.costs)


def _written(driver: Driver, known: Facts) -> list[str]:
    """Returns a note of where greedy texts part; raises where no rounding explains it."""
    allowed, name = tolerance(driver.variant), driver.variant.name
    worst = max(known.partings, key=lambda each: each.gap)
    if not worst.gap <= allowed:
        raise Undefined(
            f"{name} writes another token than eager after {worst.same}, where eager's own is "
            f"likelier by {worst.gap:.2g} of its largest logit (allowed: {allowed:g}), so that its "
            "time is not counted"
        )
    same = sum(each.same for each in known.partings)
    asked = known.tokens * len(known.partings)
    if same == asked:
        return [f"{asked} greedy tokens of {len(known.partings)} texts are those of eager"]
    first = min(known.partings, key=lambda each: each.same)
    return [
        f"greedy texts part from eager's, the first after {first.same} tokens, where eager's is "
        f"likelier by {worst.gap:.2g} of its largest logit at most"
    ]


def _beside(raw: Raw, pairing: pairs.Pairing, costs: Sequence[Cost]) -> Raw:
    """Returns a timing with what each call has to do, and what the machine can do at most."""
    names, most = raw.columns["condition"], ceilings(pairing.threads)
    ours = raw.columns["side"] == "variant"
    found = {name: np.zeros(len(names)) for name in (*Cost._fields, "tokens")}
    found["writes"] = np.zeros(len(names), bool)
    for name, call, cost in zip(pairing.names(), pairing.calls, costs, strict=True):
        here = names == name
        found["writes"][here], found["tokens"][here] = call.writes, call.tokens
        for each, value in cost._asdict().items():
            found[each][here & ours] = value
    found["bandwidth"] = np.full(len(names), 1e9 * most.bandwidth)
    found["flop_rate"] = np.full(len(names), 1e9 * most.fp32)
    return replace(raw, columns={**raw.columns, **found})
