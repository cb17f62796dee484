"""Rows from rows: what a derivation reads, gives, and says where it gives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import kit
from kit.analysis.derived import derive, key_of
from kit.spec.checking import SpecError, Undefined
from kit.store.meaning import higher_is_better
from kit.store.results import row, to_frame

pytestmark = pytest.mark.usefixtures("registries")


def measured(variant: str, metric: str, value: float = 0.5, **fields: Any) -> dict[str, Any]:
    return row(variant=variant, seed=0, metric=metric, value=value, run_id=f"{variant}1", **fields)


def lost(variant: str, metric: str) -> dict[str, Any]:
    return row(variant=variant, seed=0, metric=metric, status="error", note="it broke")


def register_price() -> None:
    @kit.register_derived(reads=("accuracy", "throughput"), unit="answers/s", higher_is_better=True)
    def correct_answers(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        right = {one["variant"]: one["value"] for one in rows if one["metric"] == "accuracy"}
        for one in rows:
            if one["metric"] == "throughput" and one["variant"] in right:
                yield {**key_of(one), "value": one["value"] * right[one["variant"]]}


def test_rows_of_several_runs_give_one() -> None:
    register_price()
    rows = [measured("a", "accuracy", 0.8, split="test"), measured("a", "nll")]
    assert derive(["correct_answers"], rows) == [], "the study has no rows of all that it reads"
    rows += [measured("a", "throughput", n * 10.0, condition=f"batch_size={n}") for n in (1, 8)]
    frame = to_frame(derive(["accuracy", "correct_answers"], rows))
    assert frame.value.tolist() == pytest.approx([8, 64])
    assert set(frame.metric) == {"correct_answers"} and set(frame.unit) == {"answers/s"}
    assert frame.condition.tolist() == ["batch_size=1", "batch_size=8"]
    assert set(frame.note) == {"derived from accuracy and throughput: no interval"}
    assert set(frame.run_id) == {"a1"} and higher_is_better("correct_answers") is True
    assert all(check.passed for check in kit.check("correct_answers"))


def test_where_a_row_is_lost_the_reason_is_a_row() -> None:
    register_price()
    rows = [measured("a", "accuracy"), measured("a", "throughput"), measured("b", "throughput")]
    made = derive(["correct_answers"], [*rows, lost("b", "accuracy"), lost("a", "accuracy")])
    told = {(one["variant"], one["status"]): one["note"] for one in made}
    assert told.keys() == {("a", "ok"), ("b", "undefined")}
    assert told["b", "undefined"] == "it needs accuracy: it broke"


def test_an_interval_is_kept_and_a_failure_is_a_row() -> None:
    @kit.register_derived(reads=("accuracy",), unit="share", higher_is_better=False)
    def error_rate(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for one in rows:
            ends = {"ci_low": 1 - one["ci_high"], "ci_high": 1 - one["ci_low"]}
            yield {**key_of(one), "value": 1 - one["value"], **ends, "interval": one["interval"]}

    @kit.register_derived(reads=("error_rate",), unit="1", higher_is_better=None)
    def broken(rows: list[dict[str, Any]]) -> Any:
        raise ZeroDivisionError("of nothing")

    @kit.register_derived(reads=("error_rate",), unit="1", higher_is_better=None)
    def unknown(rows: list[dict[str, Any]]) -> Any:
        raise Undefined("no price is known")

    rows = [measured("a", "accuracy", 0.8, ci_low=0.7, ci_high=0.85, interval="items")]
    made = derive(["error_rate", "broken", "unknown"], rows)
    frame = to_frame(made).set_index("metric")
    assert frame.loc["error_rate", ["ci_low", "ci_high"]].tolist() == pytest.approx([0.15, 0.3])
    assert frame.loc["error_rate", "note"] == ""
    assert frame.loc["broken", ["status", "note"]].tolist() == [
        *("error", "ZeroDivisionError: of nothing")
    ]
    assert frame.loc["unknown", ["status", "note"]].tolist() == ["undefined", "no price is known"]


def test_a_wrong_registration_is_refused() -> None:
    with pytest.raises(SpecError, match=r"reads=\(\): unknown parameter 'rows'.*artifacts"):
        kit.register_derived(unit="1", higher_is_better=None)(lambda rows: [])
    with pytest.raises(SpecError, match=r"reads=\('nll',\): unknown parameter 'row'.*rows"):
        kit.register_derived(reads=["nll"], unit="1", higher_is_better=None)(lambda row: [])
