"""Asking for a measurement: a checked Ref with the preset's sizes, refused where it is typed."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest
from helpers import toy_texts
from pydantic import Field

import kit
from kit.spec import presets, registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref

pytestmark = pytest.mark.usefixtures("registries")


def test_a_definition_asks_for_what_it_measures(toys: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a notebook defines it: sizes in the annotations, checked at once."""

    @kit.register_measurement(where="worker", artifacts=("timing",))
    def peak(
        runner: Any,
        *,
        task: kit.TaskRef,
        split: kit.Split = "test",
        calls: Annotated[int, Field(ge=1), kit.Preset(smoke=2, default=20, full=200)],
        warm: bool = False,
    ) -> kit.Raw:
        """The highest of some calls."""
        raise NotImplementedError

    assert peak("toys") == Ref("peak", task=toys, calls=2)
    assert peak(task=toys, calls=7).args["calls"] == 7
    monkeypatch.setenv(presets.VARIABLE, "full")
    assert peak(toys).args["calls"] == 200
    assert peak(toys) != peak(toys, calls=2)  # what is filled in is content
    assert inspect.getdoc(peak) == "The highest of some calls."
    assert [*inspect.signature(peak).parameters] == ["task", "split", "calls", "warm"]
    for wrong, why in (
        (lambda: peak(toys, calls=0), "calls is 0; Input should be greater than or equal to 1"),
        (lambda: peak(toys, cals=1), "unknown argument 'cals'. Did you mean 'calls'?"),
        (lambda: peak("tois"), "unknown task 'tois'. Did you mean 'toys'?"),
        (peak, "task is nothing"),
        (lambda: peak(toys, 3), "peak takes task by place, once; name each other argument"),
        (lambda: peak(toys, task=toys), "peak takes task by place, once"),
    ):
        with pytest.raises(SpecError) as caught:
            wrong()
        assert why in str(caught.value)


def test_quality_is_asked_for_by_the_kind_of_task(toys: Ref) -> None:
    prose = toy_texts()
    assert kit.Quality(toys, "later", 5) == kit.Classify(toys, split="later", limit=5)
    assert kit.Quality(prose, context=64, stride=32) == kit.ScoreText(prose, context=64, stride=32)
    assert [kit.Quality(task).args["limit"] for task in (toys, prose)] == [64, 8]
    with pytest.raises(SpecError, match="measurement classify: unknown argument 'context'"):
        kit.Quality(toys, context=64)
    with pytest.raises(SpecError, match="prose is a task of language; expected classification or"):
        kit.Classify(prose)
    with pytest.raises(SpecError, match="toys is a task of classification; expected language"):
        registry.measurements.canonical(Ref("score_text", task="toys"))


@pytest.mark.parametrize("ask", [kit.Quality, kit.Latency, kit.Memory, kit.SelfTest])
def test_an_unknown_split_is_refused_when_asked(toys: Ref, ask: Any) -> None:
    with pytest.raises(SpecError, match="unknown split of task toys 'latr'. Did you mean 'later'"):
        ask(toys, split="latr")
    with pytest.raises(SpecError, match="unknown split of task toys 'latr'"):
        kit.Run(kit.Variant(Ref("majority")), ask(toys).replace(split="latr"))


def test_timings_take_all_cores(toys: Ref) -> None:
    threads = kit.environment.machine()["threads"]
    assert kit.Latency(toys).args["threads"] == kit.SelfTest(toys).args["threads"] == threads
    assert kit.Latency(toys, threads=1).args["threads"] == 1
    for nothing in ({"batch_sizes": ()}, {"lengths": []}):
        with pytest.raises(SpecError, match="at least 1 item"):
            kit.Latency(toys, **nothing)


def test_images_have_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(presets.VARIABLE, "full")
    lengths = [kit.Latency(task).args["lengths"] for task in ("mnist", "sentiment")]
    assert lengths == [("task",), ("task", 32, 128)]
    with pytest.raises(SpecError, match="measurement latency: task is nothing"):
        kit.Latency()
