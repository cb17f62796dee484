"""Every snippet of CONTRIBUTING.md runs, and what it registers keeps its contract."""

from __future__ import annotations

import re
from pathlib import Path

from helpers import Cells

import kit

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
ADDED = (
    "bigram",
    "ternary",
    "loudest",
    "to_pt2",
    "graphed",
    "parity",
    "sure_and_right",
    "to_the_point",
    "surer_than_usual",
    "correct_answers",
    "hesitation",
    "buffers",
    "reading",
)


def test_each_kind_is_shown_in_under_twenty_lines() -> None:
    assert len(SNIPPETS) == len(ADDED)
    for name, snippet in zip(ADDED, SNIPPETS, strict=True):
        body = [line for line in snippet.splitlines() if line.strip()]
        assert f"def {name}(" in snippet
        assert len(body) < 20, f"{name}: {len(body)} lines"


def test_the_snippets_keep_their_contracts(cells: Cells, registries: None) -> None:
    for snippet in SNIPPETS:
        cells.run(snippet)
    for name in ADDED:
        broken = [f"{what}: {message}" for what, passed, message in kit.check(name) if not passed]
        assert not broken, f"{name}: {broken}"
