"""A timing is a pair: a variant and its baseline, alive together, taking turns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from kit import build, environment, presets, tasks
from kit.analysis.metrics.timing import launch_ratios
from kit.analysis.statistics.launches import second_stage
from kit.busyness import BUSY
from kit.measurements import pairs
from kit.measurements.bench import Bench, Columns, Driver, Raw
from kit.ref import Ref
from kit.registry import register_measurement
from kit.roles import SplitName, TaskRef
from kit.spec import Variant
from kit.values import SpecError
from kit.verify import verify

MOST_AGAIN = 1.5
"""Times the launches that are asked for, on a machine that others keep busy."""


def Latency(
    task: str | Ref,
    *,
    batch_sizes: Sequence[int] | None = None,
    lengths: Sequence[int | str] | None = None,
    threads: int | None = None,
    launches: int | None = None,
    seconds: float | None = None,
    until: float | None = None,
    most: int | None = None,
    against: Variant | None = None,
) -> Ref:
    """Asks for paired timings; what is not given comes from the preset.

    Args:
        task: whose examples are timed.
        batch_sizes: examples a call.
        lengths: `"task"` for the examples as they are, or a number of tokens that texts are filled
            up to.
        threads: of each process; all cores where not given.
        launches: pairs of processes; the interval is over these.
        seconds: timed a launch, condition and side.
        until: half-width of the ratio's interval that is wanted, such as 0.02: after the first
            `launches` as many are added as their spread asks for.
        most: launches at which `until` gives up.
        against: the other side of the pair; the study's baseline where not given.
    """
    preset = presets.preset()
    if not lengths:  # images have one size
        lengths = preset["lengths"] if tasks.modality(task) == "text" else ("task",)
    given = {} if most is None else {"most": most}
    return Ref(
        "latency",
        task=task,
        batch_sizes=batch_sizes or preset["batch_sizes"],
        lengths=lengths,
        threads=environment.machine()["threads"] if threads is None else threads,
        launches=preset["launches"] if launches is None else launches,
        seconds=preset["seconds"] if seconds is None else seconds,
        wait=preset["wait"],
        until=until,
        against=against,
        **given,
    )


def _guess(args: Mapping[str, Any]) -> float:
    """Returns about how many seconds a latency run takes."""
    timed = 2.4 * len(args["batch_sizes"]) * len(args["lengths"]) * args["seconds"]
    return float(args["launches"] * (12 + timed))


@register_measurement(where="driver", artifacts=("timing",), version=5, seconds=_guess)
def latency(
    driver: Driver,
    *,
    task: TaskRef,
    split: SplitName = "test",
    batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 32),
    lengths: tuple[Annotated[int, Field(ge=1)] | Literal["task"], ...] = ("task",),
    threads: Annotated[int, Field(ge=1)] = 1,
    launches: Annotated[int, Field(ge=1)] = 4,
    seconds: Annotated[float, Field(gt=0)] = 1.5,
    wait: Annotated[float, Field(ge=0)] = 30.0,
    until: Annotated[float, Field(gt=0, lt=1)] | None = None,
    most: Annotated[int, Field(ge=3)] = 32,
    against: SkipValidation[Variant] | None = None,
) -> Raw:
    """Seconds a call of a variant and of its baseline, taking turns in several launches.

    Args:
        driver: opens the workers and keeps finished launches.
        task: whose examples are timed; preprocessing is outside.
        split: which part of it.
        batch_sizes: examples a call.
        lengths: `"task"`, or tokens that each text is filled up to.
        threads: of each process.
        launches: pairs of processes that count, each with enough quiet rounds.
        seconds: timed a launch, condition and side, in quiet rounds.
        wait: seconds that a launch waits for a quiet machine.
        until: half-width of the ratio's 95% interval, as a share, that is wanted in every
            condition. Stein's two-stage rule ("A two-sample test for a linear hypothesis whose
            power is independent of the variance", 1945): the spread of the first `launches` fixes
            how many are needed, once, so that nothing is peeked at and the interval keeps its 95%.
        most: launches at which `until` gives up, with a note.
        against: the other side; the study fills it in.

    Raises:
        SpecError: no other side, or an `until` that cannot be planned.
        Undefined: the variant answers wrongly, or asks for more threads than there are.
    """
    if against is None:
        raise SpecError("a timing is a pair: give Latency(against=...) or a study's baseline")
    if until is not None and not 3 <= launches <= most:
        raise SpecError(
            f"until={until} with launches={launches} and most={most}: expected 3 <= launches <= "
            "most; the spread of the first launches says how many are needed"
        )
    pairs.check_threads(threads)
    data = tasks.load(task)
    examples = data.examples(data.split(split, pairs.POOL))
    notes = _verified(driver, against, task, threads, max(batch_sizes))
    pairing = pairs.Pairing(
        sides={"variant": driver.variant, "baseline": against},
        task=task,
        examples=examples,
        calls=[pairs.Call(*kind) for kind in itertools.product(batch_sizes, lengths)],
        threads=threads,
        seconds=seconds,
        wait=wait,
    )
    wanted = _fixed(launches) if until is None else _two_stages(launches, until, most, notes)
    columns, more = pairs.launches(driver, pairing, wanted)
    info: dict[str, Any] = {"notes": [*notes, *more], "spent": pairs.spent(columns)}
    if _lost(columns):
        info[BUSY] = True
    return Raw("timing", columns, info if until is None else {**info, "first_launches": launches})


def _verified(
    driver: Driver, against: Variant, task: Ref, threads: int, batch_size: int
) -> list[str]:
    """Returns a note of how far outputs are from eager's; raises where one answers wrongly."""
    found = {}
    for side in (driver.variant, against):
        if side.runtime.name == "eager" and build.kind_of(side) != "pretrained":
            continue
        try:
            found[side.name] = verify(side, task, threads, batch_size, anew=False)
        except LookupError:
            with driver.worker(Bench, threads=threads) as worker:
                found[side.name] = worker.call("verify", side, task, threads, batch_size)
    difference = found.get(driver.variant.name)
    if not difference or driver.variant.runtime.name == "eager":
        return []
    return [f"output within {difference:.2g} of eager's largest logit"]


def _fixed(count: int) -> Callable[[Columns], int]:
    """Returns the rule of so many launches that count, and at most half as many again in all."""

    def wanted(columns: Columns) -> int:
        if not columns:
            return count
        return min(count + _lost(columns), math.ceil(MOST_AGAIN * count))

    return wanted


def _lost(columns: Columns) -> int:
    """Returns the launches that do not count in some condition: others kept the machine busy."""
    made = len(set(columns["launch"]))
    return max(made - len(ratios) for ratios in launch_ratios(columns).values())


def _two_stages(first: int, until: float, most: int, notes: list[str]) -> Callable[[Columns], int]:
    """Returns Stein's rule: as many launches as the spread of the first ones asks for."""

    def wanted(columns: Columns) -> int:
        if not columns or len(set(columns["launch"])) < first:
            return first
        ratios = launch_ratios(columns).values()
        if min(map(len, ratios)) < first:  # too few that count to tell the spread
            return _fixed(first)(columns)
        needed = max(second_stage(values[:first], until) for values in ratios)
        note = (
            f"the interval asked for (half-width {until:.2g}) would need about {needed:,} "
            f"launches; {most} were made"
        )
        if needed > most and note not in notes:
            notes.append(note)
        return min(max(needed, first), most)

    return wanted
