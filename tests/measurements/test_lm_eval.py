"""kit's scorer under lm-evaluation-harness: the numbers that its own model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval_tasks import WORDS, save_llama

from kit.measurements.lm_eval import KitLM
from kit.spec.checking import SpecError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[KitLM, HFLM]:
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2)
    return get_model("kit")(variant=f"hf:{folder}"), theirs


def asked(kind: str, *args: Any) -> list[Instance]:
    return [Instance(kind, {}, each, k) for k, each in enumerate(args)]


def words(rng: np.random.Generator, n: int) -> str:
    return " ".join(WORDS[k] for k in rng.integers(0, 80, n))


def test_log_likelihoods_are_those_of_its_own_model(both: tuple[KitLM, HFLM]) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for size in (0, 1, 5, 12, 60):  # the last is longer than the window
        context = words(rng, size)
        pairs += [(context, f" {words(rng, int(rng.integers(1, 5)))}") for _ in range(4)]
    requests = asked("loglikelihood", *pairs)
    ours, theirs = (each.loglikelihood(requests, disable_tqdm=True) for each in both)
    np.testing.assert_allclose([a for a, _ in ours], [b for b, _ in theirs], atol=1e-3)
    assert [a for _, a in ours] == [b for _, b in theirs]


def test_rolling_log_likelihoods_too(both: tuple[KitLM, HFLM]) -> None:
    rng = np.random.default_rng(1)
    requests = asked("loglikelihood_rolling", *((words(rng, size),) for size in (3, 30, 90)))
    ours, theirs = (each.loglikelihood_rolling(requests, disable_tqdm=True) for each in both)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_what_it_writes_too(both: tuple[KitLM, HFLM]) -> None:
    rng = np.random.default_rng(2)
    how = {"until": ["w7"], "max_gen_toks": 8, "do_sample": False}
    requests = asked("generate_until", *((words(rng, 6), how) for _ in range(4)))
    ours, theirs = (each.generate_until(requests) for each in both)
    assert ours == theirs
    with pytest.raises(SpecError, match="samples its answers"):
        both[0].generate_until(asked("generate_until", ("w1", {"do_sample": True})))


def test_a_classifier_is_refused() -> None:
    with pytest.raises(SpecError):
        KitLM(variant="majority")
