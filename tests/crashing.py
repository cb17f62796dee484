"""A study of probes, for tests that run it in processes of their own.

`python crashing.py NAME WORKERS NUMBER ...` does a study of that name with a probe for each number.
What a probe does when it runs is told by files in the folder `KIT_PROBES`: `NUMBER.sleep` holds
seconds, `NUMBER.bytes` how much it saves, `NUMBER.build` how much it builds. Each measuring is a
line of `log` there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from helpers import toy_rule, toy_task

import kit
from kit.measurements.interface import Raw
from kit.spec.kinds import Quantity
from kit.store import built

RATE: dict[str, Any] = {"artifacts": ("quantities",), "quantities": {"rate": Quantity("1", None)}}


def probe(runner: Any, *, number: int) -> Raw:
    """Does what the files say."""
    folder = Path(os.environ["KIT_PROBES"])

    def told(what: str) -> float:
        path = folder / f"{number}.{what}"
        return float(path.read_text() or 0) if path.exists() else 0.0

    with (folder / "log").open("a") as log:
        log.write(f"{number} {os.getpid()}\n")

    def build(place: Path) -> None:
        with (place / "weights").open("wb") as file:
            file.write(os.urandom(int(told("build"))))

    if told("build"):
        built.once(["probe", number], build)
    begun = time.monotonic()
    while time.monotonic() - begun < told("sleep"):  # a test may make it shorter meanwhile
        time.sleep(0.05)
    noise = np.random.default_rng(0).random(max(1, int(told("bytes") / 8)))
    texts = np.full(len(noise), "rate")
    conditions = np.full(len(noise), f"number={number}")
    columns = {"quantity": texts, "condition": conditions, "value": np.ones(len(noise))}
    return Raw("quantities", {**columns, "noise": noise})


def make(name: str, numbers: list[int]) -> kit.Study:
    """Returns the study; two seeds, so that two workers have work."""
    kit.register_measurement(where="worker", version=1, **RATE)(probe)
    kit.register_architecture(kind="predictor", version=1)(toy_rule)
    rule = kit.Variant("toy_rule", kit.Training(toy_task()), name="rule")
    runs = [kit.Run(rule.replace(seed=n % 2), kit.Ref("probe", number=n)) for n in numbers]
    return kit.Study(name, runs, runs[0].variant)


def main() -> None:
    """Does the study that the arguments name and prints how its rows stand."""
    name, workers, *numbers = sys.argv[1:]
    table = make(name, list(map(int, numbers))).run(workers=int(workers))
    rows = table[table.metric == "rate"]
    print("rows", *sorted(f"{row.condition}:{row.status}" for row in rows.itertuples()), flush=True)


if __name__ == "__main__":
    main()
