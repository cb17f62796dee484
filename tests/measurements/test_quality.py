"""Predictions item by item: columns, windows, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import measure, toy_texts, toy_variant
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import tasks
from kit.build.runner import Runner
from kit.measurements import Quality
from kit.measurements.score_text import _cut, _windows
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref
from kit.spec.spec import Variant


@pytest.fixture(scope="module")
def classifier(toys: Ref) -> Runner:
    return Runner(toy_variant(toys), 1)


@pytest.fixture(scope="module")
def prose(toys: Ref) -> Ref:
    return toy_texts()


@pytest.fixture(scope="module")
def model(prose: Ref) -> Runner:
    return Runner(Variant(Ref("toy_causal")), 1)


def test_columns_of_a_classifier(classifier: Runner, toys: Ref) -> None:
    raw = measure(classifier, Quality(toys, split="later", limit=10, features=True))
    rows = tasks.load(toys).split("later", 10)
    assert (raw.kind, raw.info) == ("classification", {"rated": True})
    assert list(raw.columns["item"]) == rows["id"]
    assert list(raw.columns["label"]) == rows["label"]
    assert list(raw.columns["group:country"]) == rows["country"]
    shapes = {name: (values.shape, values.dtype.kind) for name, values in raw.columns.items()}
    assert shapes["logits"] == ((10, 2), "f")
    assert shapes["features"] == ((10, 16), "f")
    assert shapes["cluster"] == ((10,), "U")


def test_features_are_saved_where_there_are_any(toys: Ref) -> None:
    for runtime, saved in (("eager", True), ("onnx", False)):
        runner = Runner(toy_variant(toys, runtime=runtime), 1)
        raw = measure(runner, Quality(toys, limit=10, features=True))
        assert ("features" in raw.columns) == saved


def test_a_batch_size_changes_only_rounding(classifier: Runner, toys: Ref) -> None:
    asked = [Quality(toys, batch_size=size) for size in (1, 64)]
    one, many = (measure(classifier, ask).columns["logits"] for ask in asked)
    np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-6)


def test_padding_changes_only_rounding(
    classifier: Runner, model: Runner, toys: Ref, prose: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    for runner, task, column, more in (
        (classifier, toys, "logits", {}),
        (model, prose, "nll", {"context": 16, "stride": 8, "limit": 5}),
    ):
        little = measure(runner, Quality(task, **more)).columns[column]
        widths, forward = [], runner.forward

        def seen(inputs: Any, widths: Any = widths, forward: Any = forward) -> np.ndarray:
            widths.append(inputs["input_ids"].shape[1])
            return forward(inputs)

        monkeypatch.setattr(runner, "forward", seen)
        much = measure(runner, Quality(task, padding="length", **more)).columns[column]
        assert set(widths) == {more.get("context", runner.length)}
        np.testing.assert_allclose(much, little, rtol=1e-5, atol=1e-6)


def test_usual_padding_is_no_content_of_a_run() -> None:
    ref = registry.measurements.canonical(Quality("sentiment"))
    assert registry.measurements.canonical(Quality("sentiment", padding="batch")) == ref
    asked = registry.measurements.canonical(Quality("sentiment", padding="length"))
    assert asked.args["padding"] == "length"
    with pytest.raises(SpecError, match="padding"):
        registry.measurements.canonical(Quality("sentiment", padding="most"))


def test_scores_of_a_predictor_may_be_no_probabilities(toys: Ref) -> None:
    raw = measure(Runner(Variant(Ref("toy_rule")), 1, toys), Quality(toys))
    assert raw.info == {"rated": False}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_names_the_variant_and_the_split(
    classifier: Runner, toys: Ref, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(classifier, "predict", lambda texts, *_: np.full((len(texts), 2), value))
    with pytest.raises(ValueError, match="^base gave NaN or infinite logits on later$"):
        measure(classifier, Quality(toys, split="later"))


def test_a_wrong_shape_says_expected_and_got(
    classifier: Runner, toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "predict", lambda texts, *_: np.zeros((len(texts), 3)))
    with pytest.raises(SpecError) as caught:
        measure(classifier, Quality(toys, limit=4))
    assert str(caught.value) == (
        "base gave logits of shape (4, 3); expected (4, 2) for the labels 0, 1"
    )


def test_a_model_of_the_other_kind_is_refused(
    classifier: Runner, model: Runner, toys: Ref, prose: Ref
) -> None:
    with pytest.raises(SpecError, match="prose asks for a language model; base is none"):
        measure(classifier, Quality(prose))
    with pytest.raises(SpecError, match="toys asks for a classifier; toy_causal gives tokens"):
        measure(model, Quality(toys))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 60), st.integers(2, 20), st.integers(1, 20))
def test_windows_score_every_token_once(size: int, context: int, stride: int) -> None:
    stride = min(stride, context - 1)
    scored: list[int] = []
    for start, end, first in _windows(size, context, stride):
        assert 0 < end - start <= context
        assert start < first < end
        if start:
            assert first - start >= context - stride
        scored += range(first, end)
    assert scored == list(range(1, size))


def test_language_is_scored_as_a_plain_loop(model: Runner, prose: Ref) -> None:
    raw = measure(model, Quality(prose, limit=5, context=16, stride=8, max_bytes=40))
    assert (raw.kind, raw.info) == (
        "tokens",
        {"protocol": {"context": 16, "stride": 8, "max_bytes": 40}},
    )
    texts = tasks.load(prose).split("test", 5)["text"]
    for text, nll, tokens, size in zip(
        texts, *(raw.columns[name] for name in ("nll", "tokens", "bytes")), strict=True
    ):
        ids = torch.tensor([[0, *text.encode()[:40]]])
        with torch.no_grad():
            scores = torch.log_softmax(model.model.module(ids)[0].double(), -1)
        expected = -sum(float(scores[i, ids[0, i + 1]]) for i in range(ids.shape[1] - 1))
        assert nll == pytest.approx(expected, rel=1e-5)
        assert tokens == size == ids.shape[1] - 1


@pytest.mark.parametrize("text", ["", "🙂" * 20, "שלום", "a\0b", "\ud800x", "é" * 9])
def test_odd_texts_are_cut_between_characters(text: str) -> None:
    cut = _cut(text, 17)
    assert len(cut.encode()) <= 17
    assert "\0" not in cut
    assert text.replace("\0", "").replace("\ud800", "?").startswith(cut)


def test_mistakes(model: Runner, prose: Ref) -> None:
    for stride in (16, 32):  # at 16 the first token of a window has nothing before it
        with pytest.raises(SpecError, match=f"stride={stride} is not below context=16"):
            measure(model, Quality(prose, context=16, stride=stride))
    with pytest.raises(SpecError, match="unknown split of task prose 'tset'. Did you mean 'test'?"):
        measure(model, Quality(prose, split="tset"))


def test_sizes_come_from_the_preset_by_the_kind_of_task(toys: Ref, prose: Ref) -> None:
    limits: list[Any] = [Quality(task).args["limit"] for task in (toys, prose)]
    assert limits == [64, 8]
    assert Quality(toys, limit=5).args["limit"] == 5


def test_a_model_may_know_more_labels_than_the_task(
    classifier: Runner, toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their columns follow the task's and are named; others in their place are refused."""
    monkeypatch.setattr(classifier, "predict", lambda texts, *_: np.zeros((len(texts), 3)))
    for labels, fits in ((("0", "1", "maybe"), True), (("1", "0", "maybe"), False)):
        model = dataclasses.replace(classifier.model, labels=labels)
        monkeypatch.setattr(classifier, "model", model)
        if fits:
            raw = measure(classifier, Quality(toys, limit=4))
            assert raw.info == {"rated": True, "labels": ["0", "1", "maybe"]}
            assert raw.columns["logits"].shape == (4, 3)
        else:
            with pytest.raises(SpecError, match=r"shape \(4, 3\); expected \(4, 2\)"):
                measure(classifier, Quality(toys, limit=4))


