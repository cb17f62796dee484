"""A variant against itself, many times: what this machine's timings are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from kit import environment, presets, tasks
from kit.measurements import pairs
from kit.measurements.bench import Driver, Raw
from kit.ref import Ref
from kit.registry import register_measurement
from kit.roles import SplitName, TaskRef


def SelfTest(task: str | Ref, **args: Any) -> Ref:
    """Asks for launches of a variant against itself; what is not given comes from the preset.

    Args:
        task: whose examples are timed.
        **args: see `self_test`.
    """
    preset = presets.preset()
    given = {
        "batch_sizes": preset["batch_sizes"],
        "threads": environment.machine()["threads"],
        "launches": preset["selftest_launches"],
        "seconds": preset["selftest_seconds"],
        "wait": preset["wait"],
    }
    return Ref("self_test", task=task, **(given | args))


def _guess(args: Mapping[str, Any]) -> float:
    return float(args["launches"] * (12 + 4 * len(args["batch_sizes"]) * args["seconds"]))


@register_measurement(where="driver", artifacts=("selftest",), version=4, seconds=_guess)
def self_test(
    driver: Driver,
    *,
    task: TaskRef,
    split: SplitName = "test",
    batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 32),
    length: Annotated[int, Field(ge=1)] | Literal["task"] = "task",
    threads: Annotated[int, Field(ge=1)] = 1,
    launches: Annotated[int, Field(ge=1)] = 32,
    seconds: Annotated[float, Field(gt=0)] = 1.0,
    wait: Annotated[float, Field(ge=0)] = 30.0,
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
    pairs.check_threads(threads)
    data = tasks.load(task)
    pairing = pairs.Pairing(
        sides=dict.fromkeys(pairs.SIDES, driver.variant),
        task=task,
        examples=data.examples(data.split(split, pairs.POOL)),
        calls=[pairs.Call(size, length) for size in batch_sizes],
        threads=threads,
        seconds=seconds,
        wait=0.0 if busy_cores else wait,
        busy_cores=busy_cores,
    )
    columns, notes = pairs.launches(driver, pairing, lambda _: launches)
    return Raw("selftest", columns, {"notes": notes, "spent": pairs.spent(columns)})
