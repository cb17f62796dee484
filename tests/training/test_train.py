from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch import nn

from kit.architectures.model import Model, make_model
from kit.architectures.outputs import logits
from kit.architectures.preprocessing import Texts
from kit.architectures.tokenizers import ByteTokenizer
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.register_models import register_architecture
from kit.spec.spec import Budget, Training
from kit.tasks.task import Task
from kit.training import loop
from kit.training.batches import CausalFeed, ClassifierFeed, steps
from kit.training.train import Diverged, pick_rate, train

MakeTraining = Callable[..., Training]
LLAMA = Ref("llama", width=16, depth=1)
TEXTS = Texts(ByteTokenizer(), masked=True)


class Tiny(nn.Module):
    """An encoder with dropout that sees one token at a time."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.embedding(input_ids))


@pytest.fixture
def tiny() -> Iterator[Ref]:
    @register_architecture(kind="encoder", version=1)
    def tiny_encoder(vocab_size: int, *, size: int = 16) -> nn.Module:
        return Tiny(vocab_size, size)

    yield Ref("tiny_encoder")
    registry.architectures._entries.pop("tiny_encoder", None)


def weights(model: Model) -> list[torch.Tensor]:
    return list(model.module.state_dict().values())


def same(a: Model, b: Model) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_causal_learns_and_says_what_it_took(
    language: Task, training: MakeTraining, tmp_path: Path
) -> None:
    model = make_model(LLAMA, None, seed=0)
    result = train(model, language, training(), seed=0, folder=tmp_path)
    assert (result["tokens"], result["steps"], result["rate"]) == (1024, 16, 3e-3)
    assert result["flops"] > 3 * 1024 * 2 * 16 * 256
    rows = curve(tmp_path)
    assert [int(row["step"]) for row in rows][-1] == 16
    assert float(rows[-1]["validation_loss"]) < float(rows[0]["validation_loss"]) < 5.6
    assert not model.module.training


def test_classifier_learns(
    reviews: Task, training: MakeTraining, tiny: Ref, tmp_path: Path
) -> None:
    model = make_model(tiny, reviews, seed=0)
    spec = training(budget=Budget(epochs=6), rates=(3e-2,), length=8)
    result = train(model, reviews, spec, seed=0, folder=tmp_path)
    assert result["steps"] == 6 * 18 == steps(spec, 70, "classifier")
    losses = [float(row["validation_loss"]) for row in curve(tmp_path)]
    assert len(losses) == 6
    assert min(losses) < 0.3
    feed = ClassifierFeed(reviews, TEXTS, spec, 0)
    state = loop.Loop(model, feed, spec, rate=1e-3, seed=0, total=1)
    model.module.eval()
    state._evaluate()
    assert state.curve[0][4] == pytest.approx(min(losses), rel=1e-5), "the best epoch is kept"


@pytest.mark.parametrize("kind", ["causal", "classifier"])
def test_resume_equals_unbroken(  # noqa: PLR0917
    kind: str,
    language: Task,
    reviews: Task,
    training: MakeTraining,
    tiny: Ref,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ref, task = (LLAMA, language) if kind == "causal" else (tiny, reviews)
    budget = Budget(tokens=1024) if kind == "causal" else Budget(epochs=2)
    spec = training(budget=budget)
    whole = make_model(ref, task, seed=3)
    expected = train(whole, task, spec, seed=3, folder=tmp_path / "whole")

    advance, cut_at = loop.Loop._advance, 11

    def cut(self: Any, batch: Any) -> None:
        if self.step == cut_at:
            raise KeyboardInterrupt
        advance(self, batch)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(loop.Loop, "_advance", cut)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(ref, task, seed=3), task, spec, seed=3, folder=tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint" / "state.pt").is_file()
    cut_at = -1
    resumed = make_model(ref, task, seed=3)
    result = train(resumed, task, spec, seed=3, folder=tmp_path / "cut")
    assert same(whole, resumed)
    assert (result["steps"], result["tokens"]) == (expected["steps"], expected["tokens"])
    for before, after in zip(curve(tmp_path / "whole"), curve(tmp_path / "cut"), strict=True):
        assert {k: v for k, v in before.items() if k != "seconds"} == {
            k: v for k, v in after.items() if k != "seconds"
        }


def test_seed_decides(language: Task, training: MakeTraining, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        model = make_model(LLAMA, None, seed=0)
        train(model, language, training(), seed=seed, folder=tmp_path / name)
        made[name] = model
    assert same(made["a"], made["b"])
    assert not same(made["a"], made["c"])


def test_rates_are_tried(language: Task, training: MakeTraining, tmp_path: Path) -> None:
    spec = training(rates=(1e-6, 1e-2))
    made = []

    def make() -> Model:
        made.append(make_model(LLAMA, None, seed=0))
        return made[-1]

    assert pick_rate(make, language, spec, seed=0, folder=tmp_path) == 1e-2
    assert len(made) == 2
    assert pick_rate(make, language, spec, seed=0, folder=tmp_path) == 1e-2
    assert len(made) == 2, "a trial that is in the table is not made again"
    result = train(make(), language, spec, seed=0, folder=tmp_path)
    assert result["rate"] == 1e-2
    assert "end of the rates tried" in result["notes"][0]


class Breaks(nn.Module):
    """Its loss is no number once a weight has moved."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 256)
        self.first = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        if self.training and float(self.first.detach()) != 0:
            return self.table(input_ids) * float("nan")
        return self.table(input_ids) * (1 + self.first)


