"""Is a loss shown to be small enough?"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from kit import non_inferior
from kit.report.verdict.recommend import recommend
from kit.spec.checking import SpecError
from kit.store import results

NOT = "not enough evidence"


def change(value: float, half: float, **fields: Any) -> dict[str, Any]:
    given = {"variant": "w8", "seed": "0", "task": "toys", "split": "test", "baseline": "base"}
    given |= {"metric": "accuracy_change", "unit": "share", "n": 1000, "interval": "items"}
    given |= {"value": value, "ci_low": value - half, "ci_high": value + half}
    return results.row(**(given | fields))


def judged(*rows: dict[str, Any], **margins: Any) -> pd.DataFrame:
    given: dict[str, Any] = {"margin": 0.01, "shift_margin": 0.02} | margins
    return non_inferior(results.to_frame(rows), **given)


def test_three_verdicts() -> None:
    """The one-sided bound is at 1.645 of 1.96: 0.84 of the half-width."""
    found = judged(
        change(-0.005, 0.005),
        change(-0.03, 0.005, split="amazon"),
        change(-0.018, 0.005, split="nyt"),
    )
    assert list(found.verdict) == ["pass", "fail", NOT]
    assert list(found.margin) == [0.01, 0.02, 0.02]
    assert list(found.worst) == pytest.approx([-0.0092, -0.0342, -0.0222], abs=1e-4)
    assert found.reason[0] == (
        "1,000 items show a loss of 0.5 points, and with 95% confidence the loss is at most "
        "0.9 points"
    )
    assert found.reason[1].endswith("and with 95% confidence it is more than 2.0 points")
    assert found.reason[2].endswith("it lies too near the margin of 2.0 points to call")


def test_needed_items_would_do() -> None:
    """With the n that is named, an unchanged model passes just when 80% of studies say so."""
    short = judged(change(0.0, 0.03))
    assert short.verdict[0] == NOT and short.needed[0] > 1000
    assert "if nothing is lost, about 15,000 items could" in short.reason[0]
    half = 0.03 * math.sqrt(1000 / short.needed[0])
    unlucky = -0.8416 * half / 1.96
    assert judged(change(unlucky + 1e-4, half)).verdict[0] == "pass"
    assert judged(change(unlucky - 1e-4, half)).verdict[0] == NOT


def test_groups_are_judged_where_asked_for() -> None:
    rows = [
        change(0.0, 0.005),
        change(-0.08, 0.03, group="domain=law"),
        change(0.0, 0.03, group="domain=news"),
        change(0.0, 0.03, split="amazon", group="domain=law"),
    ]
    assert list(judged(*rows).group) == [""]
    found = judged(*rows, group_margin=0.04)
    assert list(found.verdict) == ["pass", "fail", "pass", "pass"]
    assert list(found.margin) == [0.01, 0.04, 0.04, 0.04]


def test_recommend_rests_on_it() -> None:
    speed = results.row(
        variant="w8", seed="0", metric="speedup", condition="batch_size=1", baseline="base",
        value=2.0, ci_low=1.9, ci_high=2.1, interval="launches",
    )  # fmt: skip
    rows = [
        speed,
        change(0.0, 0.005),
        change(-0.08, 0.03, group="domain=law"),
        change(-0.01, 0.03, group="domain=news"),
    ]
    table = results.to_frame(rows)
    assert recommend(table).verdict == "pick"
    strict = recommend(table, group_margin=0.04)
    assert strict.verdict == "keep"
    assert "w8 loses too much: 8.0 points on test, domain=law" in str(strict)
    mild = recommend(table, group_margin=0.2)
    assert mild.verdict == "pick" and "domain=law" in str(mild) and "news" not in str(mild)
    same = non_inferior(table, 0.01, 0.02, 0.2)
    assert mild.details.drop(columns="gain").equals(same)


def test_what_is_not_judged() -> None:
    found = judged(
        change(0.0, 0.005),
        change(-0.5, 0.01, split="amazon/validation"),
        change(-0.5, 0.01, condition="corruption=typos;severity=3"),
        change(-0.5, 0.01, seed="1"),
        change(-0.5, 0.01, metric="nll_change"),
    )
    assert list(found.verdict) == ["pass"]


def test_without_evidence_there_is_no_verdict() -> None:
    found = judged(
        change(0.0, 0.005),
        change(math.nan, math.nan, split="nyt", status="undefined", note="no item", interval=""),
        change(0.01, math.nan, variant="w4", interval="", n=1),
    )
    cells = found.set_index(["variant", "split"])
    assert cells.reason["w8", "nyt"] == "there is no evidence: no item"
    assert cells.reason["w4", "test"] == "there is no evidence: no interval"
    assert cells.reason["w4", "nyt"] == "there is no evidence: not measured"
    assert (cells.verdict == NOT).sum() == 3


def test_lower_is_better_turns_round() -> None:
    found = judged(
        change(0.2, 0.01, metric="nll_change", unit="nats"),
        change(-0.2, 0.01, metric="nll_change", unit="nats", split="nyt"),
        metric="nll",
    )
    assert list(found.verdict) == ["fail", "pass"]
    assert list(found.change) == pytest.approx([-0.2, 0.2])
    assert "a loss of 0.2 nats" in found.reason[0] and "nothing is lost" in found.reason[1]


@pytest.mark.parametrize("wrong", [-0.01, 0, math.nan, math.inf, "0.01", True])
@pytest.mark.parametrize("name", ["margin", "shift_margin", "group_margin"])
def test_margins_are_losses_above_zero(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}=.*: expected the largest acceptable loss"):
        judged(change(0.0, 0.005), **{name: wrong})


def test_bad_tables() -> None:
    with pytest.raises(ValueError, match=r"several baselines \(base, other\)"):
        judged(change(0.0, 0.005), change(0.0, 0.005, baseline="other"))
    with pytest.raises(ValueError, match="no nll_change rows"):
        judged(change(0.0, 0.005), metric="nll")
    with pytest.raises(SpecError, match="Did you mean 'accuracy'"):
        judged(change(0.0, 0.005), metric="acuracy")
