"""Contract tests of corruptions, on texts and images of all sorts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kit.checks.tiny import Test, expect
from kit.corruptions import SEVERITIES, corrupted
from kit.corruptions.words import kept
from kit.spec import registry
from kit.spec.checking import SpecError, shown
from kit.spec.entry import Entry
from kit.spec.ref import Ref

SENTENCES = (
    "The plot wasn't dull, and never slow; I loved nearly everything about it!",
    "Nothing works: the battery, which I bought in March, hardly lasts three hours.",
    "Not bad... A quiet, gentle story (with cats) and no shouting :)",
    "I have been waiting for this record since spring and it is simply wonderful.",
    "They sent the wrong parcel, kept my money and told me to write a letter. Horrible people.",
)
ODD = (
    "",
    " ",
    "a",
    "No",
    "\n\n",
    ":)",
    "\U0001f600\U0001f468\u200d\U0001f469",
    "\u4f60\u597d",
    "x" * 999,
)
SHAPES = ((28, 28), (1, 28, 28), (3, 20, 32))


def corruption(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a corruption, at each severity."""
    image = entry.traits["modality"] == "image"
    plain: list[Any] = _images() if image else list(SENTENCES)
    even = [np.full(shape, x, np.uint8) for shape in SHAPES for x in (0, 127, 255)]
    odd: list[Any] = even if image else list(ODD)

    def made(examples: list[Any], severity: int) -> list[Any]:
        items = [f"item {at}" for at in range(len(examples))]
        return corrupted(examples, items, ref.replace(severity=severity))

    def range_of_severities() -> None:
        for severity in (0, 6):
            try:
                registry.corruptions.canonical(ref.replace(severity=severity))
            except SpecError:
                continue
            expect(False, f"severity {severity} is taken; annotate `severity: kit.Severity`")

    def form() -> None:
        for severity in SEVERITIES:
            made(plain + odd, severity)  # raises

    def again() -> None:
        for severity in SEVERITIES:
            for one, other in zip(made(plain, severity), made(plain, severity), strict=True):
                expect(np.array_equal(one, other), "another result the second time; draw from rng")

    def grows() -> str:
        sizes = [
            float(np.mean([_distance(a, b) for a, b in zip(plain, made(plain, s), strict=True)]))
            for s in SEVERITIES
        ]
        text = ", ".join(f"{size:.2g}" for size in sizes)
        expect(sizes == sorted(sizes) and sizes[-1] > 0, f"distances by severity: {text}")
        return text

    def label() -> str:
        for severity in () if image else SEVERITIES:
            for before, after in zip(plain + odd, made(plain + odd, severity), strict=True):
                lost = kept(before, after).negations
                expect(math.isnan(lost) or lost == 1, f"a negation is lost in {shown(after)}")
        return str(entry.traits["rule"])

    yield "takes severities 1 to 5 and no other", range_of_severities
    yield "gives a text for any text, an image of the same size for any image", form
    yield "gives the same again", again
    yield "does more at a higher severity", grows
    yield "keeps what carries the label", label


def _images() -> list[np.ndarray]:
    """Returns bright strokes on black."""
    images: list[np.ndarray] = []
    for shape in SHAPES * 3:
        rng = np.random.default_rng(len(images))
        image = np.zeros(shape, np.uint8)
        for _ in range(3):
            row, column = rng.integers(5, 12, 2)
            image[..., row : row + 3, column - 2 : column + 9] = 255
        images.append(image)
    return images


def _distance(before: Any, after: Any) -> float:
    """Returns the mean squared difference of pixels, or the share of a text that differs."""
    if isinstance(before, str):
        return 1 - difflib.SequenceMatcher(None, before, after, autojunk=False).ratio()
    return float(np.square(before / 255 - after / 255).mean())