def test_divergence_is_named(language: Task, training: MakeTraining, tmp_path: Path) -> None:
    def make() -> Model:
        return Model(Breaks(), "causal", ByteTokenizer())

    with pytest.raises(Diverged, match=r"loss is nan at step 2 of 16 with rate 0\.003"):
        train(make(), language, training(), seed=0, folder=tmp_path)
    with pytest.raises(Diverged, match="diverged at every rate"):
        pick_rate(make, language, training(rates=(1e-3, 1e-2)), seed=0, folder=tmp_path)


class Peeks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 256)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.table(input_ids.roll(-1, dims=1))


def test_what_is_refused(language: Task, training: MakeTraining, tmp_path: Path) -> None:
    peeks = Model(Peeks(), "causal", ByteTokenizer())
    with pytest.raises(SpecError, match="Peeks is not trained: it looks ahead"):
        train(peeks, language, training(), seed=0, folder=tmp_path)
    with pytest.raises(SpecError, match="Peeks is not trained: it looks ahead"):
        pick_rate(lambda: peeks, language, training(rates=(1, 2)), seed=0, folder=tmp_path)
    with pytest.raises(SpecError, match="a predictor is not trained"):
        train(Model(len, "predictor", None), language, training(), seed=0, folder=tmp_path)
    with pytest.raises(SpecError, match="one window takes"):
        train(peeks, language, training(length=100_000), seed=0, folder=tmp_path)
    with pytest.raises(SpecError, match=r"needs Budget\(epochs"):
        ClassifierFeed(language, TEXTS, training(), 0)


def test_a_task_that_a_classifier_cannot_learn_from_is_refused(
    reviews: Task, training: MakeTraining, tmp_path: Path
) -> None:
    def attempt(task: Task, message: str) -> None:
        model = Model(nn.Linear(1, 2), "classifier", ByteTokenizer())
        given = training(budget=Budget(epochs=1))
        with pytest.raises(SpecError, match=message):
            train(model, task, given, seed=0, folder=tmp_path)

    absent = dataclasses.replace(reviews, labels=(*reviews.labels, "neutral"))
    attempt(absent, r"split 'train' has no item of \['neutral'\]: every class needs some")
    attempt(dataclasses.replace(reviews, kind="regression"), "is a regression task; kit trains")
    for split in ("train", "validation"):
        data = datasets.DatasetDict({**reviews.data, split: reviews.data[split].select([])})
        attempt(dataclasses.replace(reviews, data=data), f"split '{split}' of task toy is empty")


