"""Sessions whose state a scheme compresses: which models they take, forks, own functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import configuration
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from kit.build.runner import Runner
from kit.checks import check
from kit.measurements.going_on import ALONE, known_way
from kit.measurements.scoring import Request, score
from kit.runtimes.decoding import session_of
from kit.runtimes.keeping import Keeping
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.register_models import register_scheme
from kit.spec.spec import Variant

LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=2))
FIRST = Ref("streaming_llm", budget=12, sinks=2)


def tiny(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(configuration(name)).eval()


def keeping(scheme: str | Ref) -> Keeping:
    ref = registry.schemes.canonical(scheme)
    return Keeping(registry.schemes.get(ref.name).function, ref)


def random_ids(rows: int, tokens: int) -> Tensor:
    return torch.randint(5, 60, (rows, tokens), generator=torch.Generator().manual_seed(rows))


EVERY = ["llama", "gpt2", "gpt_neox", "qwen3", "phi", "olmo", "deepseek_v3", "opt"]


@pytest.mark.parametrize("name", EVERY)
def test_a_budget_that_is_never_reached_changes_nothing(name: str) -> None:
    model, ids = tiny(name), random_ids(2, 30)
    with torch.no_grad():
        whole = model(ids).logits
    for scheme in (Ref("streaming_llm", budget=40), Ref("observed_attention", budget=40)):
        session = keeping(scheme).session(model)
        first, state = session.prefill(ids[:, :20])
        later = [session.step(state, ids[:, k : k + 1]) for k in range(20, 30)]
        found = torch.cat([first[:, None], *later], 1)
        assert torch.allclose(found, whole[:, 19:], atol=1e-3)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("scheme", [FIRST, Ref("kv_int", bits=4, group=8, residual=0)])
def test_models_of_many_families_go_on_and_fork(name: str, scheme: Ref) -> None:
    model, ids = tiny(name), random_ids(2, 30)
    session = keeping(scheme).session(model)
    _, state = session.prefill(ids[:, :20])
    fork = session.fork(state, 2)
    size = session.bytes(fork)
    steps = torch.cat([session.step(state, ids[:, k : k + 1]) for k in range(20, 24)], 1)
    assert session.bytes(fork) == size
    again = [session.step(fork, ids[:, k : k + 1].repeat_interleave(2, 0)) for k in range(20, 24)]
    assert torch.allclose(torch.cat(again, 1)[1::2], steps, atol=1e-4)
    assert steps.isfinite().all()


def test_layers_that_hold_no_more_with_a_longer_text_stay() -> None:
    kept = keeping("kv_int8")
    assert kept.notes(tiny("llama")) == ()
    (said,) = kept.notes(tiny("gemma3_text"))
    assert "kv_int acts on 1 of 2 layers" in said
    hybrid = tiny("qwen3_next")
    (said,) = kept.notes(hybrid)
    assert "1 of 2 layers" in said
    ids, session = random_ids(1, 100), kept.session(hybrid)
    plain: Any = session_of(hybrid)
    (_, state), (_, full) = session.prefill(ids), plain.prefill(ids)
    recurrent = [vars(each.layers[0])["recurrent_states"] for each in (state, full)]
    assert str(recurrent[0]) == str(recurrent[1])
    assert session.bytes(state) == session.state_bytes(100) < plain.bytes(full)


@pytest.mark.parametrize("name", ["mamba", "mistral"])
def test_a_model_without_a_cache_that_grows_is_told(name: str) -> None:
    with pytest.raises(Undefined, match="kv_int acts on keys and values of all tokens"):
        keeping("kv_int8").session(tiny(name))


def test_a_module_without_a_cache_is_told() -> None:
    with pytest.raises(Undefined, match="Linear keeps no such cache"):
        keeping("kv_int8").session(nn.Linear(2, 2))


def test_attention_that_torch_does_not_compute_is_told() -> None:
    model = tiny("llama")
    model.set_attn_implementation("eager")
    with pytest.raises(Undefined, match="observed_attention reads attention"):
        keeping(Ref("observed_attention", budget=8)).session(model).prefill(random_ids(1, 9))


def test_positions_that_follow_from_what_is_held_are_told() -> None:
    model = tiny("bloom")
    keeping("kv_int8").session(model).prefill(random_ids(1, 80))
    with pytest.raises(Undefined, match="BloomForCausalLM takes no position_ids"):
        keeping(FIRST).session(model).prefill(random_ids(1, 80))


def test_rows_of_different_lengths_share_no_lossy_state() -> None:
    assert not hasattr(keeping("kv_int8").session(tiny("llama")), "merge")


def test_weights_are_compressed_before_the_state() -> None:
    both = Runner(LLAMA.replace(schemes=["w8", FIRST]), 1)
    plain = Runner(LLAMA.replace(schemes=["w8"]), 1)
    ids = random_ids(1, 30)
    inputs = {"input_ids": ids}
    assert (both.forward(inputs) == plain.forward(inputs)).all()
    (a, one), (b, other) = (each.session.prefill(ids) for each in (both, plain))
    assert torch.allclose(a, b, atol=1e-5)
    assert both.session.bytes(one) < plain.session.bytes(other)


def last_places(keys: Tensor, positions: Tensor, *, budget: int = 5) -> Tensor:
    """Keeps the latest tokens by their true positions."""
    assert positions.shape == keys.shape[:3]
    return positions.topk(min(budget, keys.shape[2]), -1).indices


def halves(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds to half precision."""
    return keys.half().float(), values.half().float()


