"""A study: resumes, keeps failures as rows, adds metrics without models, plans."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import KINDS, Cells, toy_frame, toy_variant

import kit
from kit.measurements.interface import Raw
from kit.spec.checking import SpecError, Undefined
from kit.spec.kinds import Quantity
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")
RATE: dict[str, Any] = {"artifacts": ("quantities",), "quantities": {"rate": Quantity("1", None)}}


@pytest.fixture
def called(registries: None) -> list[int]:
    """Registers `probe`, a measurement that counts its calls and misbehaves when told."""
    calls: list[int] = []

    def probe(runner: Any, *, number: int = 0, mood: str = "") -> Raw:
        calls.append(number)
        if mood == "raise":
            raise RuntimeError("it broke")
        if mood == "interrupt":
            raise KeyboardInterrupt
        if mood == "undefined":
            raise Undefined("not here")
        text = np.array([f"number={number}"])
        value = np.array([float(number)])
        return Raw(
            "quantities",
            {"quantity": np.array(["rate"]), "condition": text, "value": value},
        )

    kit.register_measurement(where="worker", version=1, **RATE)(probe)
    return calls


def study_of(task: Ref, *probes: dict[str, Any], name: str = "study") -> kit.Study:
    rule = Variant(Ref("toy_rule"), kit.Training(task), name="rule")
    return kit.Study(name, [Run(rule, Ref("probe", **probe)) for probe in probes], rule)


def test_a_failure_is_a_row_with_its_traceback_and_the_study_goes_on(
    toys: Ref, called: list[int]
) -> None:
    study = study_of(toys, {"number": 1}, {"number": 2, "mood": "raise"}, {"number": 3})
    rows = study.run(executor="inline").query("metric == 'rate'")
    assert sorted(rows.status) == ["error", "ok", "ok"]
    broken = rows[rows.status == "error"].iloc[0]
    assert broken.note == "rule: it broke"
    assert np.isnan(broken.value)
    kept = store.failure(broken.run_id)
    assert kept is not None and "RuntimeError: it broke" in kept["log"]
    study.run(executor="inline")
    assert called == [1, 2, 3, 2], "a failure is tried again, what is done is not"


def test_on_error_raise_raises(toys: Ref, called: list[int]) -> None:
    with pytest.raises(RuntimeError, match="it broke"):
        study_of(toys, {"mood": "raise"}).run(executor="inline", on_error="raise")


def test_an_interrupt_keeps_what_is_done_and_is_no_failure(
    toys: Ref, called: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    probes = [{"number": 1}, {"number": 2, "mood": "interrupt"}, {"number": 3}]
    study = study_of(toys, *probes)
    with pytest.raises(KeyboardInterrupt):
        study.run(executor="inline")
    assert "stopped: 1 of 3 runs are kept" in capsys.readouterr().out
    assert [store.has(run.id) for run in study.runs] == [True, False, False]
    assert not any(store.failure(run.id) for run in study.runs)
    rows = study.table().query("metric == 'rate'")
    assert sorted(rows.status) == ["ok", "undefined"]


def test_redo_does_the_named_again(toys: Ref, called: list[int]) -> None:
    study = study_of(toys, {"number": 1})
    study.run(executor="inline")
    study.run(executor="inline", redo=["probe"])
    assert called == [1, 1]
    with pytest.raises(SpecError, match="Did you mean 'probe'"):
        study.run(executor="inline", redo=["prob"])


def test_what_cannot_be_had_is_undefined_and_not_tried_again(toys: Ref, called: list[int]) -> None:
    study = study_of(toys, {"mood": "undefined"})
    for _ in range(2):
        row = study.run(executor="inline").iloc[0]
        assert (row.status, row.note) == ("undefined", "not here")
    assert called == [0]
    assert list(study.plan()["status"]) == ["cannot"]


def test_a_conflict_is_an_undefined_row_with_the_reason(toys: Ref) -> None:
    base = toy_variant(toys)
    wrong = base.replace(schemes=["dynamic_int8"])
    runs = [Run(v, kit.Quality(toys, limit=8)) for v in (base, wrong)]
    rows = kit.Study("conflict", runs, base).run(executor="inline")
    row = rows[(rows.variant == wrong.name) & (rows.metric == "accuracy")].iloc[0]
    assert row.status == "undefined"
    assert "gives onnx, which eager does not run" in row.note


def test_a_metric_is_added_without_a_model(toys: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    base = toy_variant(toys)
    study = kit.Study("metric", [Run(base, kit.Quality(toys, limit=8))], base)
    study.run(executor="inline")

    @kit.register_metric(artifact="classification", higher_is_better=None, unit="share", version=1)
    def said_good(logits: Any) -> Any:
        return logits.argmax(1) == 1

    monkeypatch.setattr(
        "kit.build.runner.Runner.__init__", lambda *_: pytest.fail("a model was loaded")
    )
    rows = study.run(metrics=["said_good"])
    assert (rows[rows.metric == "said_good"].status == "ok").all()


def test_rows_are_made_again_when_an_artifact_or_a_metric_changes(
    toys: Ref, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kit.study import study as module

    made: list[int] = []
    real = module.rows_of
    monkeypatch.setattr(module, "rows_of", lambda *args: made.append(1) or real(*args))
    metric = """
        import kit
        SIZE = 1
        @kit.register_metric(artifact="classification", higher_is_better=True, unit="share")
        def mine(label):
            return label * SIZE == 1
    """
    cells.run(metric)
    base = toy_variant(toys)
    study = kit.Study("kept", [kit.Run(base, kit.Quality(toys, limit=8))], base)
    first = study.run(executor="inline", metrics=["mine"])
    pd.testing.assert_frame_equal(study.table(), first)
    assert made == [1]
    cells.run("SIZE = 2")
    table = study.table()
    assert (made, table[table.metric == "mine"].value.iloc[0]) == ([1, 1], 0)
    study.run(executor="inline", redo="classify")
    assert made == [1, 1, 1]


def test_workers_never_change_a_table(
    toys: Ref, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = toy_variant(toys)
    variants = [base, base.replace(schemes=["w4"]), base.replace(seed=1)]
    splits = ("test", "later")
    runs = [Run(v, kit.Quality(toys, s, 16)) for v in variants for s in splits]
    tables = []
    for workers in (1, 2):
        monkeypatch.setenv("KIT_STORE", str(tmp_path / str(workers)))
        tables.append(kit.Study("same", runs, base).run(workers=workers, on_error="raise"))
    assert tables[0].equals(tables[1])


def test_the_plan_says_what_is_to_do_and_what_is_done(toys: Ref) -> None:
    base = toy_variant(toys)
    study = kit.Study("plan", [Run(base, kit.Quality(toys, limit=8))], base)
    before = study.plan()
    assert list(before["what"]) == ["training", "classify"]
    assert (before["minutes"] > 0).all()
    study.run(executor="inline")
    assert list(study.plan()["status"]) == ["done"]


def test_a_second_driver_waits_and_says_for_whom(
    toys: Ref, called: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(toys, {"number": 1})
    from kit.spec.ref import content_hash

    lock = store.store_root() / "locks" / f"{content_hash('study')}.lock"
    with store.locked(lock, "study"):
        other = threading.Thread(target=lambda: study.run(executor="inline"))
        other.start()
        time.sleep(0.5)
        assert called == []
    other.join()
    assert called == [1]
    assert "waiting for process" in capsys.readouterr().out


def test_a_study_refuses_what_it_cannot_pair(toys: Ref) -> None:
    base = toy_variant(toys)
    run = Run(base, kit.Quality(toys, limit=8))
    with pytest.raises(SpecError, match="baseline 'base w4' is not in study 'x'; it has base"):
        kit.Study("x", [run], base.replace(schemes=["w4"]))
    with pytest.raises(SpecError, match="two variants of 'x' are named 'base'"):
        kit.Study("x", [run, Run(base.replace(schemes=["w4"], name="base"), run.measurement)], base)
    with pytest.raises(SpecError, match="has no runs"):
        kit.Study("x", [], base)
    with pytest.raises(SpecError, match="Did you mean 'local'"):
        kit.Study("x", [run], base).run(executor="lokal")


def test_flips_are_the_items_that_changed(toys: Ref) -> None:
    rules = [
        Variant(Ref("toy_rule", misses=n), kit.Training(toys), name=f"rule {n}") for n in (0, 3)
    ]
    study = kit.Study("flips", [Run(v, kit.Quality(toys, limit=12)) for v in rules], rules[0])
    rows = study.run(executor="inline", on_error="raise")
    lost = study.flips(rules[1])
    counted = rows[(rows.metric == "flips_lost") & (rows.variant == "rule 3")].value
    assert list(lost.change) == ["lost"] * len(lost)
    assert counted.tolist() == [len(lost)] and len(lost) > 0
    with pytest.raises(SpecError, match="Did you mean 'rule 3'"):
        study.flips("rule 4x")


def test_a_reader_is_shown_both_texts_of_a_pair(toys: Ref, called: list[int]) -> None:
    frame = toy_frame(40)
    frame["claim"] = [f"claim {n * 7919}" for n in range(40)]
    pairs = kit.task_from_frame("pairs", frame, text=("text", "claim"), validation=0, test=1)
    study = study_of(toys, {})
    shown = study.examples(pairs, "test")
    assert set(shown.values()) == {f"{row.text} \u00b6 {row.claim}" for row in frame.itertuples()}


def test_what_is_fitted_on_validation_is_where_the_study_asks_for_it(toys: Ref) -> None:
    null = Variant(Ref("majority"), kit.Training(toys))
    splits = ("test", "later", "later/validation")
    few = kit.Study("few", [Run(null, kit.Quality(toys, split)) for split in splits], null)
    assert not few.run(executor="inline").metric.isin(["conformal_size", "ece_temperature"]).any()
    runs = [*few.runs, Run(null, kit.Quality(toys, "validation"))]
    rows = kit.Study("more", runs, null).run(executor="inline", metrics=["brier_parts"])
    found = rows[rows.metric == "conformal_size"]
    assert set(found.split) == {"test", "later"} and set(rows.split) == {*splits, "validation"}
    near = rows[rows.metric == "ood_auroc"]
    assert set(near.split) == {"later"}
    assert "detector=energy" in set(near.condition)
    assert set(rows[rows.metric == "brier_parts"].status) == {"ok"}


def test_a_repeat_serves_the_noise_floor_alone(toys: Ref) -> None:
    rules = [
        Variant(Ref("toy_rule", misses=n), kit.Training(toys), name=f"rule {n}") for n in (0, 3)
    ]
    asked = [kit.Quality(toys), kit.Quality(toys, batch_size=1), kit.Quality(toys, threads=2)]
    plain = kit.Study("plain", [Run(rule, asked[0]) for rule in rules], rules[0])
    again = [Run(rules[0], one) for one in asked[1:]]
    rows = kit.Study("plain", [*plain.runs, *again], rules[0]).run(
        executor="inline", on_error="raise"
    )
    floor = rows[rows.metric == "noise_flips"]
    assert sorted(floor.condition) == [
        "batch_size=1;varied=batch_size",
        "threads=2;varied=threads",
    ]
    assert set(floor.value) == {0} and set(floor.seed) == {"0"}
    others = rows[rows.metric != "noise_flips"].reset_index(drop=True)
    known = plain.table().reset_index(drop=True)
    assert others.drop(columns="machine").equals(known.drop(columns="machine"))


def tags(texts: Any, *, misses: int = 0) -> np.ndarray:
    """Whether a text is nice and whether it has a 7, but for every n-th text (none at 0)."""
    found = [[text.startswith(KINDS[3:]), "7" in text] for text in texts]
    scores = np.where(found, 2.0, -2.0).astype(np.float32)
    if misses:
        scores[::misses] *= -1
    return scores


def test_several_labels_an_item_go_through_a_study(registries: None) -> None:
    def tagger(*, misses: int = 0) -> Any:
        return functools.partial(tags, misses=misses)

    kit.register_architecture(kind="predictor", version=1, probabilities=True)(tagger)
    frame = toy_frame(400)
    frame["label"] = [[int(mark > 0) for mark in row] for row in tags(frame["text"])]
    task = kit.task_from_frame("tags", frame, labels=["nice", "seven"], groups=["country"])
    base, worse = (Variant(Ref("tagger", misses=n), name=name) for n, name in ((0, "a"), (3, "b")))
    asked = [kit.Quality(task, split, limit=100) for split in ("test", "validation")]
    study = kit.Study("tags", [Run(v, each) for v in (base, worse) for each in asked], base)
    rows = study.run(executor="inline", on_error="raise").query("split == 'test'")
    assert set(rows.status) <= {"ok"}
    known = rows[rows.group == ""].set_index(["variant", "metric", "condition"])["value"]
    assert known["a", "subset_accuracy", ""] == known["a", "micro_f1", ""] == 1
    assert known["b", "subset_accuracy", ""] == pytest.approx(0.66)
    assert known["b", "flips_lost", ""] == 34
    assert ("b", "label_auroc_change", "label=seven") in known
    judged = kit.non_inferior(rows, 0.01, 0.02, metric="micro_f1")
    assert judged["verdict"].tolist() == ["fail"]
    flips = study.flips("b")
    assert len(flips) == 34 and set(flips["change"]) == {"lost"}
    assert set(flips["label"]) <= {"nice", "seven", "nice, seven", "none"}
    with pytest.raises(SpecError, match="b gives multi_label; such a curve needs one class"):
        study.reliability(["b"], "test")


def test_a_repeat_stands_in_for_no_run_that_failed(toys: Ref) -> None:
    """The rows are the same with and without a noise floor, and its items are not shown."""
    rule = Variant(Ref("toy_rule"), kit.Training(toys), name="rule")
    main, again = (Run(rule, kit.Quality(toys, **how)) for how in ({}, {"batch_size": 1}))
    kit.Study("both", [again], rule).run(executor="inline", on_error="raise")
    store.save_failure(main.id, "rule: no pad token", "", undefined=False)
    plain, both = kit.Study("both", [main], rule), kit.Study("both", [main, again], rule)
    table = both.table()
    assert set(table[table.metric == "accuracy"].note) == {"rule: no pad token"}
    assert set(table.status) == {"error"}
    known = plain.table()
    assert table.drop(columns="machine").equals(known.drop(columns="machine"))
    with pytest.raises(SpecError, match="no predictions of 'rule' on 'test' are done"):
        both.predictions("rule")


def test_flips_of_a_quiz_are_told_by_the_answers_texts() -> None:
    rows = [{"question": f"Say {k}", "choices": ["yes", "no", f"{k}"], "answer": f"{k}"}
            for k in range(60)]  # fmt: skip
    quiz = kit.choices_from_frame("sayings", pd.DataFrame(rows))
    base = Variant(Ref("llama", depth=1, width=16), name="base")
    other = base.replace(schemes=["w2"], name="other")
    study = kit.Study("said", [Run(v, kit.Quality(quiz, limit=40)) for v in (base, other)], base)
    table = study.run(executor="inline", on_error="raise")
    found = study.flips("other")
    counts = table[table.metric.isin(["flips_lost", "flips_gained"])].value.sum()
    assert len(found) == counts > 0
    for row in found.itertuples():
        assert row.label == row.text.partition("Say ")[2].split("\n")[0]
        assert {row.baseline, row.variant} <= {"yes", "no", row.label}
        assert (row.baseline == row.label) == (row.change == "lost")
