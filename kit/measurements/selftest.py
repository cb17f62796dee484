"""A variant against itself, many times: what this machine's timings are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from kit import tasks
from kit.measurements import pairs
from kit.measurements.interface import AllCores, Driver, Length, Positive, Raw, Split
from kit.measurements.timer import POOL, Call
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import TaskRef


def _guess(args: Mapping[str, Any]) -> float:
    return float(args["launches"] * (12 + 4 * len(args["batch_sizes"]) * args["seconds"]))


@register_measurement(where="driver", artifacts=("selftest",), version=4, seconds=_guess)
def self_test(
    driver: Driver,
    *,
    task: TaskRef,
    split: Split = "test",
    batch_sizes: pairs.BatchSizes,
    length: Length = "task",
    threads: Annotated[Positive, AllCores()],
    launches: Annotated[Positive, Preset(smoke=4, default=32, full=96)],
    seconds: Annotated[float, Field(gt=0), Preset(smoke=0.1, default=2.5, full=3.0)],
    wait: pairs.Wait,
    busy_cores: Annotated[int, Field(ge=0)] = 0,
) -> Raw:
    """Launches of a variant against itself.

    A slowdown of one side shifts the log ratio of each launch by a constant, so that launches of
    identical sides tell what of it would be found (`detection_rate`).

    Args:
        driver: opens the workers and keeps finished launches.
        task: whose examples are timed.
        split: which part of it.
        batch_sizes: examples a call.
        length: `"task"`, or tokens that each text is filled up to.
        threads: of each process.
        launches: pairs of processes.
        seconds: timed a launch, condition and side.
        wait: seconds that a launch waits for a quiet machine.
        busy_cores: kept busy by other processes on purpose; then nothing is waited for.

    Raises:
        Undefined: more threads than the machine gives a process.
    """
    data = tasks.load(task)
    pairing = pairs.Pairing(
        sides=dict.fromkeys(pairs.SIDES, driver.variant),
        task=task,
        examples=data.examples(data.split(split, POOL)),
        calls=[Call(size, length) for size in batch_sizes],
        threads=threads,
        seconds=seconds,
        wait=0.0 if busy_cores else wait,
        stopping=driver.stopping(launches, most=launches),
        busy_cores=busy_cores,
    )
    columns, notes = pairs.launches(driver, pairing)
    return Raw("selftest", columns, {"notes": notes, "spent": pairs.spent(columns)})
