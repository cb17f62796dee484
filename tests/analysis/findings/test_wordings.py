"""The spread over wordings, and whether an order of two variants survives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import kit
from kit.analysis.findings.wordings import wordings
from kit.analysis.sample import Sample
from kit.measurements import ScoreChoices
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

BASE, OTHER = (
    Variant(Ref("llama"), name="base"),
    Variant(Ref("llama"), schemes=["w4"], name="other"),
)
ASKED = ("own", "plain", "short", "listed")


@pytest.fixture
def quiz() -> Ref:
    rows = [{"question": f"{k}?", "choices": ["yes", "no"], "answer": k % 2} for k in range(60)]
    return kit.choices_from_frame("yes_no", pd.DataFrame(rows))


def sample(quiz: Ref, variant: Variant, template: str, right: np.ndarray, **more: Any) -> Sample:
    run = Run(variant, ScoreChoices(quiz, template=template, **more))
    items = np.char.mod("%03d", np.arange(len(right)))
    label = np.tile([1, 0], (len(right), 1))
    columns = {
        "item": items,
        "label": label,
        "choices": np.full(len(right), 2),
        "loglikelihood": np.where(right[:, None], [-1.0, -2.0], [-2.0, -1.0]),
        "tokens": np.ones_like(label),
        "bytes": np.ones_like(label),
        "greedy": np.zeros_like(label, bool),
    }
    return Sample(Artifact(run, f"{variant.name}-{template}", "choices", columns))


def answers(seed: int, shares: list[float]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(400) < share for share in shares]


def rows_of(samples: list[Sample]) -> dict[tuple[str, str], dict[str, Any]]:
    found = wordings(samples, BASE)
    assert all(row["condition"] == "template=all" for row in found)
    return {(row["variant"], row["metric"]): row for row in found}


def test_the_spread_is_the_standard_deviation_over_wordings(quiz: Ref) -> None:
    right = answers(0, [0.5, 0.6, 0.7, 0.4])
    row = rows_of([sample(quiz, BASE, *each) for each in zip(ASKED, right, strict=True)])[
        "base", "acc_spread"
    ]
    shares = [each.mean() for each in right]
    spread = float(np.std(shares, ddof=1))
    assert row["value"] == pytest.approx(spread) and row["n"] == 4
    low, high = (np.sqrt(3 * spread**2 / stats.chi2(3).ppf(p)) for p in (0.975, 0.025))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["interval"] == "wordings" and row["run_id"].split() == [f"base-{t}" for t in ASKED]
    assert row["note"].startswith(f"from {min(shares):.3g} (listed) to {max(shares):.3g} (short)")
    assert "of each alone the items leave 0.04" in row["note"]


def test_an_order_that_the_wording_turns_round_is_undecided(quiz: Ref) -> None:
    base, other = answers(1, [0.5] * 4), answers(2, [0.7, 0.3, 0.65, 0.35])
    pairs = zip(ASKED, base, other, strict=True)
    samples = [each for t, a, b in pairs for each in (sample(quiz, BASE, t, a),
               sample(quiz, OTHER, t, b))]  # fmt: skip
    row = rows_of(samples)["other", "acc_change"]
    means = [float(b.mean() - a.mean()) for a, b in zip(base, other, strict=True)]
    assert row["value"] == pytest.approx(np.mean(means)) and row["baseline"] == "base"
    assert row["ci_low"] < 0 < row["ci_high"] and row["interval"] == "wordings"
    # as wide at least as the wordings alone make it
    alone = stats.sem(means) * stats.t(3).ppf(0.975)
    assert row["ci_high"] - row["value"] > 0.8 * alone
    assert row["note"].startswith("which is better is undecided: from -0.")
    assert "in 4 wordings" in row["note"]


def test_an_order_that_all_wordings_share_is_told(quiz: Ref) -> None:
    base, other = answers(3, [0.7] * 4), answers(4, [0.3] * 4)
    pairs = zip(ASKED, base, other, strict=True)
    samples = [each for t, a, b in pairs for each in (sample(quiz, BASE, t, a),
               sample(quiz, OTHER, t, b))]  # fmt: skip
    row = rows_of(samples)["other", "acc_change"]
    assert row["ci_high"] < 0 and row["note"].startswith("higher in 0 and lower in 4: from -0.")


def test_two_wordings_and_corrupted_copies_are_not_told(quiz: Ref) -> None:
    right = answers(5, [0.5, 0.6, 0.7, 0.4])
    two = [sample(quiz, BASE, *each) for each in zip(ASKED[:2], right, strict=False)]
    typos = Ref("typos", severity=1)
    more = [sample(quiz, BASE, t, r, corruption=typos)
            for t, r in zip(ASKED[2:], right[2:], strict=True)]  # fmt: skip
    assert wordings([*two, *more], BASE) == []


def test_a_study_over_templates_has_both(quiz: Ref) -> None:
    small = Ref("llama", depth=1, width=16, heads=2, feed_forward=24)
    base = Variant(small, name="base")
    study = kit.evaluate_shift(
        [base, base.replace(schemes=["w2"], name="other")], [quiz], baseline=base, limit=10,
        templates=["plain", "letters"], name="worded", noise_floor=False,
    )  # fmt: skip
    table = study.run(executor="inline", on_error="raise")
    told = table[table["condition"] == "template=all"]
    assert {"acc_spread", "acc_norm_spread", "acc_change", "acc_norm_change"} == set(told["metric"])
    assert set(told["interval"]) == {"wordings"}
    single = table[(table["metric"] == "acc") & (table["variant"] == "base")]
    values = single[single["split"] == "test"]["value"]
    spread = told[(told["metric"] == "acc_spread") & (told["variant"] == "base")]["value"]
    assert spread.item() == pytest.approx(values.std())
