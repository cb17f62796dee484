"""Tokens computed of tokens asked."""

from __future__ import annotations

import pandas as pd
import pytest

import kit
from kit.spec.ref import Ref
from kit.spec.spec import Variant


def test_a_table_says_which_part_of_the_tokens_was_computed() -> None:
    rows = [{"question": f"{k}?", "choices": ["yes", "no"], "answer": k % 2} for k in range(30)]
    quiz = kit.choices_from_frame("yes_no", pd.DataFrame(rows), template="{question}")
    base = Variant(Ref("llama", depth=1, width=16), name="base")
    study = kit.Study("saved", [kit.Run(base, kit.Quality(quiz, limit=5))], base)
    table = study.run(executor="inline", on_error="raise")
    row = table[table["metric"] == "computed_share"].iloc[0]
    items = kit.tasks.load(quiz).split("test", 5)["text"]
    # bytes after the start token; the last of an answer is read nowhere; both begin with a space
    asked = sum(2 * (1 + len(text)) + len(" yes") + len(" no") - 2 for text in items)
    assert row["note"].startswith(f"{round(row['value'] * asked)} of {asked} tokens (way: tree)")
    distinct = {(0, *text.encode()[:k]) for text in items for k in range(len(text) + 1)}
    more = sum(len(" ye") + len("n") for _ in items)
    assert row["value"] == pytest.approx((len(distinct) + more) / asked)
