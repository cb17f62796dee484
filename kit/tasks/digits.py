"""Handwritten digits: MNIST, and shifted to scikit-learn's digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.spec.register_measures import register_task
from kit.tasks.prepare import Prepared, prepare

if TYPE_CHECKING:
    import pandas as pd

SIDE = 28
BOX = 20
LIGHT, HEAVY = 0.11, 0.145
"""Mean of an image's pixels, 0..1: about a third of MNIST lies below the one and above the other"""


@register_task(
    kind="classification",
    labels=tuple("0123456789"),
    shifts={"digits": "far"},
    groups=("digit", "ink"),
    rule=(
        "Trained on MNIST. Far: the same ten digits by other people, and another kind of image "
        "(scikit-learn's digits, 8 x 8 points of 17 grey levels, enlarged)."
    ),
    version=1,
    image_shape=(1, SIDE, SIDE),
    assets=("mnist",),
)
def mnist() -> Prepared:
    """Which digit is written, on 5,000 images of MNIST, and shifted to scikit-learn's 1,797.

    scikit-learn's 8 x 8 images are enlarged by linear interpolation to the 20 x 20 box in which
    MNIST's digits lie, and framed by 4 black pixels, so that size and place are not what differs.
    Exact duplicates are left out, near ones are not looked for. Who wrote an image of MNIST is not
    known here: each is a cluster of its own.

    Groups: `digit`, the label; `ink`, the mean of the pixels, `light`, `medium` or `heavy`.
    """
    from sklearn.datasets import load_digits

    from kit.assets import assets

    table = np.loadtxt(assets.path("mnist") / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    small = load_digits()
    frames = {
        "mnist": _frame(table[:, :-1], table[:, -1]),
        "digits": _frame(np.stack([enlarged(image) for image in small.images]), small.target),
    }
    return prepare(frames, validation=0.1, test=0.2, shift_validation=0.25)


def enlarged(image: np.ndarray) -> np.ndarray:
    """Returns an image [8, 8] of 0..16 as uint8 [28, 28] of 0..255."""
    places = (np.arange(BOX) + 0.5) * len(image) / BOX - 0.5
    points = np.arange(len(image))
    shares = np.stack([np.interp(places, points, row) for row in np.eye(len(image))], axis=1)
    # They are tenths: in whole numbers the sums, and so the ids, are the same on every machine.
    tenths = np.rint(10 * shares).astype(np.int64)
    hundredths = tenths @ image.astype(np.int64) @ tenths.T
    return np.pad((hundredths * 255 + 800) // 1600, (SIDE - BOX) // 2).astype(np.uint8)


def _frame(images: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Returns the rows of images [n, ...] of 0..255."""
    import pandas as pd

    pixels = images.reshape(len(images), -1)
    ink = pixels.mean(axis=1) / 255
    columns = {
        "pixels": list(pixels),
        "label": labels.astype(np.int64),
        "digit": labels.astype(int).astype(str),
        "ink": np.select([ink < LIGHT, ink < HEAVY], ["light", "medium"], "heavy"),
    }
    return pd.DataFrame(columns)
