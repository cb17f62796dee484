"""Answers on offer scored by kit and by lm-evaluation-harness, in turns in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import Figure, fresh_store

ITEMS, ROUNDS, BATCHES = {0: 60, 5: 12}, 2, (1, 8, 16)
"""Items by the number of examples before them, which lm-eval computes for each again."""
PROMISED = {("openbookqa", 0): (6, 2.8), ("openbookqa", 5): (15, 15), ("piqa", 0): (None, None)}
"""Task and examples -> how many times as fast as its default, and as its best batch size."""


def scoring() -> Iterator[Figure]:
    """SmolLM2-135M in fp32 on one thread: the same requests, models, dtype, in turns."""
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        yield Figure("scoring", "lm-eval is not installed: pip install 'kit[lm-eval]'")
        return
    import torch

    from kit.assets import assets
    from kit.build.runner import Runner
    from kit.spec.spec import Variant

    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    folder = assets.path("smollm2")
    given = {"pretrained": str(folder), "device": "cpu", "dtype": "float32"}
    with fresh_store():
        runner = Runner(Variant(f"hf:{folder}"), 1)
        peak = _peak()
        for (task, shots), promised in PROMISED.items():
            ours, theirs = _sides(runner, HFLM(**given, batch_size=1), task, shots)
            yield from _figures(f"{task}, {shots} examples", ours, theirs, promised, peak, runner)


def _sides(
    runner: Any, other: Any, name: str, shots: int
) -> tuple[Callable[[], Any], Callable[[int], Any]]:
    from lm_eval.api.instance import Instance

    from kit import tasks
    from kit.measurements.score_choices import examples_before, requests
    from kit.measurements.scoring import score, way
    from kit.tasks.templates import Prompt, put

    data = tasks.load(name)
    assert data.template is not None
    rows = data.split("test", ITEMS[shots])
    before = examples_before(data, data.template, shots)
    items = data.questions(rows, data.contents(rows))
    prompts = [Prompt(before + c, said) for c, said in (put(data.template, i) for i in items)]
    pairs = [(context, each) for context, said in prompts for each in said]
    asked = [Instance("loglikelihood", {}, pair, k) for k, pair in enumerate(pairs)]

    tried = way(runner)  # once a model, as it is loaded once

    def theirs(batch: int) -> Any:
        other.batch_size_per_gpu = batch
        return other.loglikelihood(asked, disable_tqdm=True)

    return lambda: score(runner, requests(runner, prompts)[0], by=tried), theirs


def _figures(
    name: str, ours: Any, theirs: Any, promised: Any, peak: float, runner: Any
) -> Iterator[Figure]:
    took: dict[str, list[float]] = {}
    scores = ours()
    gap = 0.0
    for _ in range(ROUNDS):
        for key, call in [("kit", ours), *((str(b), lambda b=b: theirs(b)) for b in BATCHES)]:
            start = time.process_time()
            found = call()
            took.setdefault(key, []).append(time.process_time() - start)
            if key != "kit":
                likelihood = np.array([value for value, _ in found])
                gap = max(gap, float(np.abs(likelihood - scores.loglikelihood).max()))
    mine = median(took["kit"])
    first, best = median(took["1"]) / mine, min(median(took[str(b)]) for b in BATCHES) / mine
    default, least = promised
    shown = f"{first:.1f} times its default, {best:.1f} times its best of {BATCHES}"
    kept = None if default is None else first >= default and best >= least
    want = "" if default is None else f">= {default}; >= {least}"
    yield Figure(f"{name}: faster than lm-eval", shown, want, kept)
    share = f"{scores.computed:,} of {scores.asked:,} tokens computed, by {scores.way}"
    flops = 2 * sum(each.numel() for each in runner.model.module.parameters()) * scores.computed
    floor = f"{share}; {flops / peak / mine:.0%} of what the matrix products alone would take"
    yield Figure(f"{name}: work", floor, ">= 75%", flops / peak / mine >= 0.75)
    yield Figure(f"{name}: differences", f"{gap:.1e}", "<= 1e-3", gap <= 1e-3)


def _peak() -> float:
    """Returns the FLOPs a second of a large matrix product on one thread."""
    import torch

    one, other = torch.rand(512, 1536), torch.rand(1536, 576)
    rates = []
    for _ in range(20):
        start = time.process_time()
        for _ in range(10):
            one @ other
        rates.append(10 * 2 * 512 * 1536 * 576 / (time.process_time() - start))
    return max(rates)
