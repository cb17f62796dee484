"""Corruptions of images: shape and range, growth with severity, and what each one does."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.corruptions import SEVERITIES, corrupted, image
from kit.spec import registry
from kit.spec.ref import Ref, content_hash

NAMES = [
    name
    for name in registry.corruptions.names()
    if registry.corruptions.get(name).traits["modality"] == "image"
]
IMAGES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=12).flatmap(
    lambda shape: arrays.arrays(np.uint8, shape)
)


def made(name: str, pixels: np.ndarray, severity: int, item: str = "1") -> np.ndarray:
    """Returns pixels in 0..1, corrupted as `item`."""
    seed = int(content_hash(item, name), 16)
    function = registry.corruptions.get(name).function
    return np.asarray(function(pixels, np.random.default_rng(seed), severity=severity))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """scikit-learn's digits [60, 28, 28] in 0..1, enlarged, turned a little, with a margin."""
    from scipy.ndimage import rotate, zoom
    from sklearn.datasets import load_digits

    images = zoom(load_digits().images[:60] / 16, (1, 2.5, 2.5), order=1)
    images = np.pad(images, ((0, 0), (4, 4), (4, 4)))
    turned = [rotate(x, 7 + at / 3, reshape=False, order=1) for at, x in enumerate(images)]
    return np.clip(turned, 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(pixels=IMAGES, severity=st.sampled_from(SEVERITIES))
def test_any_image_keeps_its_shape_and_range(name: str, pixels: np.ndarray, severity: int) -> None:
    before, ref = pixels.copy(), Ref(name, severity=severity)
    after, again = corrupted([pixels] * 2, ["1"] * 2, ref)
    assert (after.shape, after.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(after, again)
    np.testing.assert_array_equal(after, np.rint(255 * made(name, pixels / 255, severity)))


@pytest.mark.parametrize("name", ["blur", "contrast", "rotation", "translation", "pixelation"])
def test_an_even_image_stays_even(name: str) -> None:
    even = np.full((3, 28, 28), 0.4, np.float32)
    np.testing.assert_allclose(made(name, even, 5), even, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gaussian_noise"])
def test_channels_are_treated_alike(name: str, digits: np.ndarray) -> None:
    after = made(name, np.stack([digits[0]] * 3), 4)
    np.testing.assert_array_equal(after[0], after[1])
    np.testing.assert_allclose(after[2], made(name, digits[0], 4), atol=1e-6)


def test_noise_has_the_deviation_it_says() -> None:
    gray = np.full((200, 200), 0.5)
    after = image.gaussian_noise(gray, np.random.default_rng(0), severity=1)
    assert np.std(after - gray) == pytest.approx(0.08, rel=0.02)


def test_turns_go_both_ways_and_keep_their_way() -> None:
    line = np.zeros((29, 29))
    line[3:26, 14] = 1

    def lean(severity: int, item: str) -> float:
        after = made("rotation", line, severity, item)
        return float((after[4:8] @ np.arange(29)).sum() / after[4:8].sum() - 14)

    for item in map(str, range(6)):
        assert len({np.sign(lean(severity, item)) for severity in SEVERITIES}) == 1
    assert {np.sign(lean(1, str(item))) for item in range(20)} == {-1, 1}
    # 8.5 points above the middle, turned by 30 degrees
    assert abs(lean(5, "0")) == pytest.approx(8.5 * np.tan(np.pi / 6), rel=0.1)


def test_a_move_is_an_eighth_at_most() -> None:
    point = np.zeros((40, 40))
    point[18:22, 18:22] = 1
    for severity in SEVERITIES:
        after = made("translation", point, severity)
        centre = [(after.sum(axis=1 - axis) @ np.arange(40)) / after.sum() for axis in (0, 1)]
        assert np.hypot(*np.subtract(centre, 19.5)) == pytest.approx(severity, rel=0.01)


def test_pixelation_leaves_the_share_of_pixels_that_it_says() -> None:
    pixels = np.random.default_rng(0).random((30, 30))
    after = made("pixelation", pixels, 3)
    assert len(np.unique(after)) == 15 * 15
    assert after.mean() == pytest.approx(pixels.mean(), abs=1e-6)


def test_a_square_is_gray_and_the_rest_untouched() -> None:
    pixels = np.random.default_rng(0).random((40, 40))
    for severity, side in zip(SEVERITIES, (6, 8, 10, 12, 14), strict=True):
        changed = made("occlusion", pixels, severity) != pixels
        assert changed.sum() == side**2
        assert (made("occlusion", pixels, severity)[changed] == 0.5).all()
