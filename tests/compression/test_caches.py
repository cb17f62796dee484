"""Schemes on the state, against decoding written out in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from kit.compression.packed import Grid
from kit.runtimes.keeping import Keeping, LossySession
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Variant

PROMPT, TOKENS, HEADS = 37, 60, 2


class Held(NamedTuple):
    """What the naive loop holds of one layer, of one row: [heads, t, ...]."""

    keys: Tensor
    values: Tensor
    received: Tensor


Read = Callable[[Held], tuple[Tensor, Tensor]]
Keep = Callable[[Held, int], list[int]]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2 * HEADS,
        num_key_value_heads=HEADS,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(0, 60, (2, TOKENS), generator=torch.Generator().manual_seed(1))


def session(model: Any, scheme: str | Ref) -> LossySession:
    ref = registry.schemes.canonical(scheme)
    return Keeping(registry.schemes.get(ref.name).function, ref).session(model)


def decoded(model: Any, scheme: str | Ref, ids: Tensor, sizes: tuple[int, ...] = (1,)) -> Tensor:
    """Returns the logits after the prompt and each later token, which come some at a time."""
    one = session(model, scheme)
    first, state = one.prefill(ids[:, :PROMPT])
    found, there = [first[:, None]], PROMPT
    while there < ids.shape[1]:
        size = sizes[len(found) % len(sizes)]
        found.append(one.step(state, ids[:, there : there + size]))
        there += size
    return torch.cat(found, 1)


@torch.no_grad()
def naive(model: Any, row: Tensor, read: Read | None = None, keep: Keep | None = None) -> Tensor:
    """Returns the same logits of one row: a prompt at once, then token by token."""
    size = model.config.head_dim
    empty = Held(torch.zeros(HEADS, 0, size), torch.zeros(HEADS, 0, size), torch.zeros(HEADS, 0))
    layers = [empty for _ in model.model.layers]
    found = []
    for start, end in [(0, PROMPT), *((k, k + 1) for k in range(PROMPT, len(row)))]:
        x = model.model.embed_tokens(row[None, start:end])
        rotation = model.model.rotary_emb(x, torch.arange(start, end)[None])
        for place, layer in enumerate(model.model.layers):
            attention, h = layer.self_attn, layer.input_layernorm(x)
            parts = (attention.q_proj(h), attention.k_proj(h), attention.v_proj(h))
            q, k, v = (each.view(1, end - start, -1, size).transpose(1, 2) for each in parts)
            q, k = apply_rotary_pos_emb(q, k, *rotation)
            held = layers[place]
            past = (held.keys, held.values) if read is None else read(held)
            keys, values = torch.cat([past[0], k[0]], 1), torch.cat([past[1], v[0]], 1)
            outputs, received = [], torch.zeros(HEADS, keys.shape[1])
            for head in range(2 * HEADS):
                group = head // 2
                scores = q[0, head] @ keys[group].T / size**0.5
                for query in range(end - start):  # its own tokens up to itself
                    scores[query, past[0].shape[1] + query + 1 :] = -torch.inf
                weights = scores.softmax(-1)
                received[group] += weights.sum(0)
                outputs.append(weights @ values[group])
            x = x + attention.o_proj(torch.cat(outputs, -1))[None]
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            received[:, : held.received.shape[1]] += held.received
            now = Held(torch.cat([held.keys, k[0]], 1), torch.cat([held.values, v[0]], 1), received)
            if keep is not None:
                chosen = torch.tensor([sorted(keep(now, head)) for head in range(HEADS)])
                heads = torch.arange(HEADS)[:, None]
                now = Held(*(each[heads, chosen] for each in now))
            layers[place] = now
        found.append(model.lm_head(model.model.norm(x))[0, -1:])
    return torch.cat(found)


def test_without_a_scheme_the_loop_is_the_model(model: Any, ids: Tensor) -> None:
    with torch.no_grad():
        whole = model(ids).logits
    assert torch.allclose(naive(model, ids[0]), whole[0, PROMPT - 1 :], atol=1e-4)


def rounded(bits: int, group: int, residual: int) -> Read:
    """Rounds number by number, in groups of tokens that are counted from the beginning."""

    def block(numbers: Tensor, axis: int) -> Tensor:
        low, high = numbers.amin(axis, keepdim=True), numbers.amax(axis, keepdim=True)
        least = low.to(torch.float16).float()
        step = ((high - low) / (2**bits - 1)).clamp(min=2**-14).to(torch.float16).float()
        return torch.clamp(torch.round((numbers - least) / step), 0, 2**bits - 1) * step + least

    def read(held: Held) -> tuple[Tensor, Tensor]:
        keys, values = held.keys.clone(), held.values.clone()
        for start in range(0, keys.shape[1], group):
            if start + group <= keys.shape[1] - residual:
                keys[:, start : start + group] = block(keys[:, start : start + group], 1)
                for c in range(0, values.shape[2], group):
                    some = (slice(None), slice(start, start + group), slice(c, c + group))
                    values[some] = block(values[some], 2)
        return keys, values

    return read


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("group", "residual"), [(8, 0), (16, 5)])
def test_rounded_and_packed_caches_are_read_as_the_loop_rounds_them(
    model: Any, ids: Tensor, bits: int, group: int, residual: int
) -> None:
    args = {"bits": bits, "group": group, "residual": residual}
    simulated = decoded(model, Ref("kv_round", **args), ids)
    packed = decoded(model, Ref("kv_int", **args), ids)
    assert torch.allclose(packed, simulated, rtol=0, atol=1e-5)
    expected = naive(model, ids[1], rounded(bits, group, residual))
    assert torch.allclose(packed[1], expected, atol=1e-3)
    assert (packed[1] - naive(model, ids[1])).abs().max() > 3e-3


def streaming(budget: int, sinks: int) -> Keep:
    def keep(held: Held, head: int) -> list[int]:
        there = [*range(held.keys.shape[1])]
        return there[:sinks] + there[sinks:][-(budget - sinks) :]

    return keep


def heavy(budget: int, recent: int) -> Keep:
    def keep(held: Held, head: int) -> list[int]:
        there = [*range(held.keys.shape[1])]
        old, latest = there[:-recent], there[-recent:]
        best = sorted(old, key=lambda k: -float(held.received[head, k]))
        return best[: budget - len(latest)] + latest

    return keep


def different(budget: int) -> Keep:
    def keep(held: Held, head: int) -> list[int]:
        keys = [key / key.norm() for key in held.keys[head]]
        mean = sum(keys) / len(keys)
        there = range(len(keys))
        return sorted(there, key=lambda k: float(keys[k] @ mean / mean.norm()))[:budget]

    return keep


@pytest.mark.parametrize(
    ("scheme", "keep"),
    [
        (Ref("streaming_llm", budget=20, sinks=3), streaming(20, 3)),
        (Ref("window", budget=20), streaming(20, 0)),
        (Ref("observed_attention", budget=20, recent=0.3), heavy(20, 6)),
        (Ref("keydiff", budget=20), different(20)),
    ],
)
def test_evicted_caches_hold_what_the_loop_keeps(
    model: Any, ids: Tensor, scheme: Ref, keep: Keep
) -> None:
    found = decoded(model, scheme, ids)
    for row in range(2):
        assert torch.allclose(found[row], naive(model, ids[row], keep=keep), atol=1e-3)
    assert (found[0] - naive(model, ids[0])).abs().max() > 0.05


def test_tokens_of_one_call_see_those_before_them_alone(model: Any, ids: Tensor) -> None:
    """A call of several tokens is causal: what comes later in it changes nothing before."""
    scheme = Ref("streaming_llm", budget=20)
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % 60
    found, changed = (decoded(model, scheme, each, (5, 9, TOKENS)) for each in (ids, other))
    assert torch.equal(found[:, :-1], changed[:, :-1])
    assert not torch.equal(found[:, -1], changed[:, -1])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bytes_are_what_the_formula_says(model: Any, ids: Tensor, bits: int) -> None:
    """Two tensors of 2 layers, 2 heads of 16; groups of 8 tokens or channels, 32 bits a group."""
    one = session(model, Ref("kv_int", bits=bits, group=8, residual=4))
    _, state = one.prefill(ids)
    count = (TOKENS - 4) // 8 * 8
    numbers, rest = 2 * 2 * 2 * 16 * count, 2 * 2 * 2 * 16 * (TOKENS - count)
    formula = 2 * (numbers * bits / 8 + numbers / 8 * 4 + 4 * rest)
    assert one.bytes(state) == pytest.approx(formula, rel=0.02)
    assert 2 * one.state_bytes(TOKENS) == pytest.approx(formula, rel=0.02)
    assert Grid(bits, 8, 4).rounds(TOKENS) == count


def test_an_evicted_cache_takes_its_budget(model: Any, ids: Tensor) -> None:
    one = session(model, Ref("streaming_llm", budget=20))
    _, state = one.prefill(ids)
    one.step(state, ids[:, :1])
    assert one.bytes(state) == 2 * 20 * 2 * 2 * 2 * 16 * 4
    assert one.state_bytes(10) == one.state_bytes(20) / 2 == one.state_bytes(500) / 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Ref("kv_int", bits=3), "2, 4 or 8"),
        (Ref("kv_round", bits=16), "2, 4 or 8"),
        (Ref("streaming_llm", budget=0), "greater than or equal to 1"),
        (Ref("keydiff", budget=-3), "greater than or equal to 1"),
        ("kv_int3", "kv_int2"),
    ],
)
def test_arguments_are_refused_where_they_are_typed(wrong: str | Ref, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Variant("smollm2", schemes=[wrong])


def test_more_sinks_than_are_kept_are_refused(model: Any, ids: Tensor) -> None:
    with pytest.raises(SpecError, match="9 sinks of a budget of 5"):
        session(model, Ref("streaming_llm", budget=5, sinks=9)).prefill(ids)


def test_a_text_too_short_for_a_scheme_is_told(model: Any, ids: Tensor) -> None:
    for scheme in (Ref("streaming_llm", budget=50), Ref("kv_int", residual=20), Ref("kv_round")):
        one = session(model, scheme)
        _, state = one.prefill(ids[:, :40])
        assert one.untouched(state)
        for _ in range(4):
            one.step(state, ids[:, :20])
        assert not one.untouched(state)
