"""Answers on offer, scored: tokens as lm-evaluation-harness has them, shots, templates, windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import measure
from looking import runner_of

import kit
from kit import tasks
from kit.build.runner import Runner
from kit.measurements import ScoreChoices, score_choices
from kit.measurements.prompts import examples_before
from kit.measurements.score_choices import requests
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.tasks.templates import TEMPLATES, Prompt, put, shot

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")
SMALL = Variant(Ref("llama", width=32, feed_forward=32, depth=1), name="small")


@pytest.fixture
def sums() -> Ref:
    rows = [
        {
            "question": f"What is {k} and {k * 7 % 11}?",
            "choices": [str(k + k * 7 % 11 + by) for by in (0, 1, 5)][: 2 + k % 2],
            "answer": "AB"[k % 2],
        }
        for k in range(60)
    ]
    return kit.choices_from_frame("sums", pd.DataFrame(rows), test=0.8)


def measured(ask: Ref) -> Any:
    ask = registry.measurements.canonical(ask)
    runner = Runner(SMALL, 1)
    return registry.measurements.get(ask.name).function(runner, **ask.args)


def plainly(context: str, said: str) -> tuple[float, bool]:
    """Scores one answer by one forward of the bytes after the separator."""
    ids = torch.tensor([[0, *(context + said).encode()]])
    logits = torch.from_numpy(Runner(SMALL, 1).forward({"input_ids": ids}))[0].double()
    scores = torch.log_softmax(logits, -1)[len(context.encode()) : -1]
    targets = torch.tensor(list(said.encode()))
    greedy = bool((scores.argmax(-1) == targets).all())
    return float(scores[torch.arange(len(targets)), targets].sum()), greedy


@pytest.mark.parametrize("more", [{}, {"shots": 3}, {"template": "turned"}])
def test_each_answer_is_scored_as_by_itself(sums: Ref, more: dict[str, Any]) -> None:
    raw = measured(ScoreChoices(sums, limit=6, **more))
    data = tasks.load(sums)
    template = TEMPLATES[more.get("template", "question")]
    train, rows = data.data["train"], data.split("test", 6)
    examples = data.questions(train, data.contents(train))[: more.get("shots", 0)]
    before = "".join(shot(template, each) for each in examples)
    for k, item in enumerate(data.questions(rows, data.contents(rows))):
        prompt = put(template, item)
        assert raw.columns["choices"][k] == len(item.choices)
        assert raw.columns["label"][k].nonzero()[0].tolist() == [*item.right]
        for place, said in enumerate(prompt.continuations):
            value, greedy = plainly(before + prompt.context, said)
            assert raw.columns["loglikelihood"][k, place] == pytest.approx(value, abs=1e-3)
            assert raw.columns["greedy"][k, place] == greedy
            assert raw.columns["bytes"][k, place] == len(said.strip().encode())
            assert raw.columns["tokens"][k, place] == len(said.encode())
    assert raw.info["scored"]["computed"] < raw.info["scored"]["asked"]
    assert raw.info["scored"]["bytes"] > 0
    shots = more.get("shots")
    assert raw.info["protocol"] == ({"shots": shots} if shots else {})


def test_each_item_can_have_examples_of_its_own(sums: Ref) -> None:
    raw = measured(ScoreChoices(sums, limit=6, shots=2, examples="item"))
    assert raw.info["protocol"] == {"shots": 2, "examples": "item"}
    data = tasks.load(sums)
    rows = data.split("test", 6)
    assert data.template is not None
    befores = examples_before(data, data.template, 2, rows["id"])
    assert len(set(befores)) > 3 and all(each.count("Answer:") == 2 for each in befores)
    assert befores[2:4] == examples_before(data, data.template, 2, rows["id"][2:4])  # by item
    for k, item in enumerate(data.questions(rows, data.contents(rows))):
        context, said = put(data.template, item)
        value, _ = plainly(befores[k] + context, said[0])
        assert raw.columns["loglikelihood"][k, 0] == pytest.approx(value, abs=1e-3)


def test_answers_after_no_question(sums: Ref) -> None:
    raw = measured(ScoreChoices(sums, limit=4, unconditional=True))
    data = tasks.load(sums)
    rows = data.split("test", 4)
    for k, offer in enumerate(rows["choices"]):
        for place, each in enumerate(offer):
            value, _ = plainly("", f" {each}")
            assert raw.columns["unconditional"][k, place] == pytest.approx(value, abs=1e-3)


def test_a_template_that_gives_the_answer_away_is_noted(sums: Ref) -> None:
    assert measured(ScoreChoices(sums, limit=8)).info["notes"] == []
    rows = [{"question": f"Is it {k}?", "choices": [f"{k}?", "no"], "answer": 0} for k in range(40)]
    told = kit.choices_from_frame("told", pd.DataFrame(rows))
    (note,) = measured(ScoreChoices(told, limit=8)).info["notes"]
    assert note == "what is right stands in 100% of the questions, other answers in 0%"


def test_a_model_that_says_a_place_whatever_is_asked_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"question": f"Say {k}", "choices": ["same", f"{k}x"], "answer": "same"}
            for k in range(60)]  # fmt: skip
    quiz = kit.choices_from_frame("same", pd.DataFrame(rows))
    found = score_choices.score

    def placed(runner: Any, asked: Any, *more: Any) -> Any:
        scores = found(runner, asked, *more)
        scores.loglikelihood[:] = np.arange(len(asked)) % 2
        return scores

    monkeypatch.setattr(score_choices, "score", placed)
    told = "it says answer 2 to 100% of the questions: a place"
    assert told in measured(ScoreChoices(quiz, limit=20)).info["notes"]
    assert told not in measured(ScoreChoices(quiz, limit=8)).info["notes"], "too few to tell"


def test_a_context_beyond_the_window_loses_its_beginning() -> None:
    runner = Runner(SMALL, 1)
    runner.model.window = 8
    (one, two), cut = requests(runner, [Prompt("a long context", (" yes", " no"))])
    assert cut.tolist() == [True]
    assert bytes(one.context[1:] + one.continuation).decode().endswith("ext yes")
    assert len(one.context) + len(one.continuation) == 9 == len(two.context) + len(two.continuation)


def test_white_space_before_the_answer_belongs_to_it() -> None:
    runner = Runner(SMALL, 1)
    found, _ = requests(runner, [Prompt("So: ", ("yes",))])
    assert bytes(found[0].continuation) == b" yes"
    assert bytes(found[0].context) == b"\0So:"


def test_an_answer_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(SMALL, 1)
    merged = type(runner.model.tokenizer)()
    monkeypatch.setattr(merged, "encode", lambda texts, length=None: [[7] for _ in texts])
    runner.model.tokenizer = merged
    with pytest.raises(SpecError, match="has no token of its own"):
        requests(runner, [Prompt("So", ("x",))])


@pytest.mark.parametrize(
    ("more", "says"),
    [({"shots": 61}, "the training part of sums has"), ({"template": "letter"}, "letters")],
)
def test_what_cannot_be_asked_is_told(sums: Ref, more: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        measured(ScoreChoices(sums, limit=2, **more))


def test_a_quiz_goes_through_the_harness(sums: Ref) -> None:
    other = SMALL.replace(schemes=["w3"])
    study = kit.evaluate_shift(
        [SMALL, other], [sums], baseline=SMALL, templates=["letters"], limit=12, name="quiz"
    )
    table = study.run(executor="inline", on_error="raise")
    assert {"acc", "acc_norm", "acc_change", "choice_margin_change", "noise_flips"} <= set(
        table["metric"]
    )
    assert set(table["condition"]) >= {"", "template=letters"}
    flips = study.flips(other.name, split="test")
    lost = table[(table["metric"] == "flips_lost") & (table["condition"] == "")]["value"].item()
    assert (flips["change"] == "lost").sum() == lost
    assert not (table["status"] == "error").any()


def test_a_study_of_timings_and_answers(sums: Ref) -> None:
    study = kit.sweep_quantization(SMALL, [sums], ["w4"], ["eager"], limit=4, name="sweep")
    asked = {run.measurement.name for run in study.runs}
    assert asked == {"score_choices", "memory", "latency"}
    classify = [run for run in study.runs if "batch_size" in run.measurement.args]
    assert {run.measurement.name for run in classify} == {"memory"}


def test_a_classifier_is_told_what_it_lacks(sums: Ref) -> None:
    run = Run(Variant("majority"), ScoreChoices(sums))
    with pytest.raises(SpecError):
        registry.measurements.get("score_choices").function(
            Runner(run.variant, 1, sums), **run.measurement.args
        )
    assert np.isfinite(measured(ScoreChoices(sums, limit=2)).columns["loglikelihood"]).all()


def test_lost_items_are_read_task_by_task(sums: Ref) -> None:
    rows = [
        {"question": f"Is {k} odd?", "choices": ["yes", "no"], "answer": k % 2} for k in range(40)
    ]
    odd = kit.choices_from_frame("odd", pd.DataFrame(rows))
    other = SMALL.replace(schemes=["w2"])
    study = kit.evaluate_shift(
        [SMALL, other], [sums, odd], baseline=SMALL, limit=8, noise_floor=False, name="two"
    )
    study.run(executor="inline", on_error="raise")
    with pytest.raises(SpecError, match="task= one of 'sums', 'odd'"):
        study.flips(other.name)
    assert study.predictions(other.name, task="odd").run.measurement.args["task"] == odd
    study.flips(other.name, task="sums")
    with pytest.raises(SpecError, match="Did you mean 'test'"):
        study.flips(other.name, "tset")


def test_a_metric_that_reads_nothing_there_is_refused(sums: Ref) -> None:
    with pytest.raises(SpecError, match="accuracy is a metric of classification"):
        kit.evaluate_shift([SMALL], [sums], baseline=SMALL, metrics=["accuracy"])


def test_what_a_hurried_user_writes(sums: Ref) -> None:
    study = kit.sweep_quantization(SMALL, sums, ["w4"], ["eager"], limit=4)
    assert {run.variant.name for run in study.runs} == {"small", "small w4"}
    for given, says in (({"schemes": "w4"}, "schemes='w4'; expected a list"), ({}, "no task is")):
        with pytest.raises(SpecError, match=says):
            kit.sweep_quantization(SMALL, [sums] if given else [], **given)


def test_examples_before_all_questions_go_through_a_lossy_state(sums: Ref) -> None:
    ask = ScoreChoices(sums, limit=6, shots=9)
    runner = Runner(SMALL, 1)
    runner.session.lossy = True  # type: ignore[attr-defined]
    kept, plain = measure(runner, ask), measured(ask)
    assert plain.info["scored"]["way"] == "tree" and kept.info["scored"]["way"] != "tree"
    np.testing.assert_allclose(
        kept.columns["loglikelihood"], plain.columns["loglikelihood"], atol=1e-3
    )
    assert kept.info["scored"]["computed"] < kept.info["scored"]["asked"] / 4


def test_what_a_state_forgot_of_the_examples_no_answer_knows() -> None:
    rng = np.random.default_rng(0)
    clues = [" ".join(map(str, rng.integers(0, 10**6, 5))) for _ in range(40)]
    rows = [
        {"question": f"{clue}; what is it", "choices": ["a bird", "a fish"], "answer": 0}
        for clue in clues
    ]
    birds = kit.choices_from_frame("birds", pd.DataFrame(rows), test=0.5)
    ask = ScoreChoices(birds, limit=4, shots=8)
    whole = measure(runner_of(), ask).columns["loglikelihood"]
    lost = measure(runner_of(keep=20), ask).columns["loglikelihood"]
    assert (whole[:, 0] > -0.1).all() and (whole[:, 1] < -5).all()
    np.testing.assert_allclose(lost, -np.log(256) * len(" a bird"), rtol=1e-4)
