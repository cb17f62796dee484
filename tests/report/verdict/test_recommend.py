"""The verdict and its paragraph."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from kit.report.verdict.recommend import recommend
from kit.store import results


def table(*parts: Any) -> pd.DataFrame:
    return results.to_frame([made for part in parts for made in part])


def rows(name: str, speed: float, changes: dict[str, tuple[float, float]], n: int = 1000) -> Any:
    """A variant's speed-up at two batch sizes, and its accuracy change and half-width by split."""
    start = {"variant": name, "seed": "0", "task": "toys", "baseline": "base"}
    for batch, factor in ((1, speed), (32, 1.0)):
        text = results.condition(batch_size=batch, length=32)
        limits = {"ci_low": factor * 0.97, "ci_high": factor * 1.03, "interval": "launches", "n": 4}
        yield results.row(**start, metric="speedup", condition=text, value=factor, **limits)
    for split, (value, half) in changes.items():
        limits = {"ci_low": value - half, "ci_high": value + half, "interval": "items", "n": n}
        yield results.row(
            **start, split=split, metric="accuracy_change", unit="share", value=value, **limits
        )


def test_picks_the_fastest_that_passes() -> None:
    found = recommend(
        table(
            rows("w8", 1.5, {"test": (0.0, 0.005), "amazon": (-0.002, 0.01)}),
            rows("int8", 2.6, {"test": (-0.001, 0.005), "amazon": (0.001, 0.01)}),
            rows("w2", 3.0, {"test": (-0.12, 0.02), "amazon": (0.0, 0.01)}),
        )
    )
    assert (found.verdict, found.choice) == ("pick", "int8")
    assert "2.6 times as fast as base at batch_size=1 (95%: 2.52 to 2.68)" in str(found)
    assert "w2 loses too much: 12.0 points on test." in str(found)
    assert set(found.details.verdict) == {"pass", "fail"}


def flips(name: str, counts: dict[int, int], varied: str = "batch_size") -> Any:
    """Items of 200 that a variant answers otherwise in batches of these sizes."""
    for size, count in counts.items():
        text = results.condition(batch_size=size, varied=varied)
        about = {"seed": "0", "task": "toys", "split": "test", "unit": "items", "n": 200}
        yield results.row(variant=name, metric="noise_flips", condition=text, value=count, **about)


def test_what_other_wordings_do_to_the_order_is_said_and_not_judged() -> None:
    good = [*rows("int8", 2.6, {"test": (0.0, 0.005)})]
    told = "which is better is undecided: from -0.3 (plain) to +0.1 (short) in 9 wordings"
    place = {"task": "toys", "split": "test", "condition": "template=all", "baseline": "base"}
    number = {"value": -0.1, "ci_low": -0.3, "ci_high": 0.1, "interval": "wordings", "n": 200}
    worded = results.row(
        variant="int8", metric="accuracy_change", unit="share", seed="0", note=told,
        **place, **number,
    )  # fmt: skip
    found = recommend(table(good, [worded]))
    assert (found.verdict, found.choice) == ("pick", "int8") and len(found.details) == 1
    assert f"Asked in other words, {told}." in str(found)


def test_a_pick_whose_answers_depend_on_the_batch_is_said_to() -> None:
    good = [*rows("int8", 2.6, {"test": (0.0, 0.005)})]
    told = "at batch_size=1, 9 of 200 items on test are right or wrong otherwise than in the"
    found = recommend(table(good, flips("int8", {1: 9, 8: 12}), flips("base", {1: 1, 8: 1})))
    assert (found.verdict, found.choice) == ("pick", "int8")
    assert f"Its answers depend on the batch: {told} batches that were judged." in str(found)
    doubtful = rows("int8", 2.6, {"test": (-0.004, 0.02)})
    assert told in str(recommend(table(doubtful, flips("int8", {1: 9}))))
    sizes = [
        results.row(variant=name, seed="0", metric="disk_bytes", unit="bytes", value=value)
        for name, value in (("base", 90e6), ("int8", 23e6))
    ]
    on_disk = recommend(table(good, sizes, flips("int8", {1: 9, 8: 12})), "disk")
    assert "at batch_size=8, 12 of 200 items" in str(on_disk)


@pytest.mark.parametrize(
    "more",
    [
        [*flips("int8", {1: 0})],
        [*flips("int8", {8: 9})],  # not where it is recommended
        [*flips("int8", {1: 2}), *flips("base", {1: 2})],  # no more than rounding
        [*flips("w2", {1: 9})],
        [*flips("int8", {1: 9}, varied="padding")],
    ],
)
def test_of_answers_that_do_not_depend_on_the_batch_nothing_is_said(more: Any) -> None:
    good = rows("int8", 2.6, {"test": (0.0, 0.005)})
    assert "batch" not in str(recommend(table(good, more))).replace("at batch_size=1 (95%", "")


def test_undecided_says_how_many_items_and_what_is_known() -> None:
    found = recommend(table(rows("int8", 2.6, {"test": (-0.004, 0.02), "amazon": (0.0, 0.01)})))
    assert (found.verdict, found.choice) == ("undecided", "base")
    text = str(found)
    first = "Undecided: about 6,500 items on test (1,000 are judged) would decide it, if nothing is"
    assert text.startswith(f"{first} lost. int8 is 2.6 times as fast as base")
    assert "On test, 1,000 items show a loss of 0.4 points" in text
    assert "the true loss could be 2.1 points: too few to rule out one of 1.0 points" in text
    assert "about 6,500 items could" in text
    assert "it loses at most 2.1 points on test (1,000 items), at most 0.8 points on amazon" in text