def test_cut_texts_are_marked_where_there_is_a_window(
    classifier: Runner, toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [lambda texts: np.array([len(text) > 20 for text in texts]), lambda texts: None]
    monkeypatch.setattr(classifier, "cut", windows[0], raising=False)
    raw = measure(classifier, Quality(toys, limit=9))
    texts = tasks.load(toys).split("test", 9)["text"]
    assert raw.columns["cut"].tolist() == [len(text) > 20 for text in texts]
    monkeypatch.setattr(classifier, "cut", windows[1])
    assert "cut" not in measure(classifier, Quality(toys, limit=9)).columns


def test_several_labels_and_numbers(
    classifier: Runner, toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The columns of the other kinds of tasks, of which these data have another label."""
    data = tasks.load(toys)
    rng = np.random.default_rng(0)
    size = len(data.split("test"))
    for kind, labels, label, outputs in (
        ("multi_label", ("a", "b", "c"), rng.integers(0, 2, (size, 3)), rng.normal(size=(size, 3))),
        ("regression", (), rng.normal(size=size), rng.normal(size=(size, 1))),
    ):
        rows = data.split("test").remove_columns("label").add_column("label", label.tolist())
        made = dataclasses.replace(data, kind=kind, labels=labels, data={"test": rows})
        monkeypatch.setattr(tasks, "load", lambda _, made=made: made)
        monkeypatch.setattr(classifier, "predict", lambda *_, outputs=outputs: outputs)
        raw = measure(classifier, Quality(toys))
        assert raw.kind == TASKS[kind].artifact == kind
        assert raw.columns["label"].tolist() == label.tolist()
        if kind == "multi_label":
            assert raw.columns["logits"].tolist() == outputs.tolist()
            assert raw.info == {"rated": True, "labels": ["a", "b", "c"]}
        else:
            assert raw.columns["prediction"].tolist() == outputs[:, 0].tolist()
            assert raw.columns["label"].dtype == raw.columns["prediction"].dtype == np.float64
            assert "logits" not in raw.columns and raw.info == {}
        assert "group:country" in raw.columns
        wrong = np.zeros((size, 2))
        monkeypatch.setattr(classifier, "predict", lambda *_, wrong=wrong: wrong)
        with pytest.raises(SpecError, match="the labels a, b, c|for one number an item"):
            measure(classifier, Quality(toys))
