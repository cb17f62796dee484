"""What scoring costs with more answers on offer, and of models that keep a state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Figure, fresh_store

WIDTHS = {"lstm": {"width": 512}, "lfm2": {"width": 256, "depth": 6}}
"""A recurrent model and a hybrid of the kit, of some millions of parameters."""
CONTEXT, ANSWER, VOCABULARY = 96, 3, 256
CHOICES, ROUNDS = (1, 2, 4, 8, 16, 32, 64), 3
KEPT = ROOT / "benchmarks" / "choices.csv"


def states() -> Iterator[Figure]:
    """A recurrent and a hybrid model: four answers an item, against one request at a time."""
    import torch

    from kit.build.runner import Runner
    from kit.measurements.scoring import way
    from kit.spec.ref import Ref
    from kit.spec.spec import Variant

    torch.set_num_threads(1)
    with fresh_store():
        for name, sizes in WIDTHS.items():
            runner = Runner(Variant(Ref(name, **sizes)), 1)
            chosen = way(runner)
            ours, alone, gap, _ = _against(runner, drawn(4, 12), chosen)
            ratio = median(a / o for a, o in zip(alone, ours, strict=True))
            text = f"{ratio:.1f} times, by {chosen.name}"
            yield Figure(f"{name}: faster than one by one", text, ">= 2", ratio >= 2)
            yield Figure(f"{name}: differences", f"{gap:.1e}", "<= 1e-3", gap <= 1e-3)


def choices() -> Iterator[Figure]:
    """SmolLM2-135M, 1 to 64 answers an item after one context: seconds and tokens computed."""
    import torch

    from kit.assets import assets
    from kit.build.runner import Runner
    from kit.measurements.scoring import way
    from kit.spec.spec import Variant

    torch.set_num_threads(1)
    rows = ["choices,seconds,seconds_one_by_one,tokens,tokens_one_by_one"]
    with fresh_store():
        runner = Runner(Variant(f"hf:{assets.path('smollm2')}"), 1)
        chosen = way(runner)
        for count in CHOICES:
            asked = drawn(count, 1)
            few = asked[:4] if count > 4 else asked  # each costs the same
            ours, alone, gap, found = _against(runner, asked, chosen, few)
            mine, theirs = median(ours), median(alone) * len(asked) / len(few)
            rows.append(f"{count},{mine:.4f},{theirs:.4f},{found.computed},{found.asked}")
            text = (
                f"{mine:.2f} s, one by one {theirs:.2f} s; {found.computed} of {found.asked} tokens"
            )
            yield Figure(f"{count} answers", text, "<= 1e-3 apart", gap <= 1e-3)
    KEPT.write_text("\n".join(rows) + "\n")
    _drawing().savefig(KEPT.with_suffix(".png"))


def _drawing() -> Any:
    """Draws what was kept: seconds and tokens over the number of answers."""
    import pandas as pd

    from kit.report.style import COLOURS, MARKERS, empty, styled

    table = pd.read_csv(KEPT)
    sides = {"together": "", "one by one": "_one_by_one"}

    @styled
    def figure() -> Any:
        question = f"What do more answers to one question of {CONTEXT} tokens cost?"
        made, panels = empty(question, 9.5, 3.4, ["SmolLM2-135M, fp32, one thread."], 2)
        told = ("seconds", "CPU seconds"), ("tokens", "tokens computed")
        for axes, (column, label) in zip(panels, told, strict=True):
            for turn, (name, end) in enumerate(sides.items()):
                values = table[column + end]
                style = {"color": COLOURS[turn], "label": name}
                axes.plot(table["choices"], values / values[0], MARKERS[turn] + "-", **style)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(CHOICES, [str(each) for each in CHOICES])
            axes.set_yticks(CHOICES, [str(each) for each in CHOICES])
            axes.set_xlabel("answers on offer")
            axes.set_title(label)
        panels[0].set_ylabel("times the cost of one answer")
        made.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
        return made

    return figure()


def drawn(answers: int, items: int) -> list[Any]:
    """Returns requests of made-up tokens: a context an item, and short answers to it."""
    from kit.measurements.scoring import Request

    rng = np.random.default_rng(0)

    def some(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, VOCABULARY, count).tolist())

    contexts = [some(CONTEXT) for _ in range(items)]
    return [Request(each, some(ANSWER)) for each in contexts for _ in range(answers)]


def _against(
    runner: Any, asked: list[Any], by: Any, few: list[Any] | None = None
) -> tuple[list[float], list[float], float, Any]:
    """Scores requests together, and all or a few of them one at a time, in turns.

    Returns:
        CPU seconds of each round, of the two; the largest difference; what was scored together.
    """
    from kit.measurements.scoring import score
    from kit.measurements.walks import AloneWalk

    single = asked if few is None else few
    ours, alone = [], []
    for _ in range(ROUNDS):
        took, found = _timed(lambda: score(runner, asked, by=by))
        ours.append(took)
        took, each = _timed(lambda: [score(runner, [one], by=AloneWalk) for one in single])
        alone.append(took)
    values = np.array([one.loglikelihood[0] for one in each])
    return ours, alone, float(np.abs(values - found.loglikelihood[: len(single)]).max()), found


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = call()
    return time.process_time() - start, found
