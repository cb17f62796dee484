"""Answers that are written: as full forwards would, ended as asked, drawn by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import kit
from kit import tasks
from kit.build.runner import Runner
from kit.measurements import Generate
from kit.measurements import generate as generating
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Variant

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")
SIZES: dict[str, dict[str, Any]] = {
    "llama": {"width": 32, "feed_forward": 32, "depth": 1},
    "lfm2": {"width": 32, "depth": 3},
    "lstm": {"width": 16},
    "ngram": {},
}


def asked(**more: Any) -> Ref:
    rows = [{"prompt": f"Count to {k}.", "answer": [str(k), "no"]} for k in range(40)]
    given = {"stops": (), "longest": 6} | more
    return kit.generation_from_frame("counting", pd.DataFrame(rows), test=0.8, **given)


def measured(variant: Variant, ask: Ref) -> Any:
    ask = registry.measurements.canonical(ask)
    return registry.measurements.get(ask.name).function(Runner(variant, 1), **ask.args)


@pytest.mark.parametrize("name", SIZES)
def test_what_is_written_is_what_full_forwards_give(name: str) -> None:
    variant = Variant(Ref(name, **SIZES[name]))
    task = asked()
    raw = measured(variant, Generate(task, limit=4))
    runner, data = Runner(variant, 1), tasks.load(task)
    for prompt, text, count, finish in zip(
        data.examples(data.split("test", 4)),
        *(raw.columns[name] for name in ("text", "tokens", "finish")),
        strict=True,
    ):
        ids, written = [0, *prompt.encode()], []
        while len(written) < 6:
            logits = runner.forward({"input_ids": torch.tensor([ids + written])})
            token = int(logits[0, -1].argmax())
            if token == 0:
                break
            written.append(token)
        assert bytes(written).decode(errors="replace").strip() == text
        assert count == len(written) and finish == ("length" if len(written) == 6 else "end")


def test_an_answer_ends_at_its_stop() -> None:
    variant = Variant(Ref("ngram", order=3))
    runner = Runner(variant, 1)
    text = b"abcabcabcabc"
    runner.model.module.fit([[0, *text]])
    frame = pd.DataFrame({"prompt": [f"a{'bca' * k}" for k in range(1, 20)], "answer": "b"})
    task = kit.generation_from_frame(
        "letters", frame, template="{question}", stops=("ca",), longest=9, test=0.9
    )
    ask = registry.measurements.canonical(Generate(task, limit=3))
    raw = registry.measurements.get("generate").function(runner, **ask.args)
    assert set(raw.columns["text"]) == {"b"} and set(raw.columns["finish"]) == {"stop"}
    assert set(raw.columns["tokens"]) == {3}
    found = registry.metrics.get("exact_match").function(
        raw.columns["text"], raw.columns["answers"]
    )
    assert found.all()


def test_draws_are_repeated_by_their_seed() -> None:
    variant, task = Variant(Ref("llama", **SIZES["llama"])), asked()
    first, again, other = (
        measured(variant, Generate(task, limit=6, temperature=1.0, draw=draw)) for draw in (0, 0, 1)
    )
    assert first.info["protocol"] == {"temperature": 1.0}
    assert (first.columns["text"] == again.columns["text"]).all()
    assert (first.columns["text"] != other.columns["text"]).any()


def test_examples_and_templates_come_before(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, task = Variant(Ref("llama", **SIZES["llama"])), asked()
    seen: list[str] = []

    def noted(_: Any, prompts: Any, *__: Any) -> list[generating.Written]:
        seen.extend(bytes(ids).decode() for ids in prompts)
        return [generating.Written("", 0, "end", 0.0) for _ in prompts]

    monkeypatch.setattr(generating, "write", noted)
    for more in ({}, {"shots": 2}, {"template": "short"}):
        measured(variant, Generate(task, limit=2, **more))
    plain, other, shots, *_, short = seen
    assert plain.startswith("\0Question: Count to ") and plain.endswith("\nAnswer:") != other
    assert shots.endswith(plain[1:]) and shots.count("Answer:") == 3 and "\n\n" in shots
    assert short.startswith("\0Q: Count to ") and short.endswith("\nA:")


def test_a_study_of_written_answers() -> None:
    base = Variant(Ref("llama", **SIZES["llama"]), name="base")
    other = base.replace(schemes=["w2"])
    study = kit.evaluate_shift([base, other], [asked()], baseline=base, limit=8, name="written")
    table = study.run(executor="inline", on_error="raise")
    assert {"exact_match", "token_f1_change", "noise_flips"} <= set(table["metric"])
    assert not (table["status"] == "error").any()
    assert np.isfinite(table[table["metric"] == "token_f1"]["value"]).all()
