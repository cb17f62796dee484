"""Corruptions of images: pixels [..., h, w] in 0..1, of any size, in and out.

Kinds after Hendrycks and Dietterich (ICLR 2019), and turns and moves after Mu and Gilmer ("MNIST-C:
a robustness benchmark for computer vision", 2019). What is drawn (noise, direction, place) is the
same at every severity, which scales it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.corruptions.corruption import Severity
from kit.spec.register_measures import register_corruption

Pixels = npt.NDArray[np.floating[Any]]


@register_corruption(
    modality="image",
    rule="A shape of full contrast stands out of the noise, whose deviation is 0.38 at most",
    version=1,
)
def gaussian_noise(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """Normal noise of its own at each pixel, as from a sensor in the dark."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return _clipped(pixels + deviation * rng.standard_normal(pixels.shape))


@register_corruption(
    modality="image",
    rule="The blur's deviation is a sixteenth of the image's side at most: less than a stroke",
    version=1,
)
def blur(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """A Gaussian blur, as out of focus."""
    from scipy.ndimage import gaussian_filter

    deviation = (0.015, 0.025, 0.035, 0.045, 0.0625)[severity - 1] * min(pixels.shape[-2:])
    return _clipped(gaussian_filter(pixels, deviation, mode="nearest", axes=(-2, -1)))


@register_corruption(
    modality="image", rule="Darker stays darker: 15% of every difference is left or more", version=1
)
def contrast(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """All pixels nearer to their mean, as in fog."""
    left = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = pixels.mean(axis=(-2, -1), keepdims=True)
    return _clipped(mean + left * (pixels - mean))


@register_corruption(
    modality="image",
    rule="Half of the range is left or more: what was dark is no lighter than gray",
    version=1,
)
def brightness(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """All pixels lighter, up to white, as in glaring light."""
    return _clipped(pixels + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1])


@register_corruption(
    modality="image",
    rule="30 degrees at most: a 6 is no 9, a 1 no dash",
    version=1,
)
def rotation(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """Turned left or right."""
    from scipy.ndimage import rotate

    degrees = 6 * severity * (1 if rng.random() < 0.5 else -1)
    turned = rotate(pixels, degrees, axes=(-1, -2), reshape=False, order=1, mode="nearest")
    return _clipped(turned)


@register_corruption(
    modality="image",
    rule="An eighth of the image's side at most: what is in its middle stays in it",
    version=1,
)
def translation(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """Moved in some direction; the edge is repeated."""
    from scipy.ndimage import shift

    angle = rng.uniform(0, 2 * np.pi)
    length = severity / 5 * min(pixels.shape[-2:]) / 8
    move = [*[0.0] * (pixels.ndim - 2), length * np.sin(angle), length * np.cos(angle)]
    return _clipped(shift(pixels, move, order=1, mode="nearest"))


@register_corruption(
    modality="image",
    rule="Three tenths of the rows and columns are left or more: on 28 pixels 8, on which "
    "scikit-learn's digits are read",
    version=1,
)
def pixelation(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """Fewer, larger pixels: each the mean of what lies in it."""
    left = (0.8, 0.65, 0.5, 0.4, 0.3)[severity - 1]
    rows, columns = (_cells(size, max(round(left * size), 1)) for size in pixels.shape[-2:])
    return _clipped(rows @ pixels @ columns)


@register_corruption(
    modality="image", rule="JPEG keeps shapes, at the lowest quality within blocks", version=1
)
def jpeg(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """Saved as a JPEG of low quality; each channel by itself."""
    from PIL import Image

    quality = (50, 30, 20, 12, 7)[severity - 1]
    planes = []
    for plane in np.rint(255 * pixels).astype(np.uint8).reshape(-1, *pixels.shape[-2:]):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=quality)
        planes.append(np.asarray(Image.open(file)))
    return np.stack(planes).reshape(pixels.shape) / 255


@register_corruption(
    modality="image",
    rule="An eighth of the image at most, in gray: what is hidden is seen to be hidden",
    version=1,
)
def occlusion(pixels: Pixels, rng: np.random.Generator, *, severity: Severity) -> Pixels:
    """A gray square over some part."""
    share = (0.15, 0.2, 0.25, 0.3, 0.35)[severity - 1]
    height, width = (round(share * size) for size in pixels.shape[-2:])
    top, left = (
        round(at * (size - side))
        for at, size, side in zip(rng.random(2), pixels.shape[-2:], (height, width), strict=True)
    )
    made = pixels.copy()
    made[..., top : top + height, left : left + width] = 0.5
    return made


def _clipped(pixels: npt.ArrayLike) -> Pixels:
    made: Pixels = np.clip(np.asarray(pixels), 0, 1)
    return made


def _cells(size: int, count: int) -> Pixels:
    """Returns what turns a row of pixels into its means over `count` equal cells [size, size]."""
    edges, places = np.linspace(0, size, count + 1)[:, None], np.arange(size)
    overlap = np.minimum(edges[1:], places + 1) - np.maximum(edges[:-1], places)
    shared: Pixels = np.maximum(overlap, 0)
    means: Pixels = shared.T @ shared * (count / size)
    return means
