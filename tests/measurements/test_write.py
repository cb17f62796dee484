"""Writing whole texts on tiny models: guessed ahead, several at once, and always what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from helpers import driver_of, measure, toy_texts
from test_scoring import saved

from kit.analysis.score import score
from kit.build.runner import Runner
from kit.measurements import Decode, Latency, Write, speculation
from kit.measurements.going_on import recomputing
from kit.measurements.writing_calls import LONGER, Writing
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.register_models import register_runtime
from kit.spec.roles import saves
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

LLAMA = Variant(Ref("llama", width=64, feed_forward=64, depth=1))
NGRAM = Variant(Ref("ngram"))
pytestmark = pytest.mark.usefixtures("short_turns")
SIZES: dict[str, Any] = {
    **{"context": 12, "tokens": 9, "launches": 1, "threads": 1, "seconds": 0.01, "wait": 0.0},
    **{"texts": ("plain", "repeated"), "guesses": ("none", "lookup"), "requests": (3,)},
}
GIVEN = ["a first text", "another one that is longer", "and a third"]


@pytest.fixture
def texts(registries: None) -> Ref:
    return toy_texts()


def written(variant: Variant, task: Ref, **asked: Any) -> Any:
    return measure(driver_of(variant), Write(task=task, against=variant, **{**SIZES, **asked}))


def test_rows_tell_what_guesses_and_batches_gain(texts: Ref) -> None:
    variant = NGRAM  # its state is the text, which forgets
    raw = written(variant, texts)
    run = Run(variant, Write(task=texts, against=variant, **SIZES))
    rows = score(Artifact(run, "write", raw.kind, raw.columns, raw.info))
    found = {(each["metric"], each["condition"]): each for each in rows}
    names = {
        f"at_once=1;context=12;guesses={how};requests=1;stage=write;text={text};threads=1"
        for how in ("none", "lookup")
        for text in ("plain", "repeated")
    } | {
        f"at_once={n};context=12;guesses=none;requests=3;stage=write;text=plain;threads=1"
        for n in (1, 3)
    }
    assert {condition for metric, condition in found if metric == "speedup"} == names
    assert all(found["tokens_per_second", name]["value"] > 0 for name in names)
    for (metric, condition), row in found.items():
        if metric == "guesses_right":
            guessed = "guesses=lookup" in condition
            assert row["status"] == ("ok" if guessed and row["value"] >= 0 else "undefined")


def test_several_timings_of_a_variant_fit_one_table(texts: Ref) -> None:
    sizes = {name: SIZES[name] for name in ("launches", "threads", "seconds", "wait")}
    step = {"prompts": (4,), "contexts": (4,), "batch_sizes": (1,), **sizes}
    asked = [
        Write(task=texts, against=NGRAM, **SIZES),
        Decode(task=texts, against=NGRAM, **step),
        Latency(texts, against=NGRAM, batch_sizes=(1,), lengths=(8,), **sizes),
    ]
    names = registry.wanted([saves(each) for each in asked], "metrics")
    keys = []
    for each in asked:
        raw = measure(driver_of(NGRAM), each)
        made = Artifact(Run(NGRAM, each), "timed", raw.kind, raw.columns, raw.info)
        keys += [(row["metric"], row["condition"]) for row in score(made, names)]
    assert len(keys) == len({*keys})


def test_a_call_writes_what_one_by_one_would(tmp_path: Any, monkeypatch: Any) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    asked = Writing(10, 6, requests=3, at_once=3)
    steps: list[list[list[int]]] = []
    monkeypatch.setattr(
        "kit.measurements.going_on.Going.step",
        _noted("kit.measurements.going_on.Going.step", steps),
    )
    (together,) = asked.ready(runner, GIVEN).calls
    (alone,) = asked.plainly.ready(runner, GIVEN).calls
    steps.clear()
    together()
    rows = [[step[k] for step in steps] for k in range(3)]
    steps.clear()
    alone()
    assert rows == [[step[0] for step in steps[5 * k : 5 * k + 5]] for k in range(3)]
    assert asked.longest == 10 + 2 * LONGER + 6 and asked.tokens == 18


def _noted(path: str, into: list[Any]) -> Any:
    from kit.measurements.going_on import Going

    step = Going.step

    def noted(self: Going, tokens: Sequence[int]) -> Any:
        into.append([*tokens])
        return step(self, tokens)

    return noted


def test_a_repeated_prompt_says_its_first_half_again() -> None:
    runner = Runner(LLAMA, 1)
    for each in Writing(11, 4, "repeated")._prompts(runner, GIVEN):
        assert len(each) == 11 and each[6:] == each[:5]


def test_the_baseline_never_guesses_and_writes_one_by_one(
    texts: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly = Writing(12, 9, "plain", "lookup").plainly
    assert plainly == Writing(12, 9) and Writing(12, 9, requests=3, at_once=3).plainly.at_once == 1
    guessed: list[int] = []
    guess = speculation.Lookup.guess
    monkeypatch.setattr(
        speculation.Lookup, "guess",
        lambda self, text, most: (guessed.append(most), guess(self, text, most))[1],
    )  # fmt: skip
    (first, *_), *_ = plainly.ready(Runner(NGRAM, 1), GIVEN)
    assert len(first()) == 9 and not guessed


def test_a_draft_is_a_model_of_the_same_tokens(texts: Ref, tmp_path: Any) -> None:
    raw = written(NGRAM, texts, guesses=("draft",), draft=NGRAM, texts=("plain",), requests=())
    guessed = raw.columns["guessed"].max()
    assert guessed > 0 and raw.columns["right"].max() == guessed
    other = saved(tmp_path / "llama", "llama")
    with pytest.raises(SpecError, match="reads other tokens than"):
        written(NGRAM, texts, guesses=("draft",), draft=other, requests=())
    with pytest.raises(SpecError, match="go together"):
        written(NGRAM, texts, guesses=("draft",))
    with pytest.raises(SpecError, match="nothing to write"):
        written(NGRAM, texts, guesses=(), requests=())


def test_guesses_that_change_what_is_written_are_not_timed(
    texts: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    @register_runtime(gives=("forward", "decode"))
    def other_when_guessed(model: Any) -> Any:
        session: Any = recomputing(Runner(LLAMA, 1))
        step = session.step
        session.step = lambda state, ids: (
            (-1) ** (ids.shape[1] > 1 and any(state)) * step(state, ids)
        )
        return session

    with pytest.raises(Undefined, match="guesses=lookup writes another token than without"):
        written(LLAMA.replace(runtime="other_when_guessed"), texts, requests=())
