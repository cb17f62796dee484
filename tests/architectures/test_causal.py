from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kit.architectures.baselines import NGram
from kit.architectures.model import load_weights, make_model, save_model
from kit.architectures.outputs import logits
from kit.architectures.states import state_bytes
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.tasks.task import Task
from kit.training.causality import peeks_ahead

TINY = [Ref("llama", width=16, depth=2), Ref("lfm2", width=16, depth=3), Ref("lstm", width=8)]
ALL = [*TINY, Ref("ngram", order=3)]


@pytest.mark.parametrize("ref", ALL, ids=lambda ref: ref.name)
def test_shape_causality_and_seed(ref: Ref, language: Task) -> None:
    model = make_model(ref, language, seed=1)
    ids = torch.randint(0, 256, (3, 7))
    before = torch.get_rng_state()
    with torch.no_grad():
        first = logits(model.module(input_ids=ids))
        again = logits(make_model(ref, language, seed=1).module(input_ids=ids))
        other = logits(make_model(ref, language, seed=2).module(input_ids=ids))
    assert first.shape == (3, 7, 256)
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (ref.name == "ngram")
    assert torch.equal(before, torch.get_rng_state())
    assert peeks_ahead(model.module, 256) is None


@pytest.mark.parametrize("ref", TINY, ids=lambda ref: ref.name)
def test_gradient_reaches_every_parameter(ref: Ref) -> None:
    module = make_model(ref, None, seed=0).module
    ids = torch.arange(256).view(8, 32)  # every id once, or its embedding gets none
    logits(module(input_ids=ids)).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize("ref", ALL, ids=lambda ref: ref.name)
def test_weights_round_trip(ref: Ref, language: Task, tmp_path: Path) -> None:
    model = make_model(ref, language, seed=0)
    save_model(model, tmp_path)
    fresh = make_model(ref, None, seed=5)
    load_weights(fresh, tmp_path)
    ids = torch.randint(0, 256, (2, 9))
    with torch.no_grad():
        assert torch.equal(logits(model.module(ids)), logits(fresh.module(ids)))


def test_tied_weights_round_trip(tmp_path: Path) -> None:
    model = make_model(TINY[0], None, seed=0)
    model.module.lm_head.weight = model.module.model.embed_tokens.weight
    save_model(model, tmp_path)
    fresh = make_model(TINY[0], None, seed=5)
    fresh.module.lm_head.weight = fresh.module.model.embed_tokens.weight
    load_weights(fresh, tmp_path)
    ids = torch.randint(0, 256, (2, 9))
    with torch.no_grad():
        assert torch.equal(logits(model.module(ids)), logits(fresh.module(ids)))


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train the variant first"):
        load_weights(make_model(TINY[2], None, seed=0), tmp_path)


@pytest.mark.parametrize("ref", TINY[:2], ids=lambda ref: ref.name)
def test_right_padding_changes_nothing_before_it(ref: Ref) -> None:
    module = make_model(ref, None, seed=0).module.eval()
    ids = torch.randint(1, 256, (1, 6))
    padded = nn.functional.pad(ids, (0, 5))
    with torch.no_grad():
        torch.testing.assert_close(logits(module(ids)), logits(module(padded))[:, :6])


class Cheat(nn.Module):
    """Reads the next token; its zero output matrix hides that at first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 8)
        self.output = nn.Linear(8, 256)
        nn.init.zeros_(self.output.weight)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(input_ids.roll(-1, dims=1)))


class Mixes(Cheat):
    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        states = self.embedding(input_ids)
        return self.output(states + states.flip(0))


class Short(Cheat):
    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(input_ids))[:, :-1]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Cheat(), "looks ahead: another token at position 1 changed the logits at position 0"),
        (Mixes(), "mixes sequences"),
        (Short(), r"shape \(2, 127, 256\); expected \(2, 128, 256\)"),
    ],
)
def test_faults_are_told(module: nn.Module, sentence: str) -> None:
    fault = peeks_ahead(module, 256)
    assert fault is not None
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(fault)
    assert not module.output.weight.detach().any(), "the module itself was changed"


def test_state_bytes() -> None:
    llama, lfm2, lstm, _ = (make_model(ref, None, seed=0).module for ref in ALL)
    assert state_bytes(llama, 100) == 2 * 2 * 2 * 4 * 100 * 4  # layers, k and v, heads, size
    assert state_bytes(lfm2, 100) == (2 * 2 * 4 * 100 + 2 * 16 * 3) * 4
    assert state_bytes(lstm, 100) == state_bytes(lstm, 7) == 2 * 2 * 8 * 4
    assert state_bytes(llama.bfloat16(), 100) == 2 * 2 * 2 * 4 * 100 * 2


@pytest.mark.parametrize(
    "ref", [Ref("llama"), Ref("llama", width=12), Ref("llama", width=16, heads=3)]
)
def test_sizes_that_cannot_be(ref: Ref) -> None:
    with pytest.raises(SpecError, match=r"has no width|no multiple of"):
        make_model(ref, None, seed=0)


def witten_bell(
    documents: list[list[int]], order: int, vocab: int, context: list[int]
) -> list[float]:
    """The definition, word by word."""
    shares = [1 / vocab] * vocab
    for level in range(order):
        if level > len(context):
            break
        tail = context[len(context) - level :]
        seen = Counter(
            document[i]
            for document in documents
            for i in range(level, len(document))
            if document[i - level : i] == tail
        )
        total, kinds = sum(seen.values()), len(seen)
        if total:
            shares = [(seen[w] + kinds * shares[w]) / (total + kinds) for w in range(vocab)]
    return shares


Documents = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=4)


@settings(deadline=None, max_examples=40)
@given(Documents, st.integers(1, 4), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_ngram_is_its_definition(documents: list[list[int]], order: int, ids: list[int]) -> None:
    module = NGram(4, order)
    module.fit(documents)
    got = module(torch.tensor([ids, ids])).exp()
    assert torch.equal(got[0], got[1])
    for end in range(1, len(ids) + 1):
        expected = witten_bell(documents, order, 4, ids[:end])
        np.testing.assert_allclose(got[0, end - 1].numpy(), expected, rtol=1e-4)


def test_ngram_orders() -> None:
    with pytest.raises(ValueError, match="largest order is 7"):
        NGram(256, 8)
    text = [list(b"abcabcabcabcabcabc") * 20]
    losses = []
    for order in (1, 2, 3):
        module = NGram(256, order)
        module.fit(text)
        ids = torch.tensor(text)
        scores = module(ids[:, :-1])
        losses.append(float(nn.functional.nll_loss(scores[0], ids[0, 1:])))
    assert math.log(256) > losses[0] > losses[1]
    assert abs(losses[0] - math.log(3)) < 0.05
