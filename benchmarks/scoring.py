"""Answers on offer scored by kit and by lm-evaluation-harness, in turns in one process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import Figure, fresh_store, process
from kit import tasks
from kit.measurements.memory import status
from kit.measurements.prompts import examples_before
from kit.measurements.score_choices import requests
from kit.measurements.scoring import score, tree_of, way
from kit.tasks.templates import Prompt, put, shot

ROUNDS, BATCHES = 2, (1, 8, 16)


class Case(NamedTuple):
    """What both are asked.

    Attributes:
        task: its questions.
        items: how many; few where there are examples, which lm-eval computes for each again.
        shots: examples before each.
        own: others for each question.
        default: how many times as fast as lm-eval at its default; None: nothing is promised.
        best: and as at the best of its batch sizes.
    """

    task: str
    items: int
    shots: int = 0
    own: bool = False
    default: float | None = None
    best: float | None = None

    @property
    def name(self) -> str:
        """What the table says."""
        return f"{self.task}, {self.shots}{' own' if self.own else ''} examples"


CASES = (
    Case("openbookqa", 60, default=6, best=2.8),
    Case("openbookqa", 12, 5, default=15, best=15),
    Case("openbookqa", 12, 5, own=True, default=3, best=3),
    Case("piqa", 40),
    Case("boolq", 12),
    Case("mmlu", 4, 5),
)


def scoring() -> Iterator[Figure]:
    """SmolLM2-135M in fp32 on one thread: the same requests, models, dtype, in turns."""
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        yield Figure("scoring", "lm-eval is not installed: pip install 'kit[lm-eval]'")
        return
    import torch

    torch.set_num_threads(1)
    with fresh_store():
        runner, other = _runner(), HFLM(**_given(), batch_size=1)
        peak = _peak()
        for case in CASES:
            ours, theirs = _sides(runner, other, case)
            yield from _figures(case, ours, theirs, peak, runner)
    yield from _memory()


def _runner() -> Any:
    from kit.assets import assets
    from kit.build.runner import Runner
    from kit.spec.spec import Variant

    return Runner(Variant(f"hf:{assets.path('smollm2')}"), 1)


def _given() -> dict[str, str]:
    """Returns what lm-eval's model is made of."""
    from kit.assets import assets

    os.environ["HF_HUB_OFFLINE"] = "1"
    return {"pretrained": str(assets.path("smollm2")), "device": "cpu", "dtype": "float32"}


def _prompts(case: Case) -> list[Prompt]:
    """Returns questions after their examples: the same for all, or drawn for each by a seed."""
    data = tasks.load(case.task)
    how = data.template
    assert how is not None
    rows = data.split("test", case.items)
    items = data.questions(rows, data.contents(rows))
    before = examples_before(data, how, case.shots) * len(items)
    if case.own:
        more = data.split("train", case.shots * len(items))
        shots = [shot(how, item) for item in data.questions(more, data.contents(more))]
        before = ["".join(shots[k :: len(items)]) for k in range(len(items))]
    puts = (put(how, item) for item in items)
    return [Prompt(b + c, said) for b, (c, said) in zip(before, puts, strict=True)]


def _ours(runner: Any, case: Case) -> Callable[[], Any]:
    prompts, tried = _prompts(case), way(runner)  # once a model, as it is loaded once
    return lambda: score(runner, requests(runner, prompts)[0], by=tried)


def _theirs(other: Any, case: Case) -> Callable[[int], Any]:
    from lm_eval.api.instance import Instance

    pairs = [(context, each) for context, said in _prompts(case) for each in said]
    asked = [Instance("loglikelihood", {}, pair, k) for k, pair in enumerate(pairs)]

    def theirs(batch: int) -> Any:
        other.batch_size_per_gpu = batch
        return other.loglikelihood(asked, disable_tqdm=True)

    return theirs


def _sides(runner: Any, other: Any, case: Case) -> tuple[Callable[[], Any], Callable[[int], Any]]:
    return _ours(runner, case), _theirs(other, case)


def _figures(case: Case, ours: Any, theirs: Any, peak: float, runner: Any) -> Iterator[Figure]:
    name = case.name
    took: dict[str, list[float]] = {}
    scores = ours()
    gap = 0.0
    for _ in range(ROUNDS if case.default else 1):
        for key, call in [("kit", ours), *((str(b), lambda b=b: theirs(b)) for b in BATCHES)]:
            start = time.process_time()
            found = call()
            took.setdefault(key, []).append(time.process_time() - start)
            if key != "kit":
                likelihood = np.array([value for value, _ in found])
                gap = max(gap, float(np.abs(likelihood - scores.loglikelihood).max()))
    mine = median(took["kit"])
    ratios = {b: _ratio(took[str(b)], took["kit"]) for b in BATCHES}
    first, best = ratios[1], min(ratios.values())
    shown = f"{first:.1f} times its default, {best:.1f} times its best of {BATCHES}"
    default, least = case.default, case.best
    told = default is not None and least is not None
    kept = bool(first >= default and best >= least) if told else None
    want = f">= {default}; >= {least}" if told else ""
    yield Figure(f"{name}: faster than lm-eval", shown, want, kept)
    share = f"{scores.computed:,} of {scores.asked:,} tokens computed, by {scores.way}"
    used = _flops(runner, case, scores.computed) / peak / mine
    floor = f"{share}; {used:.0%} of the time is what the matrix products alone would take"
    yield Figure(f"{name}: work", floor, ">= 75%", used >= 0.75)
    yield Figure(f"{name}: differences", f"{gap:.1e}", "<= 1e-3", gap <= 1e-3)


def _flops(runner: Any, case: Case, computed: int) -> int:
    """Returns the operations of all layers, and of the logits of places where answers stand."""
    module = runner.model.module
    head = module.get_output_embeddings().weight.numel()
    layers = sum(each.numel() for each in module.parameters()) - head  # tied: counted once
    tree = tree_of(requests(runner, _prompts(case))[0])
    places = len(np.unique(tree.parent[tree.wanted]))
    return 2 * (layers * computed + head * places)


def _ratio(theirs: Sequence[float], mine: Sequence[float]) -> float:
    """Returns the median over rounds, so that what slows a round slows both."""
    return median(a / b for a, b in zip(theirs, mine, strict=True))


def _memory() -> Iterator[Figure]:
    """The most memory of a process that scores the first case, and what scoring adds."""
    found = {}
    for side in ("kit", "lm-eval"):
        code = f"from benchmarks.scoring import held; print(*held({side!r}))"
        found[side] = [int(each) for each in process(code)[1].split()]
    (ours, mine), (theirs, others) = found["kit"], found["lm-eval"]
    shown = f"{ours / 1e6:.0f} MB against {theirs / 1e6:.0f} MB of lm-eval's at its default"
    yield Figure("memory of a process", shown, "<= lm-eval's", ours <= theirs)
    yield Figure("of it by scoring", f"{mine / 1e6:.0f} MB against {others / 1e6:.0f} MB")


def held(side: str) -> tuple[int, int]:
    """Returns the most bytes of this process, and those that scoring added to what was loaded."""
    import torch

    torch.set_num_threads(1)
    with fresh_store(), contextlib.redirect_stdout(None):
        if side == "kit":
            call = _ours(_runner(), CASES[0])
        else:
            from lm_eval.models.huggingface import HFLM

            theirs = _theirs(HFLM(**_given(), batch_size=1), CASES[0])
            call = partial(theirs, 1)
        loading, before = status("VmHWM"), status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        call()
    scoring = status("VmHWM")
    return max(loading, scoring), scoring - before


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