def test_a_function_of_a_cell_is_a_scheme(registries: None) -> None:
    register_scheme(form="state")(last_places)
    register_scheme(form="state", simulated=True)(halves)
    assert all(passed for _, passed, _ in check("schemes/halves"))
    assert all(passed for _, passed, _ in check("schemes/last_places"))
    model, ids = tiny("llama"), random_ids(2, 20)
    found = []
    for scheme in (Ref("last_places"), Ref("window", budget=5)):
        session = keeping(scheme).session(model)
        _, state = session.prefill(ids[:, :12])
        session.step(state, ids[:, 12:15])
        found.append(session.step(state, ids[:, 15:]))
    assert torch.equal(*found)


@pytest.mark.parametrize("result", [torch.zeros(1, 2, 3), torch.zeros(3, dtype=torch.int64), None])
def test_what_no_scheme_may_give_is_refused(result: Any) -> None:
    def wrong(keys: Tensor) -> Any:
        return result

    with pytest.raises(SpecError, match="the places kept"):
        Keeping(wrong, Ref("wrong")).session(tiny("llama")).prefill(random_ids(1, 9))


def test_continuations_read_what_was_kept_of_their_context_shared_or_not() -> None:
    two_bits = Ref("kv_int", bits=2, group=8, residual=0)  # 40 tokens fill groups, 3 more none
    runner = Runner(LLAMA.replace(schemes=[two_bits]), 1)
    session: Any = runner.session
    context, alone = tuple(range(40, 80)), tuple(range(90, 130))
    requests = [
        Request(context, (7, 8, 9)),
        Request(context, (7, 11)),
        Request(context, (12,)),
        Request(alone, (3, 4, 5)),
    ]
    found = score(runner, requests)
    assert found.way == "kept"
    for request, likelihood in zip(requests, found.loglikelihood, strict=True):
        logits, state = session.prefill(torch.tensor([request.context]))
        expected = 0.0
        for token in request.continuation:
            expected += float(logits[0].log_softmax(-1)[token])
            logits = session.step(state, torch.tensor([[token]]))[:, -1]
        assert likelihood == pytest.approx(expected, abs=1e-4)
    plain = score(Runner(LLAMA, 1), requests).loglikelihood
    changed = (
        abs(found.loglikelihood - plain) > 5e-4
    )  # the first token is read by the prompt's call
    assert changed.tolist() == [True, True, False, True]


def test_texts_are_written_by_the_state_alone() -> None:
    found = known_way(Runner(LLAMA.replace(schemes=[FIRST]), 1), 8)
    assert (found.rows, found.note) == (1, ALONE)
