"""Continuations scored together, held against each request by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reading import save_tokenizer

import kit
from kit.architectures.baselines import LSTM
from kit.build.runner import Runner
from kit.measurements.scoring import Request, score, way
from kit.measurements.sharing import StateWalk, TreeWalk
from kit.measurements.trie import grow
from kit.measurements.walks import AloneWalk, Walk
from kit.spec.ref import Ref
from kit.spec.spec import Variant

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 90,
}


def requests(vocabulary: int, *, shared: int = 30, items: int = 6) -> list[Request]:
    """Few-shot prompts: one prefix, an item each, several continuations, two of them alike."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, vocabulary, n).tolist())

    prefix, made = draw(shared), []
    for _ in range(items):
        context = (*prefix, *draw(int(rng.integers(1, 9))))
        choices = [draw(int(rng.integers(1, 6))) for _ in range(4)]
        choices.append((*choices[0], *draw(2)))  # one is the beginning of another
        made += [Request(context, each) for each in choices]
    return made


def one_by_one(runner: Runner, asked: list[Request]) -> tuple[np.ndarray, np.ndarray]:
    """Scores each request by a forward of its own."""
    values, greedy = [], []
    for context, continuation in asked:
        ids = torch.tensor([[*context, *continuation]])
        logits = torch.from_numpy(runner.forward({"input_ids": ids}))[0]
        scores = torch.log_softmax(logits.double(), -1)[len(context) - 1 : -1]
        targets = torch.tensor(continuation)
        values.append(float(scores[torch.arange(len(targets)), targets].sum()))
        greedy.append(bool((scores.argmax(-1) == targets).all()))
    return np.array(values), np.array(greedy)


def saved(folder: Path, kind: str, **more: Any) -> Variant:
    """A tiny random model of a family of transformers, as a folder."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SIZES | more))
    save_tokenizer(folder, [f"w{k}" for k in range(80)], "gpt")
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return Variant(f"hf:{folder}", name=kind)


FAMILIES = {
    "llama": ({}, TreeWalk),
    "qwen3": ({"head_dim": 8}, TreeWalk),
    "gemma3_text": ({"head_dim": 8, "sliding_window": 16}, TreeWalk),
    "mistral": ({"head_dim": 8, "sliding_window": 16}, TreeWalk),
    "mamba2": (
        {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8},
        StateWalk,
    ),
    "lfm2": ({"block_auto_adjust_ff_dim": False, "full_attn_idxs": [2]}, StateWalk),
    "bloom": ({"n_head": 4, "n_layer": 2}, StateWalk),
}


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("most", [16, 512])
def test_every_family_scores_as_one_by_one(kind: str, most: int, tmp_path: Path) -> None:
    more, expected = FAMILIES[kind]
    runner = Runner(saved(tmp_path / kind, kind, **more), 1)
    asked = requests(80)
    found = score(runner, asked, most)
    values, greedy = one_by_one(runner, asked)
    np.testing.assert_allclose(found.loglikelihood, values, atol=1e-3)
    assert (found.greedy == greedy).all()
    assert way(runner) is expected and found.way == expected.name
    assert found.computed < found.asked / 2


@pytest.mark.parametrize("shared", [1, 30])  # of one token: before it nothing is asked
@pytest.mark.parametrize("name", ["llama", "lfm2", "lstm", "ngram"])
def test_the_kits_own_models_score_as_one_by_one(name: str, shared: int, toys: Ref) -> None:
    sizes = {} if name == "ngram" else {"width": 32, "depth": 3 if name == "lfm2" else 2}
    runner = Runner(Variant(Ref(name, **sizes)), 1)
    asked = requests(256, shared=shared)
    found = score(runner, asked)
    np.testing.assert_allclose(found.loglikelihood, one_by_one(runner, asked)[0], atol=1e-3)
    assert found.way == {"llama": "tree", "ngram": "plain"}.get(name, "state")


def test_what_depends_on_its_neighbours_is_scored_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    tree = runner.session.tree  # type: ignore[attr-defined]

    def mixed(state: Any, ids: Any, positions: Any, attends: Any, *rest: Any, **more: Any) -> Any:
        return tree(state, ids, positions, torch.ones_like(attends), *rest, **more)

    monkeypatch.setattr(runner.session, "tree", mixed)
    assert way(runner) is StateWalk
    monkeypatch.setattr(runner.session, "step", lambda state, ids: torch.zeros(1, 1, 90))
    assert way(runner) is Walk


class Experts(torch.nn.Module):
    """An LSTM before an expert that takes the first 60 tokens of a call and leaves out the rest."""

    def __init__(self, vocab_size: int, width: int, capacity: int) -> None:
        super().__init__()
        self.body = LSTM(vocab_size, width, 1)
        self.expert, self.capacity = torch.nn.Linear(vocab_size, vocab_size), capacity

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.decode(input_ids)[0]

    def decode(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        logits, state = self.body.decode(ids, state)
        taken = torch.arange(ids.numel()).reshape(ids.shape) < self.capacity
        return torch.where(taken[..., None], self.expert(logits), logits), state


@pytest.mark.parametrize(("capacity", "expected"), [(60, AloneWalk), (10_000, StateWalk)])
def test_what_a_call_has_no_room_for_is_scored_alone(
    capacity: int, expected: type[Walk], toys: Ref, registries: None
) -> None:
    @kit.register_architecture(kind="causal", version=1)
    def crowded(vocab_size: int, width: int, *, capacity: int = 60) -> torch.nn.Module:
        return Experts(vocab_size, width, capacity)

    runner = Runner(Variant(Ref("crowded", width=16, capacity=capacity)), 1)
    asked = requests(256)
    assert way(runner) is expected
    found = score(runner, asked)
    assert found.way == expected.name
    np.testing.assert_allclose(found.loglikelihood, one_by_one(runner, asked)[0], atol=1e-3)
    gap = score(runner, asked, by=Walk).loglikelihood - found.loglikelihood
    assert (np.abs(gap).max() > 0.01) == (expected is AloneWalk)


def test_tokens_are_computed_once(tmp_path: Path) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    asked = requests(80, shared=40, items=8)
    trie = grow([[*c, *t] for c, t in asked], [len(c) for c, _ in asked])
    assert score(runner, asked).computed == trie.inner.sum()
    more = requests(80, shared=40, items=8) * 3
    assert score(runner, more).computed == trie.inner.sum()
