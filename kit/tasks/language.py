"""Running text for language models: Wikipedia, shifted to news and to law; long documents."""

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


LONG = 5000
"""Characters from which on a case is long: about a thousand tokens."""


@register_task(kind="language", version=1, assets=("benchmarks",))
def court_cases() -> Prepared:
    """Long summaries of civil rights cases in US courts (Multi-LexSum, Shen et al. 2022).

    Each tells one case from complaint to outcome, in a thousand tokens and more: parties, judges
    and claims named at the beginning come back at its end. For what long contexts do; no part of it
    is meant to be trained on.
    """
    import pandas as pd

    from kit.assets import assets

    cases = _read(assets.path("benchmarks"), "MultiLexSum/test.jsonl", "document")
    frame = pd.DataFrame({"text": [case for case in cases if len(case) >= LONG]})
    return prepare({"court_cases": frame}, validation=0.15, test=0.85)


def _titled(passage: str) -> tuple[str, str]:
    """Returns the title and the text; a passage without a title is its own."""
    title, found, text = passage.partition(" -- ")
    return (title, text) if found else (passage, passage)


def _read(folder: Path, name: str, field: str) -> list[str]:
    """Returns one field of each line of a JSON-lines file, repeated lines included."""
    with (folder / name).open(encoding="utf-8") as lines:
        return [json.loads(line)[field] for line in lines]
