"""What real work gains from a second worker, and what a timing can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import kit
from benchmarks.common import Figure, fresh_store, seconds, texts
from kit.measurements.pairs import SIDES
from kit.store import store

TURNS, LAUNCHES, TIMED = 2, 8, 1.0


def model(width: int, depth: int, seed: int = 0) -> kit.Variant:
    """Returns a language model with random weights."""
    return kit.Variant(kit.Ref("llama", width=width, depth=depth), seed=seed)


def scaling() -> Iterator[Figure]:
    """Quality runs of four models by two workers and by one, in turns."""
    with fresh_store():
        task = kit.task_from_text("bench_texts", texts(100, 100))
        runs = [kit.Run(model(256, 6, seed), kit.Quality(task, limit=20)) for seed in range(4)]
        study = kit.Study("bench", runs, runs[0].variant)
        kit.tasks.load(task)
        how = {"redo": ["score_text"], "on_error": "raise"}
        pairs = [
            [seconds(lambda n=n: study.run(workers=n, **how)) for n in (1, 2)] for _ in range(TURNS)
        ]
    one, two = (median(side) for side in zip(*pairs, strict=True))
    text = f"{one / two:.2f} times as fast ({one:.1f} s, {two:.1f} s)"
    yield Figure("quality runs, 2 workers against 1", text, ">= 1.7", one / two >= 1.7)


def timing() -> Iterator[Figure]:
    """A small model timed against itself: the interval should hold 1."""
    with fresh_store():
        task = kit.task_from_text("bench_texts", texts(100, 100))
        base = model(128, 4)
        size = {"batch_sizes": (1,), "lengths": (128,)}
        asked = kit.Latency(task, **size, launches=LAUNCHES, seconds=TIMED)
        asked = asked.replace(wait=0.0)  # what others do is noted, not waited for
        study = kit.Study("bench", [kit.Run(base, asked)], base)
        kit.tasks.load(task)
        seconds(lambda: study.run(on_error="raise"))
        table = study.table()
        (row,) = table[table["metric"] == "speedup"].to_dict("records")
        (run,) = study.runs
        artifact = store.load(run, run.id)
    low, high = row["ci_low"], row["ci_high"]
    text = f"{row['value']:.4f}, {low:.4f} to {high:.4f}: {(high - low) / 2:.1%} either way"
    title = f"a model against itself, {LAUNCHES} launches"
    yield Figure(title, text, "interval holds 1", low <= 1 <= high)
    calls = artifact.columns["phase"] == "call"
    timed = artifact.columns["seconds"][calls].sum()
    extra = (artifact.info["seconds"] - timed) / LAUNCHES
    about = f"{extra:.1f} s (timed: {timed / LAUNCHES / len(SIDES):.1f} s a side)"
    yield Figure("a launch beyond its timing", about, "<= 6 s", extra <= 6)
    yield Figure("notes of that run", row["note"] or "none")