def test_ngram_counts_the_same_tokens(
    language: Task, training: MakeTraining, tmp_path: Path
) -> None:
    model = make_model(Ref("ngram"), None, seed=0)
    result = train(model, language, training(), seed=0, folder=tmp_path)
    assert (result["tokens"], result["rate"], result["flops"]) == (1025, None, None)
    with torch.no_grad():
        ids = torch.tensor([[0, *b"the cat"]])
        assert float(logits(model.module(ids))[0, :-1].max()) < 0


def test_windows_cover_the_stream_once(language: Task, training: MakeTraining) -> None:
    spec = training(budget=Budget(epochs=1))
    feed = CausalFeed(language, ByteTokenizer(), spec, 0)
    assert feed.steps == steps(spec, len(feed.stream) - 1)
    batches = [feed.batch(step) for step in range(feed.steps)]
    rows = torch.cat([batch.targets for batch in batches])
    windows = torch.from_numpy(feed.stream[1 : len(rows) * 16 + 1].astype("int64")).view(-1, 16)
    assert sorted(rows.tolist()) == sorted(windows.tolist())
    assert sum(feed.stream == 0) == 120, "one separator a document"
    for batch in batches:
        assert torch.equal(batch.inputs["input_ids"][:, 1:], batch.targets[:, :-1])
    other = CausalFeed(language, ByteTokenizer(), spec, 1)
    assert not torch.equal(other.batch(0).targets, feed.batch(0).targets)
    assert sorted(other.stream) == sorted(feed.stream)
    passes = CausalFeed(language, ByteTokenizer(), training(budget=Budget(epochs=3)), 0)
    assert len(passes.stream) == 3 * len(feed.stream)


def test_batches_cover_the_items_once_and_are_of_like_length(
    reviews: Task, training: MakeTraining
) -> None:
    spec = training(budget=Budget(epochs=2), length=64)
    feed = ClassifierFeed(reviews, TEXTS, spec, 0)
    epochs = [[feed.batch(e * 18 + step) for step in range(18)] for e in range(2)]
    for batches in epochs:
        assert sum(len(batch.targets) for batch in batches) == 70
        assert sum(batch.tokens for batch in batches) == sum(map(len, feed.rows))
        cells = sum(batch.inputs["input_ids"].numel() for batch in batches)
        assert cells < 1.2 * sum(map(len, feed.rows))
    assert epochs[0][0].targets.shape == (4,)
    first, second = ([b.inputs["input_ids"].tolist() for b in batches] for batches in epochs)
    assert first != second
    assert feed.batch(3).inputs["input_ids"].tolist() == first[3], "a step may be asked again"


def test_padding_does_not_leak_into_a_classifier(reviews: Task, tiny: Ref) -> None:
    module = make_model(tiny, reviews, seed=0).module.eval()
    ids, mask = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.int64)
    more = nn.functional.pad(ids, (0, 4), value=9), nn.functional.pad(mask, (0, 4))
    with torch.no_grad():
        torch.testing.assert_close(module(ids, mask), module(*more))
        assert module(ids, mask * 0).isfinite().all()
        with module.reading() as read:
            module(ids, mask)
        assert [each.shape for each in read] == [(1, 16)]


def test_minilm_pads_and_trains(tmp_path: Path) -> None:
    """BERT itself, small: padding does not leak, and the gradient reaches every parameter."""
    from transformers import BertConfig, BertModel

    from kit.architectures.modules import Classifier

    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=12,
        type_vocab_size=1,
    )
    module = Classifier(BertModel(config, add_pooling_layer=False), 8, 2).eval()
    ids = torch.arange(1, 13).view(1, 12)
    mask = torch.ones_like(ids)
    mask[:, 7:] = 0
    with torch.no_grad():
        torch.testing.assert_close(module(ids[:, :7], mask[:, :7]), module(ids, mask))
    module(ids, torch.ones_like(ids)).square().sum().backward()
    # Attention's key bias cancels in the softmax: its gradient is zero in exact arithmetic.
    silent = [n for n, p in module.named_parameters() if p.grad is None and "key.bias" not in n]
    assert silent == []
