"""Perplexities: of which sums, beside which protocol, and against whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kit.analysis.metrics.tokens import (
    bits_per_byte,
    byte_perplexity,
    perplexity,
    word_perplexity,
)
from kit.analysis.score import compare, score
from kit.report.summary import summary
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Variant
from kit.store import results
from kit.store.store import Artifact

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(20, 200, 60)
NLL = TOKENS * RNG.uniform(2.0, 3.0, 60)
WORDS, BYTES = TOKENS * 3 // 4, TOKENS * 4


def test_each_is_of_its_own_sums() -> None:
    assert bits_per_byte(np.log([2.0, 16.0]), np.array([1, 9])).value == pytest.approx(5 / 10)
    total = NLL.sum()
    assert perplexity(NLL, TOKENS).value == pytest.approx(np.exp(total / TOKENS.sum()))
    assert word_perplexity(NLL, WORDS).value == pytest.approx(np.exp(total / WORDS.sum()))
    expected = 2 ** bits_per_byte(NLL, BYTES).value
    assert byte_perplexity(NLL, BYTES).value == pytest.approx(expected)
    assert perplexity(np.log([50.0]), np.array([1])).value == pytest.approx(50)


def test_influences_are_what_leaving_an_item_out_does() -> None:
    found = perplexity(NLL, TOKENS)
    for item in range(60):
        rest = np.arange(60) != item
        falls = found.value - np.exp(NLL[rest].sum() / TOKENS[rest].sum())
        assert found.influence[item] / 60 == pytest.approx(falls, rel=0.1, abs=2e-3)


Make = Callable[..., Artifact]


@pytest.fixture
def scored() -> Make:
    """Makes an artifact of documents."""

    def make(variant: Variant, nll: Any, tokens: Any = TOKENS, **protocol: int) -> Artifact:
        n = np.arange(len(nll))
        columns = {"item": n.astype(str), "cluster": (n // 2).astype(str), "nll": nll}
        columns |= {"tokens": tokens, "bytes": BYTES, "words": WORDS}
        run = Run(variant, Ref("score_text", task=Ref("texts"), **protocol))
        return Artifact(run, content_hash(run), "tokens", columns, {"protocol": protocol})

    return make


@pytest.fixture(autouse=True)
def texts(world: None) -> None:
    import kit

    def texts() -> None: ...

    kit.register_task(kind="language", version=1)(texts)


METRICS = ("perplexity", "word_perplexity")


def test_rows_carry_the_protocol(scored: Make, base: Variant, small: Variant) -> None:
    artifacts = [scored(base, NLL, context=64), scored(small, NLL * 1.05, context=64)]
    row = score(artifacts[0], METRICS)[0]
    assert (row["metric"], row["condition"], row["interval"]) == (
        *("perplexity", "context=64"),
        "clusters",
    )
    assert row["ci_low"] < row["value"] < row["ci_high"]
    change = {each["metric"]: each for each in compare(artifacts, base, METRICS)}
    one = change["perplexity_change"]
    theirs, ours = (score(each, METRICS)[0]["value"] for each in artifacts)
    assert one["value"] == pytest.approx(ours - theirs) and one["p_value"] < 1e-6


def test_other_tokens_are_not_compared(scored: Make, base: Variant, small: Variant) -> None:
    other = TOKENS.copy()
    other[7] += 3
    artifacts = [scored(base, NLL), scored(small, NLL, other)]
    rows = {each["metric"]: each for each in compare(artifacts, base, METRICS)}
    lost = rows["perplexity_change"]
    assert lost["status"] == "undefined" and np.isnan(lost["value"])
    assert lost["note"] == (
        f"another tokenizer: {other[7]} and {TOKENS[7]} tokens of item 7; perplexity is on another "
        "scale"
    )
    assert rows["word_perplexity_change"]["status"] == "ok"
    fewer = {name: values[10:] for name, values in artifacts[1].columns.items()}
    artifacts[1] = Artifact(artifacts[1].run, artifacts[1].run_id, "tokens", fewer, {})
    rows = {each["metric"]: each for each in compare(artifacts, base, METRICS)}
    assert rows["perplexity_change"]["status"] == "ok"


def test_two_protocols_share_no_column(scored: Make, base: Variant, small: Variant) -> None:
    """Nor are they paired: a variant under another protocol has no baseline."""
    artifacts = [
        scored(base, NLL, context=64, stride=32),
        scored(base, NLL * 0.9, context=256, stride=32),
        scored(small, NLL * 1.1, context=256, stride=32),
        scored(small, NLL * 1.2, context=64, stride=16),
    ]
    rows = [row for each in artifacts for row in score(each, METRICS)]
    rows += compare(artifacts, base, METRICS)
    table = results.to_frame([results.row(**{**row, "study": "s", "machine": 1}) for row in rows])
    made = summary(table, ["perplexity", "perplexity_change"])
    columns = [name for name in made if name.startswith("perplexity")]
    assert len(columns) == 3
    filled = {name: [bool(cell) for cell in made[name]] for name in columns}
    assert sorted(filled.values()) == [[False, True], [True, False], [True, True]]
    assert [sum(f"context={size}" in name for name in columns) for size in (64, 256)] == [2, 1]
    assert {name for name in made if "stride=16" in name and made.loc["small", name]} >= {
        next(name for name, cells in filled.items() if cells == [False, True])
    }
    lost = table.query("metric == 'perplexity_change' and condition.str.contains('stride=16')")
    assert lost["status"].tolist() == ["undefined"]
    assert "baseline was not measured here" in lost["note"].iloc[0]
