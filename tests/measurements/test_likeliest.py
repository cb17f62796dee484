"""What is kept of distributions over a vocabulary: the likeliest tokens and a sample of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import measure, toy_texts

from kit import tasks
from kit.build.runner import Runner
from kit.measurements import Quality
from kit.measurements.likeliest import ALL, Likeliest
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.roles import compared
from kit.spec.spec import Variant


def logprobs(places: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(places, size, generator=generator, dtype=torch.float64)
    return torch.log_softmax(logits, -1)


def kept(given: torch.Tensor, top: int, item: str = "a") -> dict[str, np.ndarray]:
    """What is kept of one document."""
    made = Likeliest([item], [[0] * (len(given) + 1)], top, given.shape[1])
    made.keep(0, 0, given)
    return {name: values[0] for name, values in made.columns.items()}


def test_the_likeliest_in_order_and_others_once() -> None:
    given = logprobs(50, 300)
    found = kept(given, 8)
    values, ids = given.sort(descending=True)
    np.testing.assert_array_equal(found["top_ids"], ids[:, :8])
    np.testing.assert_allclose(found["top_logprobs"], values[:, :8], rtol=1e-6)
    for place, both in enumerate(np.concatenate([found["top_ids"], found["tail_ids"]], axis=1)):
        assert len(set(both.tolist())) == 16
        expected = given[place, torch.from_numpy(found["tail_ids"][place]).long()]
        np.testing.assert_allclose(found["tail_logprobs"][place], expected, rtol=1e-6)


def test_each_of_the_others_stands_for_as_many_as_said() -> None:
    """One distribution at many places: kept with chance min(1, p t), a token stands for 1 / that.

    So the mean of what it stands for, 0 where it was not kept, is 1 whatever its probability.
    """
    places = 4000
    found = kept(logprobs(1, 60).repeat(places, 1), 6)
    chance = np.minimum(np.exp(found["tail_logprobs"] + found["tail_reach"][:, None]), 1)
    stands = np.zeros((places, 60))
    np.put_along_axis(stands, found["tail_ids"], 1 / chance, axis=1)
    often = np.flatnonzero((stands > 0).sum(axis=0) > 200)
    assert len(often) > 20
    mean, error = stands.mean(axis=0), stands.std(axis=0) / np.sqrt(places)
    assert (np.abs(mean - 1)[often] < 4 * error[often] + 1e-6).all()
    assert np.ptp((stands > 0).mean(axis=0)[often]) > 0.5


def test_runs_choose_the_same_tokens_where_they_can() -> None:
    one, other = logprobs(40, 2000), logprobs(40, 2000, seed=1)
    near = torch.log_softmax(one + 0.05 * other, -1)

    def shared(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
        pairs = zip(a["tail_ids"], b["tail_ids"], strict=True)
        return float(np.mean([len(np.intersect1d(x, y)) for x, y in pairs])) / 16

    assert shared(kept(one, 16), kept(near, 16)) > 0.8
    assert shared(kept(one, 16), kept(one, 16)) == 1
    assert shared(kept(one, 16, "a"), kept(one, 16, "b")) < 0.3


def test_small_vocabularies_are_kept_whole() -> None:
    given = logprobs(7, 10)
    found = kept(given, 64)
    ids = np.concatenate([found["top_ids"], found["tail_ids"]], axis=1)
    assert np.sort(ids).tolist() == [list(range(10))] * 7
    assert (found["tail_reach"] == np.float32(ALL)).all()


@pytest.fixture(scope="module")
def prose(toys: Ref) -> Ref:
    return toy_texts()


def test_of_a_task_by_windows(prose: Ref) -> None:
    runner = Runner(Variant(Ref("toy_causal")), 1)
    ask = Quality(prose, limit=5, context=16, stride=8, max_bytes=40, batch_size=2)
    raw, plain = measure(runner, ask.replace(top=4)), measure(runner, ask)
    assert raw.columns["nll"].tolist() == plain.columns["nll"].tolist()
    assert set(raw.columns) - set(plain.columns) == {
        *("token_ids", "top_ids", "top_logprobs", "tail_ids", "tail_logprobs", "tail_reach"),
    }
    for at, text in enumerate(tasks.load(prose).split("test", 5)["text"]):
        ids = torch.tensor([[0, *text.encode()[:40]]])
        with torch.no_grad():  # a bigram model: windows change nothing
            scores = torch.log_softmax(runner.model.module(ids)[0, :-1].double(), -1)
        count = raw.columns["tokens"][at]
        np.testing.assert_array_equal(raw.columns["token_ids"][at][:count], ids[0, 1:])
        values, places = scores.topk(4)
        np.testing.assert_array_equal(raw.columns["top_ids"][at][:count], places)
        np.testing.assert_allclose(raw.columns["top_logprobs"][at][:count], values, rtol=1e-5)
        assert not raw.columns["top_ids"][at][count:].any()
    wide = measure(runner, ask.replace(top=4, context=64, stride=32))
    np.testing.assert_array_equal(wide.columns["tail_ids"], raw.columns["tail_ids"])
    assert compared(ask.replace(top=4)) == compared(ask)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match=r"top=20000 of 100 .* takes 3.2 GB of 2.1; .* top=13421"):
        Likeliest(["a"] * 100, [[0] * 101] * 100, 20_000, 10**6)
