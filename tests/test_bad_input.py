"""Bad input meets a whole study: each gets a sentence that a person can act on.

What a single module refuses is tested beside it: names and values of Refs (test_entries), frames,
splits, labels and texts (tasks/test_own), labels that a model does not have
(architectures/test_pretrained), tables edited by hand (test_results), the store's schema
(test_store), the cache and the network (test_assets).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import toy_texts, toy_variant

import kit
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Run, Training, Variant

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")


def note(study: kit.Study, metric: str, status: str = "error") -> str:
    """Runs a study and returns the note of the rows that a failed variant has for a metric."""
    rows = study.run(executor="inline")
    found = rows[(rows.metric == metric) & (rows.variant != "good") & (rows.status == status)]
    notes = set(found.note)
    assert len(notes) == 1, rows[["variant", "metric", "status", "note"]].to_string()
    assert found.value.isna().all()
    return str(notes.pop())


def beside_a_good_one(variant: Variant, task: Ref) -> kit.Study:
    good = Variant(Ref("majority"), name="good")
    runs = [Run(v, kit.Quality(task, limit=8)) for v in (good, variant)]
    return kit.Study("study", runs, good)


def causal(name: str, task: Ref) -> kit.Study:
    budget = Budget(tokens=4 * 16)
    training = Training(task, budget, batch_size=2, length=16)
    variant = Variant(Ref(name), training)
    return kit.Study("study", [Run(variant, kit.Quality(task, limit=4))], variant)


def test_an_architecture_that_looks_ahead(toys: Ref) -> None:
    def oracle(vocab_size: int) -> Any:
        import torch

        class Oracle(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = torch.nn.Embedding(vocab_size, 8)
                self.output = torch.nn.Linear(8, vocab_size)

            def forward(self, input_ids: Any) -> Any:
                return self.output(self.embedding(input_ids.roll(-1, dims=1)))

        return Oracle()

    kit.register_architecture(kind="causal", version=1)(oracle)
    said = note(causal("oracle", toy_texts()), "bits_per_byte")
    assert "it looks ahead: another token at position" in said
    assert said.startswith("Oracle is not trained: ")


def test_an_architecture_of_a_wrong_shape(toys: Ref) -> None:
    def narrow(vocab_size: int) -> Any:
        import torch

        class Narrow(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = torch.nn.Embedding(vocab_size, 7)

            def forward(self, input_ids: Any) -> Any:
                return self.embedding(input_ids)

        return Narrow()

    kit.register_architecture(kind="causal", version=1)(narrow)
    said = note(causal("narrow", toy_texts()), "bits_per_byte")
    assert "it returned logits of shape (2, 128, 7); expected (2, 128, 256)" in said


def test_an_architecture_that_returns_no_module(toys: Ref) -> None:
    def nothing(vocab_size: int) -> Any:
        return {"layers": 2}

    kit.register_architecture(kind="encoder", version=1)(nothing)
    broken = Variant(Ref("nothing"), Training(toys))
    assert note(beside_a_good_one(broken, toys), "accuracy") == (
        "nothing returned a dict; expected an nn.Module"
    )


def test_a_predictor_of_a_wrong_shape(toys: Ref) -> None:
    def three(*, classes: int = 3) -> Any:
        return lambda texts: np.zeros((len(texts), classes), np.float32)

    kit.register_architecture(kind="predictor", version=1)(three)
    assert note(beside_a_good_one(Variant(Ref("three")), toys), "accuracy") == (
        "three returned scores of shape (1, 3) for one text; expected (1, 2) for the labels 0, 1"
    )


def test_nan_in_logits_names_the_run(toys: Ref) -> None:
    def broken(model: Any) -> Any:
        return kit.map_linear_weights(model, lambda weight: weight * float("nan"))

    kit.register_scheme(form="module", version=1)(broken)
    variant = toy_variant(toys, schemes=["broken"])
    assert note(beside_a_good_one(variant, toys), "accuracy") == (
        "base broken: base broken gave NaN or infinite logits on test"
    )


def test_a_scheme_that_changes_the_shape(toys: Ref) -> None:
    def turned(model: Any) -> Any:
        return kit.map_linear_weights(model, lambda weight: weight[:1])

    kit.register_scheme(form="module", version=1)(turned)
    said = note(beside_a_good_one(toy_variant(toys, schemes=["turned"]), toys), "accuracy")
    assert "expected a weight of shape (16, 16), got (1, 16)" in said


def test_a_scheme_and_a_runtime_that_do_not_go_together_are_in_the_plan(toys: Ref) -> None:
    base = toy_variant(toys)
    wrong = base.replace(schemes=["torchao_int8"])
    runs = [Run(v, kit.Quality(toys, limit=8)) for v in (base, wrong)]
    plan = kit.Study("study", runs, base).plan()
    row = plan[plan.variant == wrong.name].iloc[0]
    assert (row.status, row.reason) == ("cannot", "torchao_int8 runs on compiled, not on eager")


def test_a_metric_that_does_not_fit_its_items(toys: Ref) -> None:
    def short(logits: Any) -> Any:
        return logits[:3, 0]

    kit.register_metric(artifact="classification", higher_is_better=True, unit="1", version=1)(
        short
    )
    good = Variant(Ref("majority"), name="good")
    study = kit.Study("study", [Run(good, kit.Quality(toys, limit=8))], good)
    rows = study.run(executor="inline", metrics=["short"])
    row = rows[rows.metric == "short"].iloc[0]
    assert row.status == "error"
    assert row.note == "ValueError: metric short gave 3 values for 8 items"


ODD = {
    "nothing": "",
    "white space": " \n\t",
    "very long": "word " * 20_000,
    "emoji": "🙂🙃👩‍👩‍👧",
    "right to left": "שלום עולם مرحبا",
    "not UTF-8": b"caf\xe9 \xff\xfe",
    "half a pair": "\ud83d alone",
    "zero byte": "a\0b",
    "control": "\x1b[31m\x07",
}


def test_odd_texts_go_through_a_study(toys: Ref) -> None:
    usual = [f"{'super' if n % 2 else 'awful'} {n * 7919} {n}" for n in range(60)]
    frame = pd.DataFrame(
        {"text": [*ODD.values(), *usual], "label": [n % 2 for n in range(len(ODD) + 60)]}
    )
    task = kit.task_from_frame("odd", frame, test=0.5)
    base = toy_variant(task)
    splits = ("train", "validation", "test")
    study = kit.Study("study", [Run(base, kit.Quality(task, s, 99)) for s in splits], base)
    rows = study.run(executor="inline", on_error="raise").query(
        "metric == 'accuracy' and group == ''"
    )
    assert (rows.status == "ok").all()
    assert rows.n.sum() == len(ODD) - 2 + 60, "what has no character is left out and counted"
    assert kit.tasks.describe(task)["dropped"]["odd"]["empty"] == 2


def test_odd_documents_go_through_a_language_model(toys: Ref) -> None:
    texts = [*ODD.values(), *(f"{n} plain text {n * 7919}" for n in range(60))]
    task = kit.task_from_text("odd_prose", texts, test=0.5)
    model = Variant(Ref("toy_causal"))
    splits = ("train", "validation", "test")
    study = kit.Study("study", [Run(model, kit.Quality(task, s, 99)) for s in splits], model)
    rows = study.run(executor="inline", on_error="raise").query("metric == 'bits_per_byte'")
    assert (rows.status == "ok").all()
    assert rows.value.between(1, 20).all()
