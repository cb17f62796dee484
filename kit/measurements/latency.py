"""A timing is a pair: a variant and its baseline, alive together, taking turns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SkipValidation, ValidationInfo

from kit import tasks
from kit.build.traits import kind_of
from kit.build.verify import verify
from kit.machine.load import BUSY
from kit.measurements import pairs
from kit.measurements.interface import AllCores, Bench, Driver, Length, Positive, Raw, Split
from kit.measurements.timer import POOL, Call
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.ref import Ref
from kit.spec.register_measures import register_measurement
from kit.spec.roles import TaskRef
from kit.spec.spec import Variant


@dataclass(frozen=True)
class LengthsPreset(Preset):
    """The lengths under each preset; images have one size."""

    def value(self, args: Mapping[str, Any]) -> Any:
        """Returns the preset's lengths of texts, `"task"` of images."""
        images = "task" in args and tasks.modality(args["task"]) == "image"
        return ("task",) if images else super().value(args)


Lengths = Annotated[
    tuple[Length, ...],
    Field(min_length=1),
    LengthsPreset(smoke=("task",), default=("task",), full=("task", 32, 128)),
]


def _planned(most: int, info: ValidationInfo) -> int:
    until, launches = info.data.get("until"), info.data.get("launches", most)
    if until is not None and not 3 <= launches <= most:
        raise SpecError(
            f"until={until} with launches={launches} and most={most}: expected 3 <= launches <= "
            "most; the spread of the first launches says how many are needed"
        )
    return most


Launches = Annotated[Positive, Preset(smoke=1, default=4, full=8)]
Seconds = Annotated[float, Field(gt=0), Preset(smoke=0.3, default=2.5, full=3.0)]
Until = Annotated[float, Field(gt=0, lt=1)] | None
Most = Annotated[int, Field(ge=3), AfterValidator(_planned)]
Against = SkipValidation[Variant] | None


def _guess(args: Mapping[str, Any]) -> float:
    """Returns about how many seconds a latency run takes."""
    timed = 2.4 * len(args["batch_sizes"]) * len(args["lengths"]) * args["seconds"]
    return float(args["launches"] * (12 + timed))


@register_measurement(where="driver", artifacts=("timing",), version=5, seconds=_guess)
def latency(
    driver: Driver,
    *,
    task: TaskRef,
    split: Split = "test",
    batch_sizes: pairs.BatchSizes,
    lengths: Lengths,
    threads: Annotated[Positive, AllCores()],
    launches: Launches,
    seconds: Seconds,
    wait: pairs.Wait,
    until: Until = None,
    most: Most = 32,
    against: Against = None,
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
            condition: the spread of the first `launches` says, once, how many that takes.
        most: launches at which `until` gives up, with a note.
        against: the other side; the study fills it in.

    Raises:
        SpecError: no other side.
        Undefined: the variant answers wrongly, or asks for more threads than there are.
    """
    calls = [Call(*kind) for kind in itertools.product(batch_sizes, lengths)]
    pairing = paired(
        driver, against, task, split, calls,
        launches=launches, until=until, most=most, threads=threads, seconds=seconds, wait=wait,
    )  # fmt: skip
    return timed(driver, pairing, "timing", verified(driver, pairing, max(batch_sizes)))


def paired(
    driver: Driver,
    against: Variant | None,
    task: Ref,
    split: str,
    calls: Sequence[Any],
    *,
    launches: int,
    until: float | None,
    most: int,
    **how: Any,
) -> pairs.Pairing:
    """Returns what launches of a variant and its baseline do: see `kit.measurements.pairs.Pairing`.

    Launches are as many as asked for, or as `until` needs.

    Raises:
        SpecError: no other side.
        Undefined: more threads than there are.
    """
    if against is None:
        raise SpecError("a timing is a pair: give Latency(against=...) or a study's baseline")
    data = tasks.load(task)
    sides = {"variant": driver.variant, "baseline": against}
    stopping = driver.stopping(*(launches,) if until is None else (launches, until, most))
    examples = data.examples(data.split(split, POOL))
    return pairs.Pairing(sides, task, examples, calls, stopping=stopping, **how)


def timed(driver: Driver, pairing: pairs.Pairing, kind: str, notes: Sequence[str]) -> Raw:
    """Does the launches; returns their calls as an artifact of a kind."""
    columns, more = pairs.launches(driver, pairing)
    stopping = pairing.stopping
    said = [*notes, *stopping.notes, *more]
    info: dict[str, Any] = {"notes": said, "spent": pairs.spent(columns)}
    info |= {BUSY: True} if stopping.lost(columns) else {}
    first = stopping.first_stage
    return Raw(kind, columns, info if first is None else {**info, "first_launches": first})


def verified(driver: Driver, pairing: pairs.Pairing, batch_size: int) -> list[str]:
    """Returns a note of how far outputs are from eager's; raises where one answers wrongly."""
    found = {}
    for side in pairing.sides.values():
        if side.runtime.name == "eager" and kind_of(side) != "pretrained":
            continue
        try:
            found[side.name] = verify(side, pairing.task, pairing.threads, batch_size, anew=False)
        except LookupError:
            with driver.worker(Bench, threads=pairing.threads) as worker:
                args = side, pairing.task, pairing.threads, batch_size
                found[side.name] = worker.call("find", verify, *args)
    difference = found.get(driver.variant.name)
    if not difference or driver.variant.runtime.name == "eager":
        return []
    return [f"output within {difference:.2g} of eager's largest logit"]
