"""How processes are started for timings and memory: each choice against the one that was made."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any
from unittest import mock

import kit
from benchmarks.common import Figure, fresh_store
from kit import tasks
from kit.build.steps import prepare
from kit.machine import environment
from kit.machine.load import busy
from kit.machine.workers import Worker
from kit.measurements.interface import Bench
from kit.measurements.timer import Call, Timer

CHOICES: dict[str, dict[str, str]] = {
    "as it comes (what kit does)": {},
    "threads wait actively": {"OMP_WAIT_POLICY": "active"},
    "threads wait passively": {"OMP_WAIT_POLICY": "passive"},
    "threads bound to cores": {"OMP_PROC_BIND": "true"},
    "denormals flushed to zero": {"BENCH_FLUSH": "1"},
}
LAUNCHES, TURNS, REPEATS = 3, 12, 6


class Tuned(Timer):
    """A timer whose process may flush denormals."""

    def __init__(self, *args: Any) -> None:
        import torch

        torch.set_flush_denormal("BENCH_FLUSH" in os.environ)
        super().__init__(*args)


def policies() -> Iterator[Figure]:
    """MiniLM at batch 1, a process with each choice against one without, in turns."""
    with fresh_store():
        variant, threads = _minilm(), environment.machine()["threads"]
        task = kit.Ref("sentiment")
        texts = list(tasks.load(task).split("test", 64)["text"])
        args = (Tuned, variant, task, threads, [Call(1, "task")], texts)
        for cores in (0, 1):
            for name, choice in CHOICES.items():
                ratios = [_ratio(args, choice, cores, threads) for _ in range(LAUNCHES)]
                place = "a core kept busy" if cores else "quiet"
                low, high = min(ratios), max(ratios)
                text = f"{median(ratios):.2f} times as long ({low:.2f} to {high:.2f})"
                yield Figure(f"{place}: {name}", text)


def _minilm() -> kit.Variant:
    """Returns the classifier after one short training: its speed is that of any other."""
    training = kit.Training("sentiment", kit.Budget(epochs=1, examples=64), rates=(1e-4,))
    return kit.Variant("minilm", training)


def _ratio(args: tuple[Any, ...], choice: dict[str, str], cores: int, threads: int) -> float:
    """Returns the time of a call with a choice over that without, median over turns."""
    sides: list[tuple[Any, list[float]]] = []
    order = random.Random(0)
    with ExitStack() as stack:
        for variables in ({}, choice):
            with mock.patch.dict(os.environ, variables):
                worker = stack.enter_context(Worker(*args, threads=threads))
                worker.call("warm_up")
            sides.append((worker, []))
        stack.enter_context(busy(cores))
        for _ in range(TURNS):
            for worker, taken in order.sample(sides, 2):
                taken.extend(worker.call("turn", 0))
    plain, tuned = (median(taken) for _, taken in sides)
    return tuned / plain


def memory() -> Iterator[Figure]:
    """Peak memory of fresh processes that do the same."""
    with fresh_store():
        for runtime in ("eager", "onnx"):
            variant = _minilm().replace(runtime=runtime)
            prepare(variant)  # training is no part of what is repeated
            peaks = []
            for _ in range(REPEATS):
                with Worker(Bench, threads=1, freed="system") as worker:
                    raw = worker.call("measure", kit.Run(variant, kit.Memory("sentiment")))
                peaks.append(
                    float(raw.columns["value"][raw.columns["quantity"] == "peak_bytes"][0])
                )
            spread = max(peaks) / min(peaks) - 1
            text = f"{spread:.2%} between {REPEATS} processes ({median(peaks) / 1e6:.0f} MB)"
            yield Figure(f"peak memory on {runtime} repeats", text, "<= 2%", spread <= 0.02)
