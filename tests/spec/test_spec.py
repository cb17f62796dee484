"""Specs: frozen, checked when made, and hashed by their content alone."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
import time
from typing import Any

import numpy as np
import pytest
from helpers import Cells
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.measurements import Latency
from kit.spec.checking import SpecError
from kit.spec.ref import FrozenDict, Ref, Spec, content_hash, freeze, to_json
from kit.spec.spec import Budget, Run, Training, Variant, from_json

quick = settings(deadline=None, max_examples=50)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.text()
    | st.floats(allow_nan=False, width=32).filter(np.isfinite),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(lambda name: name != "self")
arguments = st.dictionaries(names, plain, min_size=1, max_size=4)


@quick
@given(arguments, st.randoms())
def test_the_order_of_keys_is_no_content(args: dict[str, Any], random: Any) -> None:
    shuffled = list(args.items())
    random.shuffle(shuffled)
    one, other = Ref("a", **args), Ref("a", **dict(shuffled))
    assert one == other
    assert hash(one) == hash(other)
    assert content_hash(one) == content_hash(other)
    assert content_hash(args) == content_hash(dict(shuffled))


@quick
@given(arguments, plain)
def test_another_argument_is_another_content(args: dict[str, Any], value: Any) -> None:
    name = next(iter(args))
    changed = Ref("a", **args).replace(**{name: value})
    same = to_json(freeze(value)) == to_json(freeze(args[name])) and type(value) is type(args[name])
    assert (
        same
        or content_hash(changed) != content_hash(Ref("a", **args))
        or changed == Ref("a", **args)
    )
    assert content_hash(Ref("b", **args)) != content_hash(Ref("a", **args))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (1, "1"),
        (None, "None"),
        ((1, (2,)), (1, 2)),
        ({"ref": "a", "args": {}}, Ref("a")),
        ({"spec": "Variant", "name": "x"}, {"spec": "Variant", "name": "y"}),
        ({"=ref": 1}, {"ref": 1}),
    ],
)
def test_alike_contents_are_told_apart(one: Any, other: Any) -> None:
    assert content_hash(Ref("x", value=one)) != content_hash(Ref("x", value=other))
    assert Ref("x", value=one) != Ref("x", value=other)
    assert content_hash(Ref("x", value=-0.0)) == content_hash(Ref("x", value=0.0))


@quick
@given(arguments)
def test_pickled_and_copied_refs_are_equal(args: dict[str, Any]) -> None:
    ref = Ref("a", **args)
    for twin in (pickle.loads(pickle.dumps(ref)), copy.deepcopy(ref)):
        assert (twin, hash(twin)) == (ref, hash(ref))
        assert content_hash(twin) == content_hash(ref)


def test_a_hash_is_the_same_in_every_session() -> None:
    assert content_hash(Ref("round", bits=4), Budget(epochs=1), {"a": (1, 2.5, None)}) == (
        "a5f6b68192defe3b"
    )


def test_a_variant_shows_its_name_and_what_it_is_in_one_line() -> None:
    base = Variant("minilm", Training("sentiment"), name="base")
    assert repr(base) == "<Variant base: minilm trained on sentiment, fp32, eager>"
    small = base.replace(schemes=["dynamic_int8"], runtime="onnx", seed=2)
    assert repr(small) == (
        "<Variant base dynamic_int8 onnx: minilm trained on sentiment, dynamic_int8, onnx, seed 2>"
    )


def test_a_ref_is_frozen() -> None:
    ref = Ref("round", bits=4, more={"b": [1], "a": {2}})
    with pytest.raises(AttributeError, match="use ref.replace"):
        ref.name = "other"
    assert ref.args["more"] == {"a": (2,), "b": (1,)}
    assert str(ref.replace(more=None)) == "round(bits=4,more=None)"
    assert repr(Ref("round", bits=4)) == "Ref('round', bits=4)"
    assert hash(FrozenDict({"a": 1})) == hash(FrozenDict({"a": 1}))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), "a(x=...) is nan; a spec holds finite numbers only"),
        (float("inf"), "finite numbers only"),
        (print, "a(x=...) is a builtin_function_or_method; a spec holds numbers"),
        (np.zeros(2), "a(x=...) is a ndarray"),
        ({"deep": [object()]}, "a(x=...) is a object"),
    ],
)
def test_what_is_no_plain_value_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        Ref("a", x=value)
    assert sentence in str(caught.value)


@pytest.mark.usefixtures("toys")
class TestVariants:
    def training(self, **changes: Any) -> Training:
        return Training(**{"task": "toys", "budget": Budget(epochs=2), **changes})

    def variant(self, **changes: Any) -> Variant:
        return Variant(**{"architecture": "toy_encoder", "training": self.training(), **changes})

    @pytest.mark.parametrize(
        "changes",
        [
            {"architecture": Ref("toy_encoder", size=8)},
            {"training": None},
            {"schemes": ["w4"]},
            {"schemes": ["w4g32"]},
            {"runtime": "onnx"},
            {"seed": 1},
        ],
    )
    def test_every_field_is_content(self, changes: dict[str, Any]) -> None:
        assert content_hash(self.variant(**changes)) != content_hash(self.variant())
        assert self.variant(**changes) != self.variant()

    @pytest.mark.parametrize(
        "changes",
        [
            {"budget": Budget(epochs=1)},
            {"budget": Budget(epochs=2, examples=9)},
            {"rates": (1e-3,)},
            {"batch_size": 8},
            {"length": 64},
            {"warmup": 0.5},
            {"weight_decay": 0.0},
            {"dtype": "bfloat16"},
            {"trial_steps": 3},
        ],
    )
    def test_every_field_of_a_training_is_content(self, changes: dict[str, Any]) -> None:
        changed = self.variant(training=self.training(**changes))
        assert content_hash(changed) != content_hash(self.variant())

    def test_a_name_is_no_content(self) -> None:
        named = self.variant(name="base")
        assert (named, hash(named)) == (self.variant(), hash(self.variant()))
        assert content_hash(named) == content_hash(self.variant())
        assert content_hash(Run(named, Ref("cost"))) == content_hash(
            Run(self.variant(), Ref("cost"))
        )

    def test_defaults_and_short_names_are_filled_in(self) -> None:
        long = Ref("round", bits=4, group=32)
        assert self.variant(schemes=["w4g32"]) == self.variant(schemes=(long,))
        assert self.variant().architecture == Ref("toy_encoder")
        assert self.variant().architecture.args == {"size": 16}

    def test_names_are_made_and_kept(self) -> None:
        base = self.variant()
        assert base.name == "toy_encoder"
        quantized = base.replace(schemes=["w4g32"], runtime="onnx")
        assert quantized.name == "toy_encoder w4g32 onnx"
        assert (quantized.scheme_name, base.scheme_name) == ("w4g32", "fp32")
        named = self.variant(name="base")
        assert named.replace(seed=3).name == "base"
        assert named.replace(runtime="onnx").name == "base onnx"
        assert named.replace(schemes=["w8"]).replace(runtime="onnx").name == "base w8 onnx"
        assert named.replace(schemes=["w8"]).replace(schemes=()).name == "base"
        assert named.replace(architecture=Ref("toy_encoder", size=8)).name == "toy_encoder(size=8)"
        assert named.replace(name="other").name == "other"

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"seed": -1}, "Variant: seed is -1; Input should be greater than or equal to 0"),
            ({"schemes": "w4"}, "schemes='w4': expected a list, such as ['w4']"),
            ({"schemes": ["dynamic_int8", "w4"]}, "schemes out of order: dynamic_int8 (onnx)"),
            ({"architecture": "toy_encode"}, "Did you mean 'toy_encoder'?"),
            ({"runtime": "onx"}, "Did you mean 'onnx'?"),
            ({"architecture": 3}, "expected the name of a architecture or a Ref, got 3"),
        ],
    )
    def test_a_wrong_variant_is_refused(self, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(SpecError) as caught:
            self.variant(**changes)
        assert sentence in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"task": "toy"}, "Did you mean 'toys'?"),
            ({"rates": ()}, "Training: rates is (); Tuple should have at least 1 item"),
            ({"rates": (20,)}, "Training: rates.0 is 20; Input should be less than 10"),
            ({"dtype": "fp16"}, "dtype is 'fp16'; Input should be 'float32' or 'bfloat16'"),
            ({"warmup": 2}, "Training: warmup is 2; Input should be less than 1"),
            ({"batch_size": True}, "Training: batch_size is True; Input should be a valid integer"),
            ({"budget": Budget(parameters=9)}, "needs a Budget with tokens or epochs"),
            ({"budget": {"epochs": 1}}, "Input should be an instance of Budget"),
            ({"rate": 0.1}, "Training: unknown argument 'rate'. Did you mean 'rates'?"),
        ],
    )
    def test_a_wrong_training_is_refused(self, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(SpecError) as caught:
            self.training(**changes)
        assert sentence in str(caught.value)

    def test_specs_are_frozen_and_written_as_json(self) -> None:
        run = Run(self.variant(), Ref("classify", task="toys"))
        with pytest.raises(dataclasses.FrozenInstanceError):
            run.measurement = Ref("cost")  # type: ignore[misc]
        written = to_json(run)
        assert written["spec"] == "Run"
        assert written["variant"]["training"]["budget"]["epochs"] == 2
        assert written["measurement"] == {"ref": "classify", "args": {"task": to_json(Ref("toys"))}}


@pytest.mark.usefixtures("toys")
@quick
@given(
    st.sampled_from(["w4", "w4g32", Ref("round", bits=3), "dynamic_int8"]),
    st.sampled_from(["eager", "onnx"]),
    st.integers(0, 2**63 - 1),
    st.none() | st.builds(Training, st.just("toys"), st.builds(Budget, epochs=st.integers(1, 9))),
    st.none() | st.integers(1, 999),
)
def test_a_run_is_read_back_from_json(
    scheme: str | Ref, runtime: str, seed: int, training: Training | None, limit: int | None
) -> None:
    base = Variant(Ref("toy_encoder", size=8), training, seed=seed, name="base")
    variant = base.replace(schemes=[scheme], runtime=runtime)
    for asked in (
        Ref("classify", task="toys", limit=limit),
        Latency("toys", against=base),
    ):
        run = Run(variant, asked)
        again = from_json(json.loads(json.dumps(to_json(run))))
        assert (again, again.id, again.variant.name) == (run, run.id, variant.name)
        assert again.measurement.args == run.measurement.args


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"spec": "Runn"}, "is no spec that was written as JSON"),
        ({"spec": "Run", "variant": 1, "measurement": {"ref": "cost", "args": {}}}, "instance of"),
        ({"ref": "cost"}, "is no spec that was written as JSON"),
        ({"ref": 3, "args": {}}, "the name of a Ref is 3"),
        ({"spec": "Training", "task": {"ref": "toyz", "args": {}}}, "unknown task 'toyz'"),
        ({"spec": "Budget", "epoch": 1}, "Did you mean 'epochs'?"),
    ],
)
def test_what_is_no_spec_in_json_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        from_json(value)


@dataclasses.dataclass(frozen=True)
class Older(Spec):
    rate: float
    more: tuple[int, ...] = (1,)


def test_ids_of_many_runs_take_no_time(cells: Cells, registries: None) -> None:
    cells.run("""
        import kit
        @kit.register_scheme(form="module")
        def mine(model, *, bits: int = 4):
            return model
    """)
    base = Variant("minilm", Training("sentiment"), schemes=["mine"])
    asked = [Run(base, Ref("classify", task="sentiment", limit=n + 1)) for n in range(1000)]
    began = time.process_time()
    assert len({run.id for run in asked}) == len(asked)
    assert time.process_time() - began < 0.5  # 0.05 s where nothing else runs


def test_a_field_added_with_a_default_changes_no_content() -> None:
    @dataclasses.dataclass(frozen=True)
    class Newer(Older):
        added: int = 1

    Newer.__name__ = "Older"
    assert content_hash(Newer(0.1)) == content_hash(Older(0.1)) == content_hash(Older(0.1, (1,)))
    assert content_hash(Newer(0.1, added=2)) != content_hash(Older(0.1))
    assert content_hash(Newer(0.1, added=True)) != content_hash(Older(0.1))
    assert to_json(Training("sentiment")) == {"spec": "Training", "task": to_json(Ref("sentiment"))}


def test_numbers_of_other_libraries_are_pythons() -> None:
    training = Training("wikipedia", Budget(tokens=np.int64(9)), rates=np.float32(0.5))
    numbers = training.budget.tokens, training.rates[0]
    assert (numbers, [*map(type, numbers)]) == ((9, 0.5), [int, float])


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True, 2**63])
def test_a_budget_counts_in_whole_numbers(value: Any) -> None:
    with pytest.raises(SpecError, match="Budget: tokens is .*; Input should be"):
        Budget(tokens=value)
