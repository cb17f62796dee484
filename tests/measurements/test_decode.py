"""Decoding on tiny models: what is timed, what it costs at least, and what is not timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import driver_of, measure, toy_texts, toy_variant
from test_scoring import saved

from kit.analysis.score import score
from kit.architectures.budget import flops_per_token
from kit.architectures.states import state_bytes
from kit.build.runner import Runner
from kit.measurements import Decode, decoding_facts
from kit.measurements.decoding_calls import MOST_STEPS, Prefill, Step, prompts, weight_bytes
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.register_models import register_runtime
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=1))
LSTM = Variant(Ref("lstm", width=16, depth=1))
NGRAM = Variant(Ref("ngram"))
pytestmark = pytest.mark.usefixtures("short_turns")
SIZES: dict[str, Any] = {
    **{"prompts": (12, 20), "contexts": (8,), "batch_sizes": (1, 3), "launches": 1, "threads": 1},
    **{"seconds": 0.02, "wait": 0.0, "shared": (0.5,)},
}
CONDITIONS = {
    *(f"batch_size=1;context={n};stage=prefill;threads=1" for n in (12, 20)),
    *(f"batch_size=1;context={n};shared={n // 2};stage=prefill;threads=1" for n in (12, 20)),
    *(f"batch_size={n};context=8;stage=step;threads=1" for n in (1, 3)),
}


@pytest.fixture
def texts(registries: None) -> Ref:
    return toy_texts()


def decoded(variant: Variant, task: Ref, against: Variant = LLAMA, **asked: Any) -> Any:
    return measure(driver_of(variant), Decode(task=task, against=against, **{**SIZES, **asked}))


def rows(variant: Variant, raw: Any, texts: Ref) -> Any:
    run = Run(variant, Decode(task=texts, against=LLAMA, **SIZES))
    return score(Artifact(run, "decode", raw.kind, raw.columns, raw.info))


def test_prompts_and_steps_are_timed_beside_what_they_cost(texts: Ref) -> None:
    raw = decoded(LLAMA, texts)
    calls = raw.columns["phase"] == "call"
    assert raw.kind == "decoding" and set(raw.columns["condition"][calls]) == CONDITIONS
    assert raw.info["notes"][0] == "96 greedy tokens of 4 texts are those of eager"
    module = Runner(LLAMA, 1).model.module
    weights = sum(each.nbytes for each in module.parameters()) - (
        module.get_input_embeddings().weight.nbytes
        if module.get_input_embeddings().weight is not module.get_output_embeddings().weight
        else 0
    )
    ours = calls & (raw.columns["side"] == "variant")
    for batch in (1, 3):
        here = ours & (
            raw.columns["condition"] == f"batch_size={batch};context=8;stage=step;threads=1"
        )
        assert set(raw.columns["moved_bytes"][here]) == {weights + batch * state_bytes(module, 8)}
        assert set(raw.columns["tokens"][here]) == {batch}
    here = ours & (raw.columns["condition"] == "batch_size=1;context=20;stage=prefill;threads=1")
    ids = torch.zeros(1, 20, dtype=torch.int64)
    expected = 20 * flops_per_token(module, {"input_ids": ids, "logits_to_keep": 1})
    assert raw.columns["flops"][here] == pytest.approx(expected)
    half = raw.columns["condition"] == "batch_size=1;context=20;shared=10;stage=prefill;threads=1"
    assert raw.columns["flops"][ours & half] == pytest.approx(expected / 2)


def test_rows_are_times_rates_and_shares_of_what_the_machine_allows(texts: Ref) -> None:
    raw = decoded(LSTM, texts)
    table = rows(LSTM, raw, texts)
    found = {(each["metric"], each["condition"]): each["value"] for each in table}
    step = "batch_size=3;context=8;stage=step;threads=1"
    seconds = found["time_per_output_token", step]
    assert found["tokens_per_second", step] == pytest.approx(3 / seconds)
    here = (raw.columns["condition"] == step) & (raw.columns["side"] == "variant")
    moved, most = raw.columns["moved_bytes"][here].max(), raw.columns["bandwidth"][0]
    assert found["bandwidth_utilisation", step] == pytest.approx(moved / seconds / most)
    prompt = "batch_size=1;context=20;stage=prefill;threads=1"
    assert found["time_to_first_token", prompt] > 0 and found["speedup", prompt] > 0
    assert 0 < found["flops_utilisation", prompt] < 1
    assert ("time_to_first_token", step) not in found


def test_what_keeps_no_state_decodes_by_recomputation(texts: Ref) -> None:
    raw = decoded(NGRAM, texts, against=NGRAM)
    steps = (raw.columns["writes"]) & (raw.columns["phase"] == "call")
    assert steps.any() and (raw.columns["seconds"][steps] > 0).all()
    assert "each token is written from the whole text" in raw.info["notes"][1]


def test_the_context_is_gone_back_to_and_let_go_of(texts: Ref) -> None:
    runner = Runner(LLAMA, 1)
    session: Any = runner.session
    forks: list[int] = []
    fork = session.fork
    session.fork = lambda state, n: (forks.append(n), fork(state, n))[1]
    calls, begin, end = Step(8, 3).ready(runner, ["some text that is long enough"])
    begin()
    for _ in range(MOST_STEPS):
        calls[0]()
    assert forks == [3]
    calls[0]()
    assert forks == [3, 3]
    end()
    with pytest.raises(KeyError):
        calls[0]()


def test_a_shared_beginning_gives_the_same_first_token(texts: Ref) -> None:
    runner = Runner(LLAMA, 1)
    given = ["a first text", "another one", "and a third"]
    plain = [call() for call in Prefill(12).ready(runner, given).calls]
    assert [call() for call in Prefill(12, 6).ready(runner, given).calls] == plain
    different = {tuple(each) for each in prompts(runner, given, 12)}
    assert len(different) > 1 and {len(each) for each in different} == {12}


def test_untied_embeddings_are_looked_up_not_read() -> None:
    tied = Runner(LLAMA, 1)
    module = tied.model.module
    whole = sum({id(each): each.nbytes for each in module.parameters()}.values())
    table = module.get_input_embeddings().weight
    read = table is module.get_output_embeddings().weight
    assert weight_bytes(tied) == whole - (0 if read else table.nbytes)


def test_what_writes_otherwise_is_not_timed(texts: Ref) -> None:
    @register_runtime(gives=("forward", "decode"))
    def wrong(model: Any) -> Any:
        from kit.runtimes.decoding import session_of

        session: Any = session_of(model.eval())
        step = session.step
        session.step = lambda state, ids: -step(state, ids)
        return session

    with pytest.raises(Undefined, match=r"writes another token than eager after 1, where eager's"):
        decoded(LLAMA.replace(runtime="wrong"), texts)


def test_what_cannot_be_decoded_says_why(
    texts: Ref, toys: Ref, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="nothing to time"):
        decoded(LLAMA, texts, prompts=(), contexts=())
    with pytest.raises(Undefined, match="no language model"):
        decoded(toy_variant(toys), texts)
    short = saved(tmp_path / "llama", "llama", max_position_embeddings=160)
    with pytest.raises(Undefined, match=r"context=64 and the 128 .* 160 .* at most context=32"):
        decoded(short, texts, against=short, contexts=(64,))
    monkeypatch.setattr(decoding_facts, "VERSION", -1)

    class Little:
        available = 3.5 * state_bytes(Runner(LLAMA, 1).model.module, 8)

    monkeypatch.setattr("psutil.virtual_memory", Little)
    with pytest.raises(Undefined, match=r"batch_size=3 at a context of 8 .* expected at most 2"):
        decoded(LLAMA, texts)
    with pytest.raises(SpecError, match="timing is a pair"):
        decoded(LLAMA, texts, against=None)


def test_shares_of_a_machine_that_is_known(texts: Ref) -> None:
    raw = decoded(LLAMA, texts)
    raw.columns["bandwidth"][:] = 1e12
    assert np.isfinite(raw.columns["bandwidth"]).all()
    slow = {r["condition"]: r["value"] for r in rows(LLAMA, raw, texts)
            if r["metric"] == "bandwidth_utilisation"}  # fmt: skip
    raw.columns["bandwidth"][:] = 5e11
    for row in rows(LLAMA, raw, texts):
        if row["metric"] == "bandwidth_utilisation":
            assert row["value"] == pytest.approx(2 * slow[row["condition"]])
