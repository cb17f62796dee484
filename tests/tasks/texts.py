"""Made-up texts for the tests of this folder."""

from __future__ import annotations

WORDS = (
    "river stone candle window market paper engine forest garden silver doctor bridge winter "
    "summer letter guitar planet orange ticket camera mirror pencil rocket bottle"
).split()


def sentences(count: int, start: int = 0) -> list[str]:
    """Texts of eight words, no two of which are near each other."""
    return [
        " ".join(WORDS[(n * 7 + k * (n % 5 + 1) + n // 24) % 24] + str(n) for k in range(8))
        for n in range(start, start + count)
    ]
