"""`kit.check` fails what breaks its contract, in a sentence, and crashes on nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.store import store

pytestmark = pytest.mark.usefixtures("registries")


def failed(name: str | kit.Ref) -> dict[str, str]:
    return {what: message for what, passed, message in kit.check(name) if not passed}


class Plain(nn.Module):
    """An embedding and an output layer, to be spoiled."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.head(self.embed(input_ids))


class Peeks(Plain):
    """Mixes every position with the mean of all, so that it sees the future."""

    def forward(self, input_ids: torch.Tensor) -> Any:
        hidden = self.embed(input_ids)
        return self.head(hidden + hidden.mean(1, keepdim=True))


class Forgets(Plain):
    """Holds a tensor that is in no state_dict."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__(vocab_size, width)
        self.hidden = torch.randn(width)

    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.head(self.embed(input_ids) + self.hidden)


class Unseen(Plain):
    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__(vocab_size, width)
        self.unused = nn.Parameter(torch.zeros(3))


class Short(Plain):
    def forward(self, input_ids: torch.Tensor) -> Any:
        return super().forward(input_ids)[:, :-1]


class Unstable(Plain):
    def forward(self, input_ids: torch.Tensor) -> Any:
        return super().forward(input_ids) * torch.rand(())


@pytest.mark.parametrize(
    ("module", "what", "sentence"),
    [
        (Peeks, "looks at no later token", "looks ahead"),
        (Peeks, "takes no notice of padding", "changed its logits"),
        (Forgets, "keeps its weights when saved", "is all state in it?"),
        (Unseen, "has a gradient in every parameter", "unused"),
        (Short, "gives logits of the right shape", "(3, 8, 256); expected (3, 9, 256)"),
        (Unstable, "gives the same under the same seed", "two outputs"),
    ],
)
def test_a_broken_architecture_fails(module: type[Plain], what: str, sentence: str) -> None:
    @kit.register_architecture(kind="causal", version=1)
    def broken(vocab_size: int, width: int) -> nn.Module:
        return module(vocab_size, width)

    assert sentence in failed("broken")[what]


def test_an_architecture_that_keeps_its_promises_passes() -> None:
    @kit.register_architecture(kind="causal", version=1, width_multiple=24)
    def plain(vocab_size: int, width: int) -> nn.Module:
        if width % 24:
            raise ValueError(f"width={width} is no multiple of 24")
        return Plain(vocab_size, width)

    found = {what: (passed, message) for what, passed, message in kit.check("plain")}
    assert all(passed for passed, _ in found.values())
    assert found["gives logits of the right shape"][1] == "12,544 parameters"
    assert found["tells the size of its state"][1].startswith("skipped")


def test_what_cannot_be_made_is_one_failed_check() -> None:
    @kit.register_architecture(kind="causal", version=1)
    def crashes(vocab_size: int, width: int) -> nn.Module:
        raise RuntimeError("no such kernel")

    assert failed("crashes") == {"can be made": "RuntimeError: no such kernel"}


def test_an_encoder_that_ignores_its_mask_fails() -> None:
    class Encoder(nn.Module):
        def __init__(self, vocab_size: int) -> None:
            super().__init__()
            self.embed = nn.Embedding(vocab_size, 8)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.embed(input_ids).mean(1, keepdim=True).expand(-1, input_ids.shape[1], -1)

    @kit.register_architecture(kind="encoder", version=1)
    def maskless(vocab_size: int) -> nn.Module:
        return Encoder(vocab_size)

    assert set(failed("maskless")) == {"takes no notice of padding"}


def test_a_predictor_that_says_it_gives_probabilities_must() -> None:
    @kit.register_architecture(kind="predictor", version=1, probabilities=True)
    def ones() -> Any:
        return lambda texts: np.ones((len(texts), 2), np.float32)

    assert "expected 1" in failed("ones")["gives probabilities, as it says"]


def test_a_scheme_may_refuse_models_but_not_all() -> None:
    @kit.register_scheme(form="module", version=1)
    def picky(model: nn.Module, *, takes: str = "LlamaForCausalLM") -> nn.Module:
        if type(model).__name__ != takes:
            raise SpecError(f"expected a {takes}")
        return copy.deepcopy(model)

    found = {what: message for what, passed, message in kit.check("picky") if passed}
    said = [message for what, message in found.items() if message.startswith("refused: expected")]
    assert len(found) == 5 and len(said) == 2

    @kit.register_scheme(form="module", version=1)
    def useless(model: nn.Module) -> nn.Module:
        raise SpecError("not this one")

    (sentence,) = failed("useless").values()
    assert sentence == "it refuses every model: not this one"


def test_a_scheme_that_changes_its_model_fails() -> None:
    @kit.register_scheme(form="module", version=1)
    def in_place(model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter.data.zero_()
        return model

    @kit.register_scheme(form="module", version=1)
    def half_in_place(model: nn.Module) -> nn.Module:
        next(model.parameters()).data.zero_()
        return kit.map_linear_weights(model, lambda weight: weight)

    given, changed = failed("in_place").values(), failed("half_in_place").values()
    assert [text.startswith("it returned the module it was given") for text in given] == [True] * 3
    assert [text.startswith("it changed ") for text in changed] == [True] * 3


def test_a_runtime_that_answers_wrongly_fails() -> None:
    @kit.register_runtime(version=1)
    def bad(model: nn.Module) -> Any:
        return lambda inputs: getattr(model(**inputs), "logits", model(**inputs)).detach() + 1

    assert len(failed("bad")) == 3
    assert all("differs from eager" in text for text in failed("bad").values())


def test_a_task_drawn_without_a_seed_fails() -> None:
    draws: Iterator[int] = iter(range(10**6))

    @kit.register_task(kind="language", version=1)
    def drawn() -> Any:
        import pandas as pd

        splits = ("train", "validation", "test")
        return {s: pd.DataFrame({"text": [f"{next(draws)}" for _ in range(5)]}) for s in splits}

    assert set(failed("drawn")) == {"is the same when prepared again"}


def test_a_task_with_an_item_in_two_splits_fails() -> None:
    @kit.register_task(kind="language", version=1)
    def leaks() -> Any:
        import pandas as pd

        rows = pd.DataFrame({"text": ["one", "two"]})
        return {"train": rows, "validation": rows[:1], "test": rows[1:]}

    assert "is also in 'train'" in failed("leaks")["can be made"]


def test_broken_metrics_fail() -> None:
    register = kit.register_metric(
        artifact="classification", higher_is_better=None, unit="1", version=1
    )

    @register
    def spoils(logits: Any) -> Any:
        logits += 1
        return logits[:, 0]

    @register
    def first(logits: Any) -> float:
        return float(logits[0, 0])

    @register
    def needs_more(logits: Any, mood: Any) -> float:
        return 0.0

    assert "it changed logits" in failed("spoils")["leaves its input as it is"]
    assert set(failed("first")) == {"takes no notice of the order of items"}
    assert "have no column 'mood'" in failed("needs_more")["gives a number, or one an item"]


def test_a_metric_of_a_new_kind_is_tried_on_what_a_measurement_gives() -> None:
    @kit.register_artifact(record="item", columns=("length",))
    def sizes() -> dict[str, np.ndarray]:
        """Characters of each text."""
        return {"item": np.array(["a", "b", "c"]), "length": np.array([3, 1, 2])}

    @kit.register_measurement(where="worker", artifacts=("sizes",), version=1)
    def lengths(runner: Any, *, task: kit.TaskRef, limit: int = 9) -> kit.Raw:
        texts = kit.tasks.load(task).split("test", limit)["text"]
        return kit.Raw("sizes", {"item": np.array(texts), "length": np.char.str_len(texts)})

    @kit.register_metric(artifact="sizes", higher_is_better=None, unit="characters", version=1)
    def mean_length(length: Any) -> Any:
        return length

    assert not failed("sizes")
    assert not failed("lengths")
    assert not failed("mean_length")


COUNTED: dict[str, Any] = {"artifacts": ("quantities",), "quantities": {"a": kit.Quantity("1")}}


def test_broken_measurements_fail() -> None:
    @kit.register_measurement(where="worker", artifacts=("tokens",), version=1)
    def wrong_kind(runner: Any) -> kit.Raw:
        return kit.Raw("quantities", {"value": np.zeros(1)})

    @kit.register_measurement(where="worker", **COUNTED)
    def ragged(runner: Any) -> kit.Raw:
        columns = {"value": np.zeros(1), "quantity": np.array(["a", "b"])}
        return kit.Raw("quantities", {**columns, "condition": np.array([""])})

    @kit.register_measurement(where="worker", **COUNTED)
    def undeclared(runner: Any) -> kit.Raw:
        columns = {"value": np.zeros(1), "quantity": np.array(["b"])}
        return kit.Raw("quantities", {**columns, "condition": np.array([""])})

    @kit.register_measurement(where="worker", **COUNTED)
    def no_raw(runner: Any) -> Any:
        return 3

    assert "gave 'quantities'" in failed("wrong_kind")["gives an artifact of a kind it declares"]
    assert "differ in length" in failed("ragged")["can be saved and read"]
    assert "unknown quantity of undeclared 'b'" in failed("undeclared")["can be saved and read"]
    assert "expected kit's Raw" in failed("no_raw")["can be made"]


def test_arguments_come_by_a_ref_and_short_names_are_known() -> None:
    @kit.register_scheme(form="module", version=1)
    def needs(model: nn.Module, *, factor: float) -> nn.Module:
        return kit.map_linear_weights(model, lambda weight: weight * factor)

    assert "factor is nothing" in failed("needs")["can be made"]
    assert not failed(kit.Ref("needs", factor=0.5))
    assert not failed("w4g32")
    assert kit.check("pretrained")[0].message.startswith("skipped")
    assert "no folder" in failed("hf:./nowhere")["can be made"]


def test_unknown_and_ambiguous_names_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="Did you mean 'llama'"):
        kit.check("lama")
    with pytest.raises(SpecError, match="kind 'scheme'"):
        kit.check("scheme/round")
    with pytest.raises(SpecError, match="unknown scheme 'rund'. Did you mean 'round'"):
        kit.check("schemes/rund")
    with pytest.raises(SpecError, match="say measurements/latency or metrics/latency"):
        kit.check("latency")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="is a folder: the architecture in it is 'hf:./mine'"):
        kit.check("./mine")


def test_checking_leaves_nothing_behind() -> None:
    before = {kind: each.names() for kind, each in registry.REGISTRIES.items()}
    root = store.store_root()
    kit.check("classify")
    assert {kind: each.names() for kind, each in registry.REGISTRIES.items()} == before
    assert store.store_root() == root


def test_quality_is_tried_on_tasks_of_several_kinds() -> None:
    (told,) = [m for what, _, m in kit.check("classify") if what.startswith("gives an artifact")]
    assert {"classification", "regression", "multi_label"} == set(told.split(", "))
