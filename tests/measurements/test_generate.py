"""Answers that are written: as full forwards would, ended as asked, drawn by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import kit
from kit import tasks
from kit.analysis.statistics.clusters import Clusters
from kit.analysis.statistics.influence import Ratio
from kit.analysis.statistics.intervals import skewed
from kit.architectures.tokenizers import ByteTokenizer
from kit.build.runner import Runner
from kit.measurements import Generate, writing
from kit.measurements import generate as generating
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant

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


def words(*, n: int = 40) -> Ref:
    """Prompts so unlike each other that each is its own cluster."""
    rng = np.random.default_rng(0)
    made = ["".join(map(chr, rng.integers(97, 123, 30))) for _ in range(n)]
    frame = pd.DataFrame({"prompt": made, "answer": "x"})
    return kit.generation_from_frame("words", frame, stops=(), longest=6, test=0.8)


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
        measured(variant, Generate(task, limit=6, temperature=1.0, seed=seed)) for seed in (0, 0, 1)
    )
    assert first.info["protocol"] == {"temperature": 1.0}
    assert (first.columns["text"] == again.columns["text"]).all()
    assert (first.columns["text"] != other.columns["text"]).any()


def test_examples_and_templates_come_before(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, task = Variant(Ref("llama", **SIZES["llama"])), asked()
    seen: list[str] = []

    def noted(_: Any, prompts: Any, *__: Any) -> list[writing.Written]:
        seen.extend(bytes(ids).decode() for ids in prompts)
        return [writing.Written("", 0, "end", 0.0) for _ in prompts]

    monkeypatch.setattr(generating, "write", noted)
    for more in ({}, {"shots": 2}, {"template": "short"}):
        measured(variant, Generate(task, limit=2, **more))
    plain, other, shots, *_, short = seen
    assert plain.startswith("\0Question: Count to ") and plain.endswith("\nAnswer:") != other
    assert shots.endswith(plain[1:]) and shots.count("Answer:") == 3 and "\n\n" in shots
    assert short.startswith("\0Q: Count to ") and short.endswith("\nA:")


def test_draws_of_an_item_depend_on_it_and_the_seed_alone() -> None:
    variant, task = Variant(Ref("llama", **SIZES["llama"])), asked()
    draws = {"temperature": 1.0, "draws": 3, "seed": 5}
    whole = measured(variant, Generate(task, limit=6, **draws)).columns
    assert len(set(whole["item"])) == 18 == len(whole["text"])
    assert all(each.count("#") == (k % 3 > 0) for k, each in enumerate(whole["item"]))
    assert (whole["cluster"].reshape(6, 3) == whole["cluster"][::3, None]).all()
    assert len(set(whole["text"])) > 6
    for more in ({"rows": 1}, {"rows": 4}, {"limit": 2}, {"tokens": 1}):
        part = measured(variant, Generate(task, **({"limit": 6} | draws | more))).columns
        assert (part["text"] == whole["text"][: len(part["text"])]).all(), more
    single = measured(variant, Generate(task, limit=6, temperature=1.0, seed=5)).columns
    assert (single["text"] == whole["text"][::3]).all()


def test_a_mean_over_draws_has_an_interval_over_items() -> None:
    variant = Variant(Ref("llama", **SIZES["llama"]), name="base")
    ask = Generate(words(), limit=8, temperature=1.0, draws=4)
    study = kit.Study("drawn", [Run(variant, ask)], baseline=variant)
    table = study.run(executor="inline", on_error="raise")
    (row,) = table[table["metric"] == "answer_tokens"].to_dict("records")
    found = measured(variant, ask).columns
    assert len(set(found["cluster"])) == 8
    means = found["tokens"].reshape(8, 4).mean(1)
    assert row["value"] == pytest.approx(means.mean())
    alone = skewed(Ratio(means, np.ones(8)), Clusters.alone(8))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(alone[:2])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "finite numbers"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p is 0.0"),
        ({"temperature": 1.0, "top_p": 1.2}, "top_p is 1.2"),
        ({"top_p": 0.9}, "top_p=0.9 with temperature=0"),
        ({"draws": 4}, "draws=4 with temperature=0"),
        ({"seed": 1}, "seed=1 with temperature=0"),
        ({"rows": 0}, "rows is 0"),
    ],
)
def test_what_draws_nothing_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Generate(asked(), **more)


def test_the_run_says_how_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    llama, ngram = (Variant(Ref(name, **SIZES[name])) for name in ("llama", "ngram"))
    task = asked()
    info = measured(llama, Generate(task, limit=4, rows=3)).info
    assert info["written"]["rows"] == 3 and info["notes"] == []
    # a key and a value of 4 bytes for each of 16 numbers (2 heads of 8) and token
    longest = len(b"\0Question: Count to 10.\nAnswer:") + 6
    assert info["written"]["state_bytes"] == 3 * longest * 2 * 16 * 4
    assert "keeps no state" in measured(ngram, Generate(task, limit=4)).info["notes"][0]
    monkeypatch.setattr(ByteTokenizer, "ends", ())
    notes = measured(llama, Generate(task, limit=4)).info["notes"]
    assert notes == [
        "the tokenizer has no end token and the task no stop text: every answer is 6 tokens long"
    ]


def test_what_was_written_is_read_from_the_study() -> None:
    base = Variant(Ref("llama", **SIZES["llama"]), name="base")
    other = base.replace(schemes=["w2"], name="other")
    asks = [Generate(asked(), limit=8), Generate(asked(), limit=8, temperature=1.0, draws=2)]
    study = kit.Study("read", [kit.Run(v, a) for v in (base, other) for a in asks], base)
    table = study.run(executor="inline", on_error="raise")
    greedy, drawn = study.predictions("base"), study.predictions("base", temperature=1.0)
    assert len(greedy.columns["text"]) == 8 and len(drawn.columns["text"]) == 16
    with pytest.raises(SpecError, match="no predictions of 'base' on 'test' with 0.5"):
        study.predictions("base", temperature=0.5)
    flips = study.flips("other")
    counted = table[table.metric.isin(["flips_lost", "flips_gained"]) & (table.condition == "")]
    assert len(flips) == counted.value.sum()


def test_a_study_of_written_answers() -> None:
    base = Variant(Ref("llama", **SIZES["llama"]), name="base")
    other = base.replace(schemes=["w2"])
    study = kit.evaluate_shift([base, other], [asked()], baseline=base, limit=8, name="written")
    table = study.run(executor="inline", on_error="raise")
    assert {"exact_match", "token_f1_change", "noise_flips"} <= set(table["metric"])
    assert not (table["status"] == "error").any()
    assert np.isfinite(table[table["metric"] == "token_f1"]["value"]).all()


def test_a_users_judge_is_a_metric_over_texts() -> None:
    def judge(question: str, said: str) -> float:  # any function: a model, an API, a rule
        return len(set(said) - set(question)) / 9

    @kit.register_metric(artifact="generations", higher_is_better=True, unit="share")
    def fresh(question: Any, text: Any) -> Any:
        pairs = zip(question, text, strict=True)
        return np.array([judge(asked, said) for asked, said in pairs])

    base = Variant(Ref("llama", **SIZES["llama"]), name="base")
    variants, task = [base, base.replace(schemes=["w2"], name="small")], words()
    study = kit.evaluate_shift(variants, [task], baseline=base, limit=8, name="judged")
    table = study.run(executor="inline", on_error="raise", metrics=["fresh"])
    rows = table[(table["split"] == "test") & (table["condition"] == "")].set_index("variant")
    found = [measured(each, Generate(task, limit=8)).columns for each in variants]
    one, other = (np.array([*map(judge, c["question"], c["text"])]) for c in found)
    assert rows[rows["metric"] == "fresh"]["value"]["base"] == pytest.approx(one.mean())
    changed = rows[rows["metric"] == "fresh_change"].loc["small"]
    assert changed["value"] == pytest.approx((other - one).mean())
    assert changed["ci_low"] < changed["value"] < changed["ci_high"]
