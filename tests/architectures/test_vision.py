"""Networks for images: their features, their input, and one trained through every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers import measure
from torch import nn

import kit
from kit import tasks
from kit.analysis.stopping import Stopping
from kit.architectures.model import make_model
from kit.architectures.modules import ImageClassifier
from kit.architectures.preprocessing import Images, Texts, free_dimensions, positions
from kit.architectures.tokenizers import ByteTokenizer
from kit.build import build
from kit.build.runner import Runner
from kit.build.verify import verify
from kit.checks import tiny
from kit.machine import ceilings
from kit.machine.workers import inline
from kit.measurements import Cost, Latency, Memory, Quality, timer
from kit.measurements.interface import Bench, Driver, Raw
from kit.spec import presets, registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Run, Training, Variant
from kit.study.study import Study
from kit.study.variants import classifier
from kit.training.batches import ClassifierFeed

NAMES = ("lenet", "mlp", "resnet", "vit")


@pytest.fixture(scope="module")
def images() -> Iterator[Ref]:
    """A task of dark and light images of 28 x 28, over a store of its own."""
    with tiny.world():
        yield tiny.IMAGES


@pytest.fixture(scope="module")
def base(images: Ref) -> Variant:
    return Variant("lenet", Training(images, Budget(epochs=8), rates=(3e-3,), batch_size=8))


def examples(images: Ref, split: str = "test") -> list[Any]:
    data = tasks.load(images)
    return data.examples(data.split(split))


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_channels_classes_and_pixels(name: str) -> None:
    function = registry.architectures.get(name).function
    module = function(7, (3, 14, 21)).eval()
    network = ImageClassifier(module, 7)
    pixels = torch.rand(2, 3, 14, 21)
    assert network(pixels).shape == (2, 7)
    with network.reading() as read:
        answer = network(pixels)
    head = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    assert read[-1].ndim == 2
    torch.testing.assert_close(head(read[-1]), answer)
    network(pixels)
    assert len(read) == 1, "nobody listens any more"


def test_what_cannot_be_built_is_told(images: Ref) -> None:
    task = tasks.load(images)
    with pytest.raises(SpecError, match=r"patch=5 and heads=4 do not divide an image of 28 x 28"):
        make_model(Ref("vit", patch=5), task, seed=0)
    with pytest.raises(ValueError, match="3 x 9 is below 4 x 4"):
        registry.architectures.get("lenet").function(2, (1, 3, 9))
    with pytest.raises(SpecError, match="lenet reads images; the task check_reviews holds texts"):
        make_model(Ref("lenet"), tasks.load(tiny.REVIEWS), seed=0)
    with pytest.raises(SpecError, match="check_encoder reads texts; the task check_images holds"):
        make_model(Ref("check_encoder"), task, seed=0)
    with pytest.raises(SpecError, match="vader reads texts; the task check_images holds images"):
        make_model(Ref("vader"), task, seed=0)
    with pytest.raises(SpecError, match="lenet was given no task; expected a classification task"):
        make_model(Ref("lenet"), None, seed=0)


def test_a_network_with_too_many_outputs_is_told(images: Ref, registries: None) -> None:
    @kit.register_architecture(kind="vision", version=1)
    def wide(image_shape: tuple[int, int, int]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], 5))

    said = r"wide returned logits of shape \(2, 5\) for pixels of shape \(2, 1, 28, 28\); expected"
    with pytest.raises(SpecError, match=said):
        make_model(Ref("wide"), tasks.load(images), seed=0)


def test_a_network_without_a_head_has_no_features() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = ImageClassifier(conv, 2)
    with pytest.raises(Undefined, match="Sequential has no last linear layer"):
        with network.reading():
            network(torch.rand(1, 1, 8, 8))


def test_pixels_are_scaled_and_put_in_shape() -> None:
    images = Images((1, 2, 3))
    values = np.array([[0, 51, 255], [1, 2, 3]], np.uint8)
    rows = images.encode([values, values.ravel().tolist(), values[None]])
    batch = images.collate(rows)["pixels"]
    assert batch.shape == (3, 1, 2, 3)
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch[0, 0].numpy(), values.astype(np.float32) / 255)
    assert torch.equal(batch[0], batch[1])
    assert [len(row) for row in rows] == [1, 1, 1], "an image is one token"
    assert positions({"pixels": batch}) == 3
    assert free_dimensions(batch) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("seven", "a cell holds 'seven'; expected an image of whole numbers 0..255"),
        (np.full((2, 3), 0.5), "expected an image of whole numbers 0..255"),
        ([0, 0, 0, 0, 0, 256], "expected an image of whole numbers 0..255"),
        ([0, 0, 0, 0, 0, -1], "expected an image of whole numbers 0..255"),
        ([], "expected an image of whole numbers 0..255"),
        ([1, 2, 3], r"given 3 pixels; expected 6 for the shape \(1, 2, 3\)"),
    ],
)
def test_what_is_no_such_image_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Images((1, 2, 3)).encode([wrong])


def test_texts_are_rows_of_ids() -> None:
    plain, masked = (Texts(ByteTokenizer(), masked=masked) for masked in (False, True))
    rows = masked.encode(["abc", "a"], 2)
    assert rows == [[97, 98], [97]]
    assert masked.collate(rows)["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert list(plain.collate(rows)) == ["input_ids"]
    assert masked.filled(["ab"], 5) == [[97, 98, 97, 98, 97]]
    assert positions(masked.collate(rows)) == 4
    with pytest.raises(SpecError, match="the model reads texts; it was given a ndarray"):
        masked.encode([np.zeros((2, 2), np.uint8)])
    with pytest.raises(Undefined, match="images have one size; length=5 needs texts"):
        Images((1, 2, 2)).filled([np.zeros((2, 2), np.uint8)], 5)


def test_training_reads_each_image_once_an_epoch(images: Ref) -> None:
    task = tasks.load(images)
    spec = Training(images, Budget(epochs=2), batch_size=5)
    feed = ClassifierFeed(task, Images((1, 28, 28)), spec, seed=0)
    seen = torch.cat([feed.batch(step).inputs["pixels"] for step in range(feed.epoch_steps)])
    expected = Images((1, 28, 28)).collate(feed.rows)["pixels"]
    order = [tensor.flatten(1).sum(1).sort().values for tensor in (seen, expected)]
    torch.testing.assert_close(order[0], order[1])
    assert sum(feed.batch(step).tokens for step in range(feed.epoch_steps)) == 32
    assert not torch.equal(seen[:5], feed.batch(feed.epoch_steps).inputs["pixels"])


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [({}, 1e-6), ({"schemes": ["w8"]}, 0.1), ({"runtime": "onnx"}, 1e-5)],
)
def test_the_same_answers_by_every_way(
    base: Variant, images: Ref, changes: dict[str, Any], tolerance: float
) -> None:
    found = Runner(base.replace(**changes), 1).predict(examples(images), batch_size=7)
    expected = Runner(base, 1).predict(examples(images), batch_size=64)
    gap = np.abs(found - expected).max() / np.abs(expected).max()
    assert gap <= tolerance
    labels = np.array(tasks.load(images).split("test")["label"])
    assert (found.argmax(axis=1) == labels).mean() > 0.9, "dark and light are told apart"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"schemes": ["dynamic_int8"], "runtime": "onnx"},
        {"schemes": ["torchao_int8"], "runtime": "compiled"},
    ],
)
def test_compressed_and_compiled_agree(base: Variant, images: Ref, changes: dict[str, Any]) -> None:
    difference = verify(base.replace(**changes), images)
    assert 0 <= difference < 0.2, "a larger one raises"


def test_bf16_takes_the_pixels_in_its_own_precision(
    base: Variant, images: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "slow_dtype", lambda dtype: None)
    runner = Runner(base.replace(schemes=["bf16"]), 1)
    exact = Runner(base, 1).predict(examples(images))
    assert np.abs(runner.predict(examples(images)) - exact).max() < 0.05 * np.abs(exact).max()
    assert runner.predict_with_features(examples(images))[1].shape == (40, 80)


def test_two_bits_change_convolutions_too(base: Variant, images: Ref) -> None:
    exact, rounded = (Runner(v, 1).model.module for v in (base, base.replace(schemes=["w2"])))
    for name, weight in rounded.named_parameters():
        if weight.ndim >= 2:
            levels = [len(row.unique()) for row in weight.flatten(1)]
            assert max(levels) <= 3, f"{name} was left as it was"
        else:
            assert torch.equal(weight, exact.get_parameter(name))


def test_all_measurements_of_a_worker(base: Variant, images: Ref) -> None:
    bench = Bench()
    asked = (Quality(images, features=True), Memory(images), Cost())
    quality, memory, cost = (bench.measure(Run(base, one)).columns for one in asked)
    assert quality["logits"].shape == (40, 2)
    assert quality["features"].shape == (40, 80)
    counted = dict(zip(cost["quantity"], cost["value"], strict=True))
    sizes = dict(zip(memory["quantity"], memory["value"], strict=True))
    weights = {16 * 25 + 16, 32 * 16 * 25 + 32, 1568 * 128 + 128, 128 * 80 + 80, 80 * 2 + 2}
    assert counted["parameters"] == counted["non_embedding_parameters"] == sum(weights)
    assert sizes["disk_bytes"] == sizes["weight_bytes"] == 4 * sum(weights)
    convolutions = 28 * 28 * 16 * 25 + 14 * 14 * 32 * 16 * 25
    forward = 2 * (convolutions + 1568 * 128 + 128 * 80 + 80 * 2)
    assert counted["flops_per_token"] == forward
    assert counted["training_flops"] == 3 * forward * 8 * 32
    assert counted["training_tokens"] == 8 * 32


def test_a_study_of_images(base: Variant, images: Ref) -> None:
    variants = (base, base.replace(schemes=["w2"]), Variant("majority"))
    study = Study("images", [Run(variant, Quality(images)) for variant in variants], base)
    table = study.run(executor="inline", on_error="raise")
    quality = table[(table.metric == "accuracy") & (table.group == "") & (table.baseline == "")]
    assert set(quality.variant) == {"lenet", "lenet w2", "majority"}
    assert set(quality.status) == {"ok"}
    flips = study.flips("majority")
    assert set(flips.text) <= set(tasks.load(images).split("test")["id"])
    assert len(flips)


def test_images_are_timed_as_they_are(
    base: Variant, images: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer, "TURN_SECONDS", 0.005)
    assert Latency(images).args["lengths"] == ("task",)

    def timed(*lengths: int | str) -> Raw:
        driver = Driver(base, inline, {}, lambda *_: None, lambda _: None, Stopping)
        once: dict[str, Any] = {"batch_sizes": (2,), "threads": 1, "launches": 1, "seconds": 0.01}
        return measure(driver, Latency(images, against=base, lengths=lengths, **once))

    found = timed("task").columns["condition"]
    assert set(found) - {""} == {"batch_size=2;length=task;threads=1"}
    with pytest.raises(Undefined, match="images have one size; length=8 needs texts"):
        timed(8)


def test_another_modality_is_refused_before_anything_runs(images: Ref) -> None:
    wrong = Variant("lenet", Training(tiny.REVIEWS, Budget(epochs=1)))
    assert build.conflict(wrong) == "lenet reads images; the task check_reviews holds texts"
    wrong = Variant("check_encoder", Training(images, Budget(epochs=1)))
    assert build.conflict(wrong) == "check_encoder reads texts; the task check_images holds images"


def test_a_text_model_is_not_shown_images(images: Ref) -> None:
    reader = Variant("check_encoder", Training(tiny.REVIEWS, Budget(epochs=1)))
    with pytest.raises(SpecError, match="the model reads texts; it was given a ndarray"):
        Bench().measure(Run(reader, Quality(images)))


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_takes_what_its_architecture_asks_for(
    name: str, images: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    traits = registry.architectures.get(name).traits
    made = classifier(name, images, batch_size=16).training
    assert made is not None
    assert made.rates == (traits["rate"],)
    assert made.budget.epochs == min(traits["passes"], 3)
    assert made.batch_size == 16
    monkeypatch.setenv(presets.VARIABLE, "default")
    assert classifier(name, images).training.budget.epochs == traits["passes"]
    monkeypatch.undo()
    text = classifier("check_encoder", tiny.REVIEWS).training
    assert text is not None
    assert text.rates == (1e-4,)
    assert text.budget.epochs == 1
