"""Facts told in a long text: found by who keeps all of it, lost by who does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import measure
from looking import looking, runner_of

import kit
from kit.build.runner import Runner
from kit.measurements.haystack import TELLINGS, WORDS, haystack
from kit.measurements.scoring import way
from kit.measurements.sharing import StateWalk
from kit.runtimes.decoding import StateSession
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant

DEPTHS = (0.1, 0.5, 0.9)


@pytest.fixture
def stories(registries: None) -> str:
    @kit.register_task(kind="language", version=1)
    def stories() -> dict[str, Any]:
        import pandas as pd

        said = [" ".join(f"On day {k} of {n} it was so." for k in range(60)) for n in range(10)]
        rows = pd.DataFrame({"text": said})
        return {"train": rows[:0], "validation": rows[:0], "test": rows}

    return "stories"


def right(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    rows = np.arange(len(columns["label"]))
    return columns["label"][rows, columns["loglikelihood"].argmax(1)] == 1


def test_answers_are_those_of_a_plain_forward(stories: str) -> None:
    runner = Runner(Variant(Ref("llama", width=32, depth=2)), 1)
    raw = measure(runner, kit.FindNeedles(stories, limit=2, context=600, depths=DEPTHS, facts=1))
    loaded = kit.tasks.load(stories).split("test")
    expected = []
    for place in range(2):
        texts = [*loaded["text"][place:], *loaded["text"][:place]]
        name = f"0/{loaded['id'][place]}"
        made = haystack(runner.model.tokenizer, TELLINGS["text"], texts, name, context=600,
                        depths=DEPTHS, facts=1, options=4)  # fmt: skip
        for prompt in made.prompts:
            for word in prompt.continuations:
                ids = [0, *(prompt.context + word).encode()]
                logits = torch.from_numpy(runner.forward({"input_ids": torch.tensor([ids])}))[0]
                scores = torch.log_softmax(logits.double(), -1)
                span = range(len(ids) - len(word), len(ids))
                expected.append(sum(float(scores[at - 1, ids[at]]) for at in span))
    found = raw.columns["loglikelihood"].ravel()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert raw.info["scored"]["computed"] < raw.info["scored"]["asked"] / 4


@pytest.mark.parametrize("told", ["text", "turns"])
def test_what_was_dropped_is_not_found(stories: str, told: str) -> None:
    ask = kit.FindNeedles(
        stories, limit=4, context=1600, depths=DEPTHS, facts=2, options=6, told=told
    )
    whole, lost = measure(runner_of(), ask).columns, measure(runner_of(keep=800), ask).columns
    assert right(whole).all()
    assert (whole["greedy"] == (whole["label"] == 1)).all()
    by_depth = {depth: right(lost)[lost["group:depth"] == depth] for depth in ("10%", "90%")}
    assert by_depth["90%"].all() and by_depth["10%"].mean() < 0.6
    assert (whole["item"] == lost["item"]).all() and len(set(whole["item"])) == 24
    assert len(set(whole["cluster"])) == 4


def test_a_lossy_session_goes_by_its_state(registries: None) -> None:
    assert issubclass(way(runner_of(keep=50)), StateWalk)


def test_rows_by_depth_are_paired_with_the_whole_cache(stories: str, fresh_store: Path) -> None:
    kit.register_architecture(kind="causal", version=1)(looking)

    @kit.register_runtime(version=1)
    def forgetting(model: torch.nn.Module) -> StateSession:
        session = StateSession(model.eval())
        session.model.keep, session.lossy = 500, True  # type: ignore[attr-defined]
        return session

    base = Variant(Ref("looking", width=8), name="whole")
    ask = kit.FindNeedles(stories, limit=10, context=900, depths=(0.2, 0.8), facts=2)
    runs = [Run(base, ask), Run(base.replace(runtime="forgetting", name="lossy"), ask)]
    study = kit.Study("needles", runs, base, metrics=("acc", "greedy_match"))
    rows = study.run(executor="inline", on_error="raise")
    assert set(rows["condition"]) == {"context=900;facts=4;told=text"}
    cells = rows.set_index(["variant", "metric", "group"])["value"].sort_index()
    whole, change = cells["whole", "acc"], cells["lossy", "acc_change"]
    assert whole["depth=20%"] == whole["depth=80%"] == whole[""] == 1
    assert change["depth=80%"] == 0 and change["depth=20%"] < -0.4
    assert cells["lossy", "flips_lost", ""] == -40 * change[""]
    assert cells["whole", "greedy_match", ""] == 1
    read = study.flips("lossy", context=900)
    assert len(read) == cells["lossy", "flips_lost", ""] and set(read["change"]) == {"lost"}
    assert read["text"].str.contains("What is the secret word of").all()
    assert read["label"].isin(WORDS).all() and (read["label"] == read["baseline"]).all()


def test_what_cannot_be_asked(stories: str, tmp_path: Path) -> None:
    from test_scoring import saved

    with pytest.raises(SpecError, match=r"facts=9 at each of 3 depths: .* at most facts=8"):
        kit.FindNeedles(stories, depths=DEPTHS, facts=9)
    for wrong in ({"depths": (1.5,)}, {"depths": ()}, {"options": 1}, {"told": "sung"}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            kit.FindNeedles(stories, **wrong)
    each = Runner(saved(tmp_path / "llama", "llama", max_position_embeddings=64), 1)
    with pytest.raises(Undefined, match="more than the 64 tokens that llama reads at once"):
        measure(each, kit.FindNeedles(stories, limit=1, context=512))
    with pytest.raises(Undefined, match="keeps nothing of the tokens so far"):
        measure(Runner(Variant(Ref("ngram")), 1), kit.FindNeedles(stories, limit=1))
