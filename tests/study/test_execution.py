"""Doing the runs: crashes cost one run, a broken build costs its runs, an interrupt stops all."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import toy_variant

import kit
from kit.build.runner import Runner
from kit.machine.workers import inline
from kit.measurements.interface import Raw
from kit.spec.kinds import Quantity
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store
from kit.study import execution

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")
RATE: dict[str, Any] = {"artifacts": ("quantities",), "quantities": {"rate": Quantity("1", None)}}


def probe(runner: Any, *, number: int = 0, mood: str = "") -> Raw:
    """A measurement that misbehaves when told."""
    if mood == "die":
        ctypes.string_at(0)
    if mood == "hang":
        time.sleep(60)
    columns = {"quantity": np.array(["rate"]), "condition": np.array([f"number={number}"])}
    return Raw("quantities", {**columns, "value": np.array([1.0 * number])})


@pytest.fixture
def rule(toys: Ref) -> Variant:
    kit.register_measurement(where="worker", version=1, **RATE)(probe)
    return Variant(Ref("toy_rule"), kit.Training(toys), name="rule")


def study_of(rule: Variant, *probes: dict[str, Any]) -> kit.Study:
    return kit.Study("study", [Run(rule, Ref("probe", **probe)) for probe in probes], rule)


Opened = list[dict[str, Any]]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> tuple[Opened, dict[int, Any]]:
    """Workers that are threads: gives what was opened, and takes what each number shall do."""
    opened: Opened = []
    behaviour: dict[int, Any] = {}

    class Acting:
        def __init__(self, target: Any) -> None:
            self._target = target

        def call(self, method: str, run: Any, *more: Any) -> Any:
            if method == "measure":
                behaviour.get(run.measurement.args.get("number"), lambda: None)()
            return self._target.call(method, run, *more)

    @contextlib.contextmanager
    def worker(factory: Any, *args: Any, **options: Any) -> Iterator[Acting]:
        opened.append(options)
        with inline(factory, *args) as target:
            yield Acting(target)

    monkeypatch.setattr(execution, "Worker", worker)
    return opened, behaviour


def raising(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


def states(study: kit.Study) -> list[str]:
    """Says of each run whether it is done, failed or open."""
    return [
        "done" if store.has(run.id) else "failed" if store.failure(run.id) else "open"
        for run in study.runs
    ]


def test_crashes_in_a_worker_process_cost_the_runs_they_hit(rule: Variant) -> None:
    moods = {
        "die": "rule: the worker died (SIGSEGV, a crash in native code)",
        "hang": "rule: passed its time limit of 6 s",
    }
    probes: list[dict[str, Any]] = []
    for number, mood in enumerate(moods):
        probes += [{"number": 2 * number, "mood": mood}, {"number": 2 * number + 1}]
    study = study_of(rule, *probes)
    rows = study.run(workers=1, time_limit=6.0).query("metric == 'rate'")
    assert sorted(rows[rows.status == "ok"].value) == [1, 3], "the next run is clean"
    assert (rows.status == "error").sum() == 1, "they differ in nothing that a key has"
    failures = [store.failure(run.id) for run in study.runs]
    found = [failure["message"] for failure in failures if failure is not None]
    assert len(found) == len(moods)
    for message, sentence in zip(found, moods.values(), strict=True):
        assert message.startswith(sentence)


def test_a_damaged_artifact_is_an_error_row_and_done_again(
    rule: Variant, threads: Any, fresh_store: Path
) -> None:
    study = study_of(rule, {"number": 1}, {"number": 2})
    study.run(workers=1)
    first, second = (fresh_store / "artifacts" / run.id for run in study.runs)
    (first / "columns.npz").write_bytes(b"PK")
    (second / "info.json").write_text("{")
    study = study_of(rule, {"number": 1}, {"number": 2})  # the other one has its rows
    assert set(study.plan().status) == {"done"}
    rows = study.run(workers=1).query("metric == 'rate'")
    assert rows.status.tolist() == ["error"], "they differ in nothing that a key has"
    for run, what in zip(study.runs, ("columns", "info"), strict=True):
        kept = store.failure(run.id)
        assert kept is not None
        assert kept["message"].startswith(f"the kept artifact of run {run.id} is damaged: {what}")
    assert "is damaged" in rows.note.iloc[0]
    assert set(study.plan().status) == {"to do"}
    rows = study.run(workers=1).query("metric == 'rate'")
    assert rows.status.tolist() == ["ok", "ok"]


def test_runs_of_one_variant_share_a_worker(rule: Variant, threads: Any) -> None:
    opened, _ = threads
    study = study_of(rule, {"number": 1}, {"number": 2}, {"number": 3})
    study.run(workers=2, on_error="raise")
    assert states(study) == ["done"] * 3
    assert 1 <= len(opened) <= 2


def test_the_worker_that_built_measures_with_any_number_of_threads(toys: Ref, threads: Any) -> None:
    opened, _ = threads
    base = toy_variant(toys, seed=7)
    asked = [kit.Quality(toys, limit=8), kit.Quality(toys, limit=8, threads=2)]
    study = kit.Study("study", [Run(base, one) for one in asked], base)
    counts: list[int] = []
    real = Runner.predict

    def predict(self: Runner, *args: Any) -> Any:
        counts.append(torch.get_num_threads())
        return real(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "predict", predict)
        study.run(workers=1, on_error="raise")
    torch.set_num_threads(1)
    assert states(study) == ["done"] * 2
    assert [options.get("patient") for options in opened] == [True]
    assert counts == [1, 2]


def test_on_error_raise_stops_at_once_with_several_workers(rule: Variant, threads: Any) -> None:
    _, behaviour = threads
    started: list[int] = []
    behaviour[1] = lambda: time.sleep(0.5)
    behaviour[2] = raising(RuntimeError("it broke"))
    behaviour[3] = lambda: started.append(3)
    other = rule.replace(seed=1)
    runs = [Run(rule, Ref("probe", number=n)) for n in (1, 3)]
    study = kit.Study("study", [*runs, Run(other, Ref("probe", number=2))], rule)
    with pytest.raises(RuntimeError, match="it broke"):
        study.run(workers=2, on_error="raise")
    assert 3 not in started
    assert "failed" not in states(study)


def test_a_broken_build_is_the_failure_of_every_run_that_needs_it(toys: Ref, rule: Variant) -> None:
    def flat(vocab_size: int) -> Any:
        import torch

        class Flat(torch.nn.Module):
            def forward(self, input_ids: Any, attention_mask: Any) -> Any:
                return input_ids.float()

        return Flat()

    kit.register_architecture(kind="encoder", version=1)(flat)
    broken = Variant(Ref("flat"), kit.Training(toys))
    runs = [Run(broken, kit.Quality(toys, split, 8)) for split in ("test", "later")]
    study = kit.Study("study", [*runs, Run(rule, kit.Quality(toys, limit=8))], rule)
    rows = study.run(executor="inline").query("metric == 'accuracy'")
    assert states(study) == ["failed", "failed", "done"]
    notes = set(rows[rows.variant == "flat"].note)
    assert notes == {
        "flat returned hidden states of shape (1, 2) for input_ids of shape (1, 2); "
        "expected (1, 2, width)"
    }
    assert rows[rows.variant == "rule"].status.tolist() == ["ok"]


def test_a_timing_keeps_its_launches_when_it_is_stopped(
    rule: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "timing_lock", contextlib.nullcontext)  # nothing is timed here
    done: list[str] = []

    def timing(driver: Any, *, launches: int = 2) -> Raw:
        for launch in range(launches):
            name = f"launch-{launch}"
            if name in driver.parts:
                continue
            if launch and not done:
                done.append(name)
                raise KeyboardInterrupt
            driver.parts[name] = {"value": np.array([1.0 * launch])}
            driver.save_part(name, driver.parts[name])
        value = np.concatenate([part["value"] for part in driver.parts.values()])
        text = np.array(["rate"] * launches)
        return Raw(
            "quantities",
            {
                "quantity": text,
                "condition": np.array([f"launch={n}" for n in range(launches)]),
                "value": value,
            },
        )

    kit.register_measurement(where="driver", version=1, **RATE)(timing)
    study = kit.Study("study", [Run(rule, Ref("timing"))], rule)
    with pytest.raises(KeyboardInterrupt):
        study.run(executor="inline")
    run = study.runs[0]
    assert list(store.parts(run.id)) == ["launch-0"]
    study.run(executor="inline", on_error="raise")
    assert store.load(run, run.id).columns["value"].tolist() == [0.0, 1.0]
    assert store.parts(run.id) == {}
