"""Running text for language models: Wikipedia, and shifted to news and to law."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kit.spec.register_measures import register_task
from kit.tasks.content import normalize
from kit.tasks.prepare import Prepared, prepare

if TYPE_CHECKING:
    from pathlib import Path


@register_task(
    kind="language",
    shifts={"xsum": "near", "privacy": "far"},
    rule=(
        "Trained on passages of Wikipedia. Near: other edited prose for everybody (BBC news, "
        "XSum). Far: another register (sentences of privacy policies)."
    ),
    version=1,
    assets=("benchmarks",),
)
def wikipedia() -> Prepared:
    """Passages of Wikipedia from BoolQ, and shifted to XSum's news and to privacy policies.

    BoolQ repeats a passage for each question on it; every passage counts once. The article's title,
    which BoolQ puts before the passage, is its cluster and no part of the text: passages of one
    article never lie on two sides of a split, and the title's form is no part of what is learned.
    """
    import pandas as pd

    from kit.assets import assets

    folder = assets.path("benchmarks")
    passages = _read(folder, "BoolQ/combined.jsonl", "passage")
    titles, texts = zip(*(_titled(passage) for passage in passages), strict=True)
    frames = {
        "wikipedia": pd.DataFrame(
            {"text": texts, "cluster": [f"wikipedia/{normalize(title)}" for title in titles]}
        ),
        "xsum": pd.DataFrame({"text": _read(folder, "XSum/test.jsonl", "document")}),
        "privacy": pd.DataFrame({"text": _read(folder, "Privacy-Policy/test.jsonl", "context")}),
    }
    return prepare(frames, validation=0.08, test=0.12, shift_validation=0.25)


def _titled(passage: str) -> tuple[str, str]:
    """Returns the title and the text; a passage without a title is its own."""
    title, found, text = passage.partition(" -- ")
    return (title, text) if found else (passage, passage)


def _read(folder: Path, name: str, field: str) -> list[str]:
    """Returns one field of each line of a JSON-lines file, repeated lines included."""
    with (folder / name).open(encoding="utf-8") as lines:
        return [json.loads(line)[field] for line in lines]
