"""Digits: what the two sources hold, and tasks of images in general."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from kit import tasks
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.register_measures import register_task
from kit.tasks.content import content_id
from kit.tasks.digits import enlarged
from kit.tasks.prepare import pixels, prepare
from kit.tasks.splits import fingerprint, finished

images = arrays.arrays(np.uint8, (8, 8), elements=st.integers(0, 16))


@pytest.fixture(scope="module")
def mnist() -> Iterator[tasks.Task]:
    yield tasks.load("mnist")


def test_every_image_is_in_one_split(mnist: tasks.Task) -> None:
    sizes = {split: len(rows) for split, rows in mnist.data.items()}
    assert sizes["train"] + sizes["validation"] + sizes["test"] == 5000
    assert sizes["digits"] + sizes["digits/validation"] == 1797
    ids = [item for rows in mnist.data.values() for item in rows["id"]]
    assert len(set(ids)) == len(ids)
    assert tasks.describe("mnist")["dropped"] == {
        "mnist": {"exact_duplicates": 0},
        "digits": {"exact_duplicates": 0},
    }
    assert (mnist.modality, mnist.shifts) == ("image", {"digits": "far"})


def test_examples_are_images_that_their_id_is_of(mnist: tasks.Task) -> None:
    rows = mnist.split("test", 20)
    examples = mnist.examples(rows)
    assert {(image.shape, image.dtype) for image in examples} == {((28, 28), np.dtype(np.uint8))}
    assert [content_id(image) for image in examples] == list(rows["id"])
    assert np.stack(examples).max() == 255
    assert list(rows["digit"]) == [mnist.labels[label] for label in rows["label"]]


def test_both_sources_lie_in_the_same_box(mnist: tasks.Task) -> None:
    for split in ("train", "digits"):
        ink = np.stack(mnist.examples(mnist.split(split))).astype(float).sum(axis=0)
        inside = ink[4:-4, 4:-4].sum() / ink.sum()
        assert inside > 0.95, f"{split}: {inside:.3f} of the ink lies in the 20 x 20 box"


@given(images)
def test_enlarging_keeps_place_and_range(image: np.ndarray) -> None:
    large = enlarged(image)
    assert large.shape == (28, 28)
    assert large.dtype == np.uint8
    assert large[:4].max() == large[-4:].max() == large[:, :4].max() == large[:, -4:].max() == 0
    assert large.max() <= np.ceil(int(image.max()) * 255 / 16)
    np.testing.assert_array_equal(enlarged(image[:, ::-1]), large[:, ::-1])
    np.testing.assert_array_equal(enlarged(image.T), large.T)
    expected = zoom(image * (255 / 16), 2.5, order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(large[4:-4, 4:-4], expected, atol=0.501)


def test_enlarged_digits_keep_their_mean() -> None:
    small = load_digits().images
    large = np.stack([enlarged(image) for image in small])[:, 4:-4, 4:-4]
    np.testing.assert_allclose(large.mean() / 255, small.mean() / 16, rtol=0.02)


def toy(shift: int = 0, count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(shift)
    return pd.DataFrame(
        {"pixels": list(rng.integers(0, 256, (count, 4))), "label": np.arange(count) % 2}
    )


def test_copies_are_left_out_and_the_first_source_keeps_them() -> None:
    frame = toy()
    twice = pd.concat([frame, frame[:5]])
    prepared = prepare({"own": twice, "far": frame[3:10]}, validation=0.2, test=0.2)
    assert sum(len(rows) for rows in prepared.splits.values()) == 60
    assert prepared.dropped["own"] == {"exact_duplicates": 5}
    assert prepared.dropped["far"] == {"exact_duplicates": 7}


def test_a_fingerprint_sees_every_pixel() -> None:
    frame = finished(pd.DataFrame({"pixels": [np.arange(2000) % 200], "label": [0]}))
    other = frame.assign(pixels=[np.where(np.arange(2000) == 1000, 7, frame["pixels"][0])])
    assert fingerprint(frame) != fingerprint(other)
    assert fingerprint(frame) == fingerprint(frame.assign(pixels=[frame["pixels"][0].tolist()]))


@pytest.mark.usefixtures("registries", "fresh_store")
def test_a_task_of_own_images() -> None:
    def squares() -> dict[str, pd.DataFrame]:
        frame = toy()
        return {"train": frame[:40], "validation": frame[40:50], "test": frame[50:]}

    made = register_task(kind="classification", labels=("a", "b"), image_shape=(1, 2, 2), version=1)
    made(squares)
    task = tasks.load("squares")
    assert tasks.modality("squares") == "image"
    assert {image.shape for image in task.examples(task.split("test"))} == {(2, 2)}
    wrong = register_task(
        kind="classification", labels=("a", "b"), image_shape=(3, 2, 2), version=2
    )
    wrong(squares)
    with pytest.raises(SpecError, match=r"an image has 4 pixels; expected 12 for image_shape"):
        tasks.load("squares")


@pytest.mark.usefixtures("registries", "fresh_store")
def test_texts_in_a_task_of_images_are_told() -> None:
    def words() -> dict[str, pd.DataFrame]:
        frame = pd.DataFrame({"text": [f"t{n}" for n in range(60)], "label": np.arange(60) % 2})
        return {"train": frame[:40], "validation": frame[40:50], "test": frame[50:]}

    made = register_task(kind="classification", labels=("a", "b"), image_shape=(1, 2, 2), version=1)
    made(words)
    with pytest.raises(SpecError, match="unknown column 'pixels'"):
        tasks.load("words")
    assert registry.tasks.get("words").traits["modality"] == "image"


@pytest.mark.parametrize("wrong", [[0.5], [256], [-1], "x", None, [[1], [2, 3]]])
def test_what_is_no_image_is_told(wrong: object) -> None:
    with pytest.raises(SpecError, match=r"expected an image of whole numbers 0\.\.255"):
        pixels(wrong)
