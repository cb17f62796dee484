"""Corruptions: graded shifts that change an example and never its label.

Importing this package registers them. Kinds, sizes and the idea of five severities are those of
Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019.
"""

from kit.corruptions import image, text
from kit.corruptions.corruption import (
    SEVERITIES,
    CorruptionRef,
    Severity,
    corrupted,
    corrupted_examples,
    examples_of,
    graded,
    mismatch,
)

__all__ = [
    "SEVERITIES",
    "CorruptionRef",
    "Severity",
    "corrupted",
    "corrupted_examples",
    "examples_of",
    "graded",
    "image",
    "mismatch",
    "text",
]
