"""From a variant to something that runs: what is built, when, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import toy_frame, toy_task, toy_variant

import kit
from kit import tasks
from kit.build import build, steps
from kit.build.runner import GraphRunner, Runner
from kit.build.verify import verify
from kit.machine import ceilings
from kit.measurements import Cost, Memory, Quality, ScoreChoices, ScoreText
from kit.spec import registry
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store


@pytest.fixture
def texts(toys: Ref) -> list[str]:
    return list(tasks.load(toys).split("test", 12)["text"])


@pytest.mark.usefixtures("registries")
def test_a_run_id_follows_content_data_and_code(toys: Ref) -> None:
    base = toy_variant(toys)

    def identity(**changes: Any) -> str:
        return Run(base.replace(**changes), Quality(toys)).id

    before = identity()
    assert identity(name="other") == before
    assert len({before, identity(seed=1), identity(schemes=["w4"]), identity(runtime="onnx")}) == 4
    entry = registry.architectures.get("toy_encoder")
    registry.architectures.register(entry.function, version=2, kind="encoder", tokenizer=None)
    assert identity() != before
    registry.architectures.register(entry.function, version=1, kind="encoder", tokenizer=None)
    assert identity() == before
    toy_task(shifts={"later": toy_frame(60, start=2)})
    assert identity() != before  # the task has another version


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"schemes": ["w4"], "runtime": "onnx"}, None),
        ({"schemes": ["dynamic_int8"], "runtime": "onnx"}, None),
        (
            {"schemes": ["dynamic_int8"]},
            "dynamic_int8 gives onnx, which eager does not run; use onnx",
        ),
        ({"schemes": ["torchao_int8"]}, "torchao_int8 runs on compiled, not on eager"),
        ({"schemes": ["bf16"]}, "bfloat16 is slow here"),
    ],
)
def test_what_cannot_work_has_a_reason(
    toys: Ref, changes: Any, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "slow_dtype", lambda dtype: f"{dtype} is slow here")
    assert build.conflict(toy_variant(toys, **changes)) == reason


def test_a_predictor_takes_no_scheme_and_no_runtime() -> None:
    reason = "majority is a predictor: it takes no scheme and no runtime"
    assert build.conflict(Variant(Ref("majority"), schemes=(Ref("w4"),))) == reason
    assert build.conflict(Variant(Ref("majority"), runtime=Ref("onnx"))) == reason
    assert build.conflict(Variant(Ref("majority"))) is None


@pytest.mark.parametrize(
    ("changes", "measurement", "says"),
    [
        ({}, ScoreChoices("piqa"), None),
        ({}, Cost(), None),
        (
            {},
            ScoreText("wikipedia"),
            "score_text goes forward alone and would see nothing of kv_int8",
        ),
        ({}, Memory("sentiment"), "acts on what decoding keeps; use cost or"),
        ({"runtime": "onnx"}, None, "kv_int gives state, which onnx does not run; use eager"),
        ({"schemes": ["kv_int8", "window"]}, None, "kv_int8 and window both act on what dec"),
        ({"architecture": "lenet"}, None, "kv_int8 acts on what decoding keeps; lenet is a classi"),
    ],
)
def test_schemes_on_the_state_are_refused_where_nothing_would_see_them(
    changes: Any, measurement: Ref | None, says: str | None
) -> None:
    variant = Variant(Ref("llama", width=64, depth=1), schemes=["kv_int8"]).replace(**changes)
    reason = build.conflict(variant, measurement)
    assert reason is None if says is None else says in str(reason)


def test_a_runtime_that_keeps_less_is_refused_where_nothing_would_see_it() -> None:
    pytest.importorskip("openvino")
    base = Variant(Ref("llama", width=64, depth=1))
    exact, less = (base.replace(runtime=Ref("openvino", kv_cache=c)) for c in ("f32", "u8"))
    assert build.conflict(exact, ScoreText("wikipedia")) is None
    assert build.conflict(less, ScoreChoices("piqa")) is None
    assert "see nothing of kv_cache=u8" in str(build.conflict(less, ScoreText("wikipedia")))


def test_a_measurement_that_needs_decoding_sees_the_state(registries: None) -> None:
    def pace(runner: Any) -> Any:
        """Nothing."""

    ask = kit.register_measurement(where="worker", artifacts=("generations",), needs=("decode",))
    assert registry.measurements.get(ask(pace)().name).traits["decodes"]


def missing(variant: Variant) -> list[str]:
    return [step.name for step in steps.missing(variant)]


def test_weights_are_trained_once_and_their_folder_tells_how(toys: Ref, fresh_store: Path) -> None:
    base = toy_variant(toys)
    assert missing(base) == ["training"]
    assert missing(base.replace(runtime="onnx")) == ["training", "to_onnx"]
    steps.prepare(base)
    assert missing(base) == missing(base.replace(schemes=["w4"])) == []
    assert missing(base.replace(seed=1)) == ["training"]
    folder = steps.Weights(base).folder
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "curve.csv", "training.json", "spec.json"} <= names
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    steps.prepare(base.replace(schemes=["w4"]))
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    assert not list(folder.parent.glob("*.partial"))


def test_a_runner_predicts_in_order_whatever_the_batch(toys: Ref, texts: list[str]) -> None:
    runner = Runner(toy_variant(toys), 1)
    scores = runner.predict(texts)
    assert (scores.shape, scores.dtype) == ((12, 2), np.float32)
    np.testing.assert_allclose(runner.predict(texts, batch_size=1), scores, rtol=1e-5, atol=1e-6)
    one_by_one = np.concatenate([runner.predict([text]) for text in texts])
    np.testing.assert_allclose(one_by_one, scores, rtol=1e-5, atol=1e-6)
    labels = np.array(tasks.load(toys).split("test", 12)["label"])
    assert (scores.argmax(1) == labels).mean() > 0.9
    assert (runner.length, runner.load_seconds > 0) == (32, True)


def test_a_scheme_acts_on_a_copy_of_the_weights(toys: Ref, texts: list[str]) -> None:
    plain = Runner(toy_variant(toys), 1)
    rounded = Runner(toy_variant(toys, schemes=["w2"]), 1)
    assert not np.array_equal(rounded.predict(texts), plain.predict(texts))
    again = Runner(toy_variant(toys), 1)
    np.testing.assert_array_equal(again.predict(texts), plain.predict(texts))


def test_an_exported_graph_agrees_is_kept_and_is_quantized(toys: Ref, texts: list[str]) -> None:
    base = toy_variant(toys)
    plain, graph = Runner(base, 1), Runner(base.replace(runtime="onnx"), 1)
    np.testing.assert_allclose(graph.predict(texts), plain.predict(texts), rtol=1e-3, atol=1e-4)
    assert isinstance(graph, GraphRunner)
    changed = graph.graph.stat().st_mtime_ns
    quantized = base.replace(runtime="onnx", schemes=["dynamic_int8"])
    small = Runner(quantized, 1)
    assert isinstance(small, GraphRunner) and small.graph != graph.graph
    assert graph.graph.stat().st_mtime_ns == changed
    assert missing(quantized) == []
    assert np.abs(small.predict(texts) - plain.predict(texts)).max() < 0.5
    assert verify(base.replace(runtime="onnx"), toys) < 1e-3
    with pytest.raises(Undefined, match="gives no features on onnx"):
        graph.predict_with_features(texts)
    scores, features = plain.predict_with_features(texts)
    np.testing.assert_array_equal(scores, plain.predict(texts))
    assert features.shape == (12, 16)
    head = plain.model.module.head
    again = head(torch.from_numpy(features)).detach().numpy()
    np.testing.assert_allclose(again, scores, rtol=1e-5, atol=1e-6)
    assert (build.gives_features(base), build.gives_features(quantized)) == (True, False)


@pytest.mark.slow
def test_features_of_a_compiled_model_are_those_of_eager(toys: Ref, texts: list[str]) -> None:
    """What listens to its layers hears nothing of compiled code, so that it is run once more."""
    plain, fast = (Runner(toy_variant(toys, runtime=name), 1) for name in ("eager", "compiled"))
    for ours, theirs in zip(
        fast.predict_with_features(texts), plain.predict_with_features(texts), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_runtime_that_answers_wrongly_is_not_timed(
    toys: Ref, texts: list[str], registries: None
) -> None:
    def off(model: Any) -> Callable[[Any], torch.Tensor]:
        return lambda inputs: model(**inputs).detach() * 1.5

    kit.register_runtime(version=1)(off)
    with pytest.raises(Undefined, match=r"base off differs from eager by .* neither its quality"):
        verify(toy_variant(toys, runtime="off"), toys)


def test_what_conflicts_makes_no_runner(toys: Ref) -> None:
    with pytest.raises(Undefined, match="torchao_int8 runs on compiled, not on eager"):
        Runner(toy_variant(toys, schemes=["torchao_int8"]), 1)


def test_a_predictor_is_fitted_on_the_measured_task(toys: Ref, texts: list[str]) -> None:
    runner = Runner(Variant(Ref("majority")), 1, toys)
    scores = runner.predict(texts)
    assert scores.shape == (12, 2)
    assert (scores == scores[0]).all()
    run = Run(Variant(Ref("majority")), Quality(toys))
    assert store.has(run.id) is False


ODD = ["", "x" * 100_000, "🙂🙃", "שלום עולם", "\ud800 lone", "a\0b", " "]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("runtime", ["eager", "onnx"])
def test_odd_texts_get_finite_scores(toys: Ref, odd: str, runtime: str) -> None:
    runner = Runner(toy_variant(toys, runtime=runtime), 1)
    scores = runner.predict([odd, "super 1 2 3"])
    assert np.isfinite(scores).all()
    assert scores[1].argmax() == 1
