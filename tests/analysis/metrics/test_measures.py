"""That library's numbers from what items add: values, intervals and what cannot be had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics as theirs

from kit.analysis.evaluate import Estimate, Sample, evaluate
from kit.analysis.rows import interval_of
from kit.measurements import ScoreLmEval
from kit.measurements.score_lm_eval import measures
from kit.spec.register_measures import register_task
from kit.spec.registry import metrics
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

N = 200
RNG = np.random.default_rng(0)
LIKELIHOOD = -RNG.gamma(4.0, 3.0, N)
BYTES = RNG.integers(5, 60, N)
SAMPLES = [
    {"acc": float(k % 3 == 0), "f1": k % 7 / 6, "word_perplexity": (ll, int(size)),
     "bits": (ll, int(size)), "plain": ll / 10, "mcc": (k % 2, k % 3 % 2), "bad": 0.0,
     **({"rare": float(k % 2)} if k % 5 == 0 else {})}
    for k, (ll, size) in enumerate(zip(LIKELIHOOD, BYTES, strict=True))
]  # fmt: skip
AGGREGATION = {
    "acc": theirs.mean,
    "f1": theirs.mean,
    "word_perplexity": theirs.weighted_perplexity,
    "bits": theirs.bits_per_byte,
    "plain": theirs.perplexity,
    "mcc": theirs.matthews_corrcoef,
    "bad": lambda items: math.nan,
    "rare": theirs.mean,
}
HIGHER = {"acc": True, "f1": True, "mcc": True, "rare": True, "plain": False, "bits": False,
          "word_perplexity": False}  # fmt: skip


class Task:
    """What is asked of that library's task."""

    task_name = "made_up"

    def aggregation(self) -> Mapping[str, Any]:
        return AGGREGATION

    def higher_is_better(self) -> Mapping[str, bool]:
        return HIGHER


def made_up() -> None: ...


def expected(name: str, items: Any = slice(None)) -> float:
    return float(AGGREGATION[name]([s[name] for s in np.array(SAMPLES)[items] if name in s]))


@pytest.fixture
def sample(base: Variant) -> Sample:
    register_task(kind="lm_eval", harness=Task, version=1)(made_up)
    results = {f"{name},best=1;x": expected(name) for name in AGGREGATION}
    results |= {"acc_stderr,best=1;x": 0.1, "alias": "made_up"}
    columns = {"item": np.char.mod("%03d", np.arange(N))}
    columns |= measures(Task(), results, {"best=1;x": SAMPLES})
    return Sample(Artifact(Run(base, ScoreLmEval("made_up")), "x", "lm_eval", columns))


@pytest.fixture
def found(sample: Sample) -> dict[str, tuple[str, Estimate]]:
    names = ("lm_eval_score", "lm_eval_loss", "lm_eval_other")
    return {
        one.key.rpartition("=")[2]: (name, one)
        for name in names
        for one in evaluate(metrics.get(name), sample)
    }


def test_each_stands_under_its_direction_with_its_filter(
    found: dict[str, tuple[str, Estimate]],
) -> None:
    direction = {True: "lm_eval_score", False: "lm_eval_loss", None: "lm_eval_other"}
    assert {k: name for k, (name, _) in found.items()} == {
        name: direction[HIGHER.get(name)] for name in AGGREGATION
    }
    assert {one.key.partition(";")[0] for _, one in found.values()} == {"filter=best:1,x"}


@pytest.mark.parametrize("name", [*AGGREGATION][:-2] + ["rare"])
def test_the_value_is_the_librarys(found: dict[str, tuple[str, Estimate]], name: str) -> None:
    assert found[name][1].value == pytest.approx(expected(name), rel=1e-12)
    assert found[name][1].binary == (name == "acc")


@pytest.mark.parametrize("name", ["word_perplexity", "plain", "bits", "rare"])
def test_the_interval_is_that_of_the_bootstrap(
    found: dict[str, tuple[str, Estimate]], sample: Sample, name: str
) -> None:
    metric, one = found[name]
    rng = np.random.default_rng(1)
    draws = [expected(name, rng.integers(0, N, N)) for _ in range(2000)]
    interval = interval_of(metrics.get(metric), one, sample)
    half = (interval.high - interval.low) / 2
    assert half == pytest.approx(1.96 * np.std(draws), rel=0.12)
    assert interval.low < one.value < interval.high


def test_what_pools_all_items_says_so_and_what_is_no_number_too(
    found: dict[str, tuple[str, Estimate]], sample: Sample
) -> None:
    _, mcc = found["mcc"]
    assert not mcc.by_item and "pools its items" in mcc.note
    _, bad = found["bad"]
    assert bad.status == "undefined" and "no finite number" in bad.note
