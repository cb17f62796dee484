"""Measures kit against its promises: `python -m benchmarks [NAME ...]`.

Ratios are of two things measured in turns in one run; plain figures say so by their unit.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kit
from kit import build, registry, store
from kit.analysis.score import compare, score

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "matplotlib", "datasets")
OUTSIDE_CORE = ("architectures", "tasks", "compression", "runtimes")


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    promised: str
    kept: bool


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )


def imports() -> Iterator[Figure]:
    """`import kit` against an empty program, in turns."""
    pairs = [(seconds(lambda: python("import kit")), seconds(lambda: python(""))) for _ in range(7)]
    cost = statistics.median(a - b for a, b in pairs)
    yield Figure("import kit", f"{cost:.2f} s over an empty program", "<= 0.3 s", cost <= 0.3)
    loaded = python(f"import kit, sys; print([n for n in {HEAVY!r} if n in sys.modules])")
    found = loaded.stdout.strip()
    yield Figure("heavy packages it loads", found, "[]", found == "[]")


def engine() -> Iterator[Figure]:
    """1,000 runs that do nothing, and finding them all done."""

    @kit.register_measurement(where="worker", artifacts=("cost",), version=1)
    def no_op(runner: object, *, number: int = 0) -> kit.Raw:
        """Does nothing."""
        del runner
        text = np.array([""])
        return kit.Raw(
            "cost",
            {
                "quantity": np.array(["rate"]),
                "condition": text,
                "value": np.array([float(number)]),
                "unit": text,
            },
        )

    frame = kit.tasks.load("sentiment").split("test", 200).to_pandas()
    task = kit.task_from_frame("bench", frame, cluster="cluster")
    variant = kit.Variant("vader", kit.Training(task), name="nothing")
    runs = [kit.Run(variant, kit.Ref("no_op", number=n)) for n in range(1000)]
    for executor, workers in (("inline", 1), ("local", 1), ("local", 2)):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["KIT_STORE"] = folder
            study = kit.Study(f"bench {executor} {workers}", runs, variant)
            whole = seconds(lambda s=study, e=executor, w=workers: s.run(executor=e, workers=w))
            again = seconds(lambda s=study: s.run())
            each = 1000 * whole / len(runs)
            what = f"engine, {executor}, {workers} worker"
            yield Figure(what, f"{each:.1f} ms a run, table included", "<= 5 ms", each <= 5)
            yield Figure("resume of 1,000 runs", f"{again:.2f} s", "<= 2 s", again <= 2)
    os.environ.pop("KIT_STORE")


def analysis() -> Iterator[Figure]:
    """A million predictions of two models through `score` and `compare`."""
    rng = np.random.default_rng(0)
    count = 1_000_000
    label = rng.integers(0, 2, count)
    item = np.arange(count).astype("U7")
    artifacts = []
    for seed in range(2):
        variant = kit.Variant("vader", name=f"model {seed}", seed=seed)
        logits = rng.normal(size=(count, 2)) + 2 * np.eye(2)[label]
        columns = {"item": item, "cluster": item, "label": label, "logits": logits}
        run = kit.Run(
            variant.replace(architecture=("vader", "majority")[seed]),
            kit.Ref("quality", task="sentiment"),
        )
        artifacts.append(store.Artifact(run, str(seed), "classification", columns))
    base = artifacts[0].run.variant

    def both() -> None:
        for artifact in artifacts:
            score(artifact)
        compare(artifacts, base)

    taken = seconds(both)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Figure(
        "2 x 1,000,000 predictions", f"{taken:.1f} s, peak {peak:.1f} GiB", "<= 20 s", taken <= 20
    )


def timing() -> Iterator[Figure]:
    """A/A: a model against itself, eight launches; and what a launch costs beside its timing."""
    base = kit.classifier()
    latency = kit.Latency("sentiment", batch_sizes=(1,), launches=8, seconds=1.5)
    study = kit.Study("bench A/A", [kit.Run(base, latency)], base)
    build.prepare(base)
    taken = seconds(lambda: study.run(redo=["latency"]))
    rows = study.table()
    row = rows[rows.metric == "speedup"].iloc[0]
    half = (row.ci_high - row.ci_low) / 2
    text = f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}], half-width {half:.3f}"
    yield Figure("A/A, 8 launches, batch 1", text, "contains 1", row.ci_low <= 1 <= row.ci_high)
    beside = taken / 8 - 2 * 1.5
    yield Figure("a launch beside its timing", f"{beside:.1f} s", "<= 6 s", beside <= 6)


def size() -> Iterator[Figure]:
    """Lines of the core, docstrings included, and the longest file."""
    files = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "kit").rglob("*.py")
        if not set(path.relative_to(ROOT / "kit").parts) & set(OUTSIDE_CORE)
    }
    total, longest = sum(files.values()), max(files, key=lambda path: files[path])
    yield Figure("lines of the core", f"{total:,}", "<= 3,500", total <= 3500)
    yield Figure(
        f"longest file ({longest.name})", str(files[longest]), "<= 300", files[longest] <= 300
    )


BENCHMARKS = {f.__name__: f for f in (imports, engine, analysis, timing, size)}


def main(names: list[str]) -> None:
    """Runs the named benchmarks, or all, and prints one table."""
    from rich.console import Console
    from rich.table import Table

    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(registry.suggest(unknown[0], BENCHMARKS, "benchmark"))
    table = Table("figure", "measured", "promised", "kept")
    for name in names or BENCHMARKS:
        for what, measured, promised, kept in BENCHMARKS[name]():
            table.add_row(what, measured, promised, "yes" if kept else "NO")
    Console(width=120).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