def test_the_first_line_says_how_many_items_there_are() -> None:
    rows_of = table(rows("int8", 2.6, {"test": (-0.004, 0.02), "amazon": (0.0, 0.04)}))
    rows_of.attrs["items"] = {"toys test": 8000}
    text = str(recommend(rows_of))
    assert text.startswith(
        "Undecided: about 6,500 items on test (1,000 of its 8,000 are judged) and"
    )
    assert "items on amazon (1,000 are judged) would decide it" in text


def test_an_answer_shows_itself_in_a_notebook_at_a_glance() -> None:
    good = rows("w8 <b>", 1.5, {"test": (0.0, 0.005)})
    found = recommend(table(good, rows("w2", 3.0, {"test": (-0.12, 0.02)})))
    page = found._repr_html_()
    assert "<b>Pick w8 &lt;b&gt;</b>" in page and "too much: 12.0 points" in page
    assert repr(found) == str(found), "plain where nothing is drawn"


def test_near_the_margin_more_items_are_not_promised() -> None:
    found = recommend(table(rows("int8", 2.6, {"test": (-0.009, 0.005)})))
    assert "too near the margin" in str(found)
    assert str(found).startswith("Undecided, and more items would hardly help: on test it lies")


def test_keeps_what_is_there() -> None:
    found = recommend(table(rows("w2", 3.0, {"test": (-0.12, 0.02)})))
    assert (found.verdict, found.choice) == ("keep", "base")
    slow = recommend(table(rows("w8", 1.01, {"test": (0.0, 0.005)})))
    assert str(slow) == (
        "Keep what you have (base). No other variant is shown to cost less at batch_size=1."
    )


def test_where_no_time_counts_nothing_is_recommended() -> None:
    """A busy machine: the rows say so, and with them the verdict; one that counts is enough."""
    busy = [
        row
        if row["metric"] != "speedup"
        else row
        | {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, "interval": ""}
        | {"status": "undefined", "note": "others used more than 10% of the cores"}
        for row in rows("int8", 2.6, {"test": (0.0, 0.005)})
    ]
    found = recommend(table(busy))
    assert (found.verdict, found.choice) == ("undecided", "base")
    assert str(found) == (
        "Undecided: what int8 would cost is not known: others used more than 10% of the cores. "
        "What is known of accuracy, with 95% confidence on each: int8 loses at most 0.4 points on "
        "test (1,000 items)."
    )
    assert recommend(table(busy, rows("w8", 1.5, {"test": (0.0, 0.005)}))).choice == "w8"


def test_simulated_schemes_have_no_speed_and_are_not_picked() -> None:
    real = [*rows("int8", 0.9, {"test": (0.0, 0.005)})]
    simulated = [made for made in rows("w4", 9.0, {"test": (0.0, 0.001)})][2:]
    assert recommend(table(real, simulated)).verdict == "keep"


def test_a_split_not_measured_is_no_pass() -> None:
    both = rows("w8", 1.5, {"test": (0.0, 0.005), "amazon": (0.0, 0.005)})
    found = recommend(table(both, rows("int8", 2.0, {"test": (0.0, 0.005)})))
    assert found.choice == "w8" and "Cheaper still, but not to be judged" in str(found)


def test_pooled_rows_come_first_and_validation_is_not_looked_at() -> None:
    single = [*rows("int8", 2.0, {"test": (-0.2, 0.01), "amazon/validation": (-0.3, 0.01)})]
    pooled = [made | {"seed": "all"} for made in rows("int8", 2.0, {"test": (0.0, 0.005)})][2:]
    assert recommend(table(single, pooled)).verdict == "pick"


def test_disk() -> None:
    sizes = [
        results.row(variant=name, seed="0", metric="disk_bytes", unit="bytes", value=value)
        for name, value in (("base", 90e6), ("int8", 23e6))
    ]
    found = recommend(table(rows("int8", 1.0, {"test": (0.0, 0.005)}), sizes), "disk")
    assert "3.9 times smaller on disk than base, and" in str(found)


def test_lower_is_better_turns_round() -> None:
    made = [
        row | {"metric": row["metric"].replace("accuracy", "bits_per_byte"), "unit": "bits/byte"}
        for row in rows("lstm", 2.0, {"test": (0.2, 0.01)})
    ]
    found = recommend(table(made), metric="bits_per_byte")
    assert found.verdict == "keep" and "0.2 bits/byte on test" in str(found)


def test_bad_questions() -> None:
    good = table(rows("int8", 2.6, {"test": (0.0, 0.005)}))
    with pytest.raises(ValueError, match="one of latency, memory, disk"):
        recommend(good, "speed")
    with pytest.raises(ValueError, match=r"margin=-0.01: expected"):
        recommend(good, margin=-0.01)
    with pytest.raises(ValueError, match="no speedup was measured at 'batch_size=7'; there are"):
        recommend(good, at="batch_size=7")
    with pytest.raises(ValueError, match=r"no disk_bytes rows: ask for .*Memory\(task"):
        recommend(good, "disk")
    with pytest.raises(ValueError, match="no accuracy_change rows"):
        recommend(good[good.metric == "speedup"])
    about = {"status": "error", "note": "out of memory", "seed": "0"}
    lost = results.row(variant="int8", metric="accuracy", **about)
    with pytest.raises(ValueError, match=r"no accuracy_change rows \(out of memory\)"):
        recommend(table([lost]))


def test_the_metric_is_that_of_what_was_measured() -> None:
    good = table(rows("int8", 2.6, {"test": (0.0, 0.005)}))
    quiz = good.assign(metric=good["metric"].str.replace("accuracy", "acc"))
    assert "its acc loses at most" in str(recommend(quiz))
    with pytest.raises(ValueError, match="changes of acc, accuracy: name one, metric='acc'"):
        recommend(pd.concat([good, quiz]))
