"""The same machine and seed give the same numbers: twice, side by side, and after interruptions.

What does not come out the same is listed in benchmarks/README.md, "What comes out again".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers import restored, toy_frame, toy_texts
from torch import nn

import kit
from kit import tasks
from kit.architectures.model import Model, make_model
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Run, Training, Variant
from kit.store import store
from kit.training import loop
from kit.training.train import train

pytestmark = pytest.mark.usefixtures("registries")


def small_study() -> kit.Study:
    """Two trained models of two seeds and two null models, on data of a notebook."""
    prose = toy_texts()
    toys = kit.task_from_frame("toys", toy_frame(), text="text", label="label")
    training = Training(prose, Budget(tokens=2048), rates=(0.01,), batch_size=4, length=32)
    size = {"width": 32, "feed_forward": 48, "depth": 2}
    models = [Variant(Ref("llama", **size), training), Variant(Ref("lstm", width=16), training)]
    runs = [
        Run(model.replace(seed=seed), kit.Quality(prose, split))
        for model in models
        for seed in (0, 1)
        for split in ("test", "train")
    ]
    runs += [Run(Variant(name), kit.Quality(toys)) for name in ("majority", "vader")]
    return kit.Study("again", runs, models[0])


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pd.DataFrame]:
    """The table of a study that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch, restored():
        patch.setenv("KIT_STORE", str(tmp_path_factory.mktemp("once")))
        yield small_study().run(executor="inline", on_error="raise")


def assert_same(table: pd.DataFrame, once: pd.DataFrame) -> None:
    assert len(table) > 30 and set(table.status) <= {"ok", "undefined"}
    pd.testing.assert_frame_equal(table, once, check_exact=True)


def test_twice_is_the_same(fresh_store: Path, once: pd.DataFrame) -> None:
    assert_same(small_study().run(executor="inline", on_error="raise"), once)


@pytest.mark.slow
def test_two_workers_give_the_same_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: pd.DataFrame
) -> None:
    tables = []
    for workers in (1, 2):
        monkeypatch.setenv("KIT_STORE", str(tmp_path / str(workers)))
        tables.append(small_study().run(workers=workers, on_error="raise"))
    assert_same(tables[1], tables[0])
    # workers train on all cores, this process on one thread: other sums, other last digits
    numbers = ["value", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(tables[0][numbers], once[numbers], rtol=1e-4, atol=1e-4)


def test_interruptions_leave_the_same(
    fresh_store: Path, once: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a training, which left a checkpoint, and between runs."""
    save, advance, numbers, steps = store.save, loop.Loop._advance, count(1), count(1)

    def stopping_save(artifact: Any, **how: Any) -> None:
        save(artifact, **how)
        if next(numbers) == 3:
            raise KeyboardInterrupt

    def stopping_advance(self: loop.Loop, batch: Any) -> None:
        advance(self, batch)
        if next(steps) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(store, "save", stopping_save)
    monkeypatch.setattr(loop.Loop, "_advance", stopping_advance)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    for place in ("built/*.partial/checkpoint/state.pt", "artifacts/*"):
        with pytest.raises(KeyboardInterrupt):
            small_study().run(executor="inline", on_error="raise")
        assert list(fresh_store.glob(place))
    assert_same(small_study().run(executor="inline", on_error="raise"), once)


def tiny_bert(vocab_size: int) -> nn.Module:
    """A BERT of two layers, with the attention and the dropout of the large ones."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
    )
    return BertModel(config, add_pooling_layer=False)  # type: ignore[no-any-return]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_an_encoder_trained_on_two_threads_is_the_same_to_the_bit(
    two_threads: None, fresh_store: Path, tmp_path: Path
) -> None:
    kit.register_architecture(kind="encoder", version=1)(tiny_bert)
    ref = kit.task_from_frame("toys", toy_frame(), text="text", label="label")
    training = Training(ref, Budget(epochs=1), rates=(1e-3,), batch_size=16, length=64)

    def trained(number: int) -> Model:
        model = make_model(Ref("tiny_bert"), tasks.load(ref), seed=0)
        before = [p.clone() for p in model.module.parameters()]
        folder = tmp_path / str(number)
        folder.mkdir()
        train(model, tasks.load(ref), training, seed=0, folder=folder)
        moved = zip(before, model.module.parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in moved)
        return model

    first, second = (trained(number).module.state_dict() for number in (0, 1))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
