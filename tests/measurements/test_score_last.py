"""The last words of documents, held against a plain forward of the whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import measure, toy_texts
from looking import runner_of

import kit
from kit.architectures.tokenizers import ByteTokenizer
from kit.build.runner import Runner
from kit.measurements.score_last import joined, parted
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant

MODELS = {"llama": 2, "lfm2": 3, "lstm": 2}


def runner(name: str) -> Runner:
    return Runner(Variant(Ref(name, width=32, depth=MODELS[name])), 1)


def naive(each: Runner, task: Ref, place: int, context: int, last: int) -> tuple[float, int]:
    """Scores a document's end by one forward of all that it may see; returns it and its bytes."""
    texts = list(kit.tasks.load(task).data["test"]["text"])
    before = texts[place + 1 :] + texts[:place]
    whole = "\n\n".join([*reversed(before), texts[place]]).encode()
    start = whole.index(b" ", len(whole) - last) if last < len(texts[place]) else None
    start = len(whole) - len(texts[place]) - 2 if start is None else start
    ids = [0, *whole[start - context + 1 :]]
    logits = torch.from_numpy(each.forward({"input_ids": torch.tensor([ids])}))[0].double()
    scores = torch.log_softmax(logits[:-1], -1)
    values = scores[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    return -float(values[context - 1 :].sum()), len(whole) - start


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("context", "last", "chunk"), [(200, 30, 7), (65, 200, 32), (2, 30, 1)])
def test_a_whole_cache_scores_as_plain_recomputation(
    name: str, context: int, last: int, chunk: int, toys: Ref
) -> None:
    each, task = runner(name), toy_texts()
    ask = kit.ScoreLast(task, limit=3, context=context, last=last, chunk=chunk)
    raw = measure(each, ask)
    expected = [naive(each, task, place, context, last) for place in range(3)]
    np.testing.assert_allclose(raw.columns["nll"], [nll for nll, _ in expected], rtol=1e-4)
    assert raw.columns["bytes"].tolist() == [size for _, size in expected]
    assert raw.columns["tokens"].tolist() == raw.columns["bytes"].tolist()
    assert raw.info["protocol"] == {"context": context, "last": last, "chunk": chunk}
    assert raw.info["state_bytes"] > 0


def test_the_same_end_is_scored_at_every_context(toys: Ref) -> None:
    each, task = runner("llama"), toy_texts()
    raws = [measure(each, kit.ScoreLast(task, limit=4, context=n, last=40)) for n in (16, 64)]
    for name in ("item", "cluster", "tokens", "bytes", "words"):
        assert (raws[0].columns[name] == raws[1].columns[name]).all()
    assert (raws[0].columns["nll"] != raws[1].columns["nll"]).all()
    assert raws[0].columns["item"].tolist() == kit.tasks.load(task).split("test", 4)["id"]


def test_what_a_cache_forgot_is_missing(toys: Ref, registries: None) -> None:
    @kit.register_task(kind="language", version=1)
    def echoes() -> dict[str, Any]:
        import pandas as pd

        said = [f"number {n} was told at the very beginning of it all " for n in range(8)]
        rows = pd.DataFrame({"text": [f"{each}{'.' * 300}{each}" for each in said]})
        return {"train": rows[:0], "validation": rows[:0], "test": rows}

    ask = kit.ScoreLast("echoes", limit=3, context=400, last=40, chunk=8)
    whole = measure(runner_of(), ask).columns
    lost = measure(runner_of(keep=100), ask).columns
    longer = measure(runner_of(keep=380), ask).columns
    assert (whole["nll"] < 0.1 * lost["nll"]).all()
    np.testing.assert_allclose(longer["nll"], whole["nll"], rtol=1e-6)


class Kept:
    """What was kept of an interrupted run: it is interrupted after so many documents."""

    def __init__(self, most: int) -> None:
        self.most, self.columns = most, {}

    def find(self, name: str) -> Any:
        return self.columns.get(name)

    def keep(self, name: str, columns: Any) -> None:
        self.columns[name] = columns()
        if len(self.columns[name]["nll"]) == self.most:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on(toys: Ref) -> None:
    ask = kit.ScoreLast(toy_texts(), limit=4, context=64, last=30)
    whole = measure(runner("lstm"), ask)
    again, kept = runner("lstm"), Kept(3)
    again.unfinished = kept  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        measure(again, ask)
    steps, kept.most = [], 99
    prefill = again.session.prefill
    again.session.prefill = lambda ids: steps.append(1) or prefill(ids)  # type: ignore
    rest = measure(again, ask)
    assert rest.info == whole.info and len(steps) == 1
    for name, values in whole.columns.items():
        assert (rest.columns[name] == values).all()


def test_beyond_the_window(tmp_path: Path) -> None:
    from test_scoring import saved

    each = Runner(saved(tmp_path / "llama", "llama", max_position_embeddings=64), 1)
    task = toy_texts("short_prose")
    with pytest.raises(Undefined, match="more than the 64 tokens that llama reads at once"):
        measure(each, kit.ScoreLast(task, limit=2, context=64, last=30))
    raw = measure(each, kit.ScoreLast(task, limit=2, context=32, last=30))
    assert (raw.columns["nll"] > 0).all()


def test_what_cannot_be_asked(toys: Ref) -> None:
    task = toy_texts()
    with pytest.raises(Undefined, match=r"context=100000: the split holds \d+ tokens"):
        measure(runner("lstm"), kit.ScoreLast(task, limit=1, context=100_000))
    with pytest.raises(Undefined, match="ngram keeps nothing of the tokens so far"):
        measure(Runner(Variant(Ref("ngram"), name="ngram"), 1), kit.ScoreLast(task, limit=1))
    for name in ("context", "last", "chunk"):
        with pytest.raises(SpecError, match=name):
            kit.ScoreLast(task, **{name: 0})
    with pytest.raises(SpecError, match="expected language"):
        kit.ScoreLast(toys)


def test_parted_and_joined() -> None:
    assert parted("one two three", 7) == ("one two", " three")
    assert parted("one two three", 100) == ("", "one two three")
    assert parted("ä" * 5, 3) == ("ä" * 4, "ä")
    tokens = ByteTokenizer()
    assert joined(tokens, "own", iter(["b", "a"]), 3) == "own"
    assert joined(tokens, "own", iter(["b", "a"]), 4) == "b\n\nown"
    assert joined(tokens, "own", iter(["b", "a"]), 99) == "a\n\nb\n\nown"
