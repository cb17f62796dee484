"""What the engine adds to the work itself: 1,000 runs that do nothing, and a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

import kit
from benchmarks.common import Figure, fresh_store, in_process, seconds, texts

VARIANTS, NUMBERS, MANY = 20, 50, 500
RUNS = VARIANTS * NUMBERS
HOW = {"inline": {"executor": "inline"}, "1 worker": {"workers": 1}, "2 workers": {"workers": 2}}


@kit.register_architecture(kind="predictor", version=1)
def bench_nothing(*, number: Annotated[int, Field(ge=0)] = 0) -> Callable[..., np.ndarray]:
    """Gives zeros."""
    return lambda texts: np.zeros((len(texts), 2), np.float32)


@kit.register_artifact(record="trial", columns=("value",))
def bench() -> dict[str, np.ndarray]:
    """One number."""
    return {"value": np.ones(1)}


@kit.register_measurement(where="worker", artifacts=("bench",), version=1)
def bench_count(runner: Any, *, task: kit.TaskRef, number: int = 0) -> kit.Raw:
    """Measures nothing."""
    return kit.Raw("bench", {"value": np.ones(1)}, {"protocol": {"number": number}})


@kit.register_metric(artifact="bench", higher_is_better=None, unit="1", no_interval="a constant")
def bench_value(value: np.ndarray) -> float:
    """The one value there is."""
    return float(value[0])


def study(numbers: int = NUMBERS) -> kit.Study:
    """Returns a study of runs that do nothing, some for each of 20 variants."""
    import pandas as pd

    frame = pd.DataFrame({"text": texts(200, 20), "label": [n % 2 for n in range(200)]})
    task = kit.task_from_frame("bench_reviews", frame)
    variants = [kit.Variant(kit.Ref("bench_nothing", number=n)) for n in range(VARIANTS)]
    asked = [kit.Ref("bench_count", task=task, number=n) for n in range(numbers)]
    runs = [kit.Run(variant, measurement) for variant in variants for measurement in asked]
    return kit.Study("bench", runs, variants[0])


def naive(numbers: int) -> None:
    """Does the same work without the engine."""
    for number in range(VARIANTS * numbers):
        bench_value(bench_count.__wrapped__(None, task="", number=number).columns["value"])


def resume() -> float:
    """Returns the seconds that a finished study of 10,000 runs takes."""
    again = study(MANY)
    return seconds(lambda: again.run(metrics=["bench_value"]))


def beyond(numbers: int, how: dict[str, Any]) -> float:
    """Returns the seconds of a study beyond those of a plain loop."""
    with fresh_store():
        fresh = study(numbers)
        took = seconds(lambda: fresh.run(metrics=["bench_value"], **how))
        table = fresh.table()
        assert len(table) == VARIANTS * numbers and (table["status"] == "ok").all()
    return took - seconds(lambda: naive(numbers))


def engine() -> Iterator[Figure]:
    """Milliseconds that each run adds, and seconds to find all runs done."""
    for name, how in HOW.items():
        few, many = beyond(1, how), beyond(NUMBERS, how)
        each = 1000 * (many - few) / (VARIANTS * (NUMBERS - 1))
        start = f"{few:.1f} s for the first {VARIANTS}, imports and start included"
        yield Figure(
            f"engine, each run more, {name}", f"{each:.2f} ms ({start})", "<= 2 ms", each <= 2
        )
    with fresh_store():
        large = study(MANY)
        seconds(lambda: large.run(metrics=["bench_value"], executor="inline"))
        again = in_process("benchmarks.engine", "resume")
    title = f"{VARIANTS * MANY:,} runs done, found again"
    yield Figure(title, f"{again:.2f} s", "<= 5 s", again <= 5)
