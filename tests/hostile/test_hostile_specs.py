"""Specs made of anything: refused in a sentence, or hashed apart from every other spec."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from attacks import NAMES, attempt, cases
from helpers import restored, toy_task
from hypothesis import given
from hypothesis import strategies as st

from kit.spec import registry
from kit.spec.checking import shown
from kit.spec.ref import Ref, content_hash, freeze, to_json
from kit.spec.spec import Budget, Run, Training, Variant, from_json


def own_member() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Rude:
    """Raises from whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


ODD = [
    *(None, True, 0, -1, 1.0, -0.0, 2**63, 10**5_000, math.nan, -math.inf, 1e308, "", b"x", 1j),
    *([], {}, (), {1, "a"}, {1: 2, "a": 3}, {None: 1}, range(3), object(), print, iter([1])),
    *(own_member(), Rude(), [Rude()], {"x": Rude()}, Path("x"), Ref("a"), Budget, Budget(epochs=1)),
    *(ValueError("x"), lambda: 0, "x" * 100_000, frozenset({2})),
]
PRINTED = [value for value in ODD if not isinstance(value, int) or abs(value) < 10**99]
odd = st.one_of(
    st.sampled_from(PRINTED),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.recursive(
        st.sampled_from([*PRINTED[:8], *NAMES[:9]]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
TRAINING = ("budget", "rates", "batch_size", "length", "warmup", "weight_decay", "dtype", "task")


def made(field: str, value: Any) -> Any:
    """Makes a spec with this value in this field."""
    if field in ("tokens", "epochs", "parameters", "examples"):
        return Budget(**{field: value})
    if field in (*TRAINING, "trial_steps"):
        return Training(**{"task": "toys", field: value})
    if field in ("seed", "name", "schemes", "runtime", "labels", "architecture", "training"):
        return Variant(**{"architecture": "majority", field: value})
    if field in ("limit", "split", "batch", "threads"):
        return registry.measurements.canonical(Ref("classify", task="toys", **{field: value}))
    if field in ("bits", "group", "nothing_of_this_name"):
        return registry.schemes.canonical(Ref("round", **{field: value}))
    return Run(value, Ref("cost")) if field == "variant" else Run(Variant("majority"), value)


FIELDS = (
    *("tokens", "epochs", "parameters", "examples", *TRAINING, "trial_steps", "seed", "name"),
    *("schemes", "runtime", "labels", "architecture", "training", "limit", "split", "batch"),
    *("threads", "bits", "group", "nothing_of_this_name", "variant", "measurement"),
)


@pytest.fixture(scope="module", autouse=True)
def toys(world: Path) -> Any:
    with restored():
        yield toy_task()


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_takes_a_value_or_refuses_it(field: str) -> None:
    def whole_spec(value: Any) -> None:
        spec = attempt(lambda: made(field, value))
        if spec is not None:
            assert pickle.loads(pickle.dumps(spec)) == spec == copy.deepcopy(spec)
            again = from_json(json.loads(json.dumps(to_json(spec), allow_nan=False)))
            assert (again, content_hash(again)) == (spec, content_hash(spec))

    @cases(8, 120)
    @given(odd)
    def try_it(value: Any) -> None:
        whole_spec(value)

    for value in ODD:
        whole_spec(value)
    try_it()


# few leaves and keys, those the written form uses among them, so that collisions would be found
leaves = st.sampled_from(
    [0, 1, 2, True, False, 0.0, 1.0, "", "0", "1", "True", "None", None, "ref"]
)
keys = st.sampled_from(["ref", "spec", "args", "name", "=ref", "==spec", "a", "Variant", "dtype"])
specs = st.builds(lambda name, args: Ref(name, **args), st.sampled_from(["a", "ref"]), st.just({}))
contents = st.recursive(
    leaves | specs | st.builds(Budget, epochs=st.sampled_from([1, 2])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(lambda args: Ref("a", **args), st.dictionaries(keys, inner, max_size=2))
        | st.builds(
            lambda args: {"ref": "a", "args": args}, st.dictionaries(keys, inner, max_size=2)
        )
        | st.builds(lambda inner: {"spec": "Variant", "name": "x", "a": inner}, inner)
    ),
    max_leaves=6,
)


def typed(value: Any) -> Any:
    """Returns a value with the type of each part beside it: equal where the content is."""
    if isinstance(value, Ref):
        return "Ref", value.name, typed(dict(value.args))
    if isinstance(value, Budget):
        return "Budget", repr(value)
    if isinstance(value, tuple | list):
        return "list", tuple(map(typed, value))
    if hasattr(value, "items"):
        return "dict", tuple((key, typed(value[key])) for key in sorted(value))
    return type(value).__name__, value


@cases(250, 4_000)
@given(contents, contents)
def test_two_contents_have_two_hashes(one: Any, other: Any) -> None:
    pairs = [(one, other), *((one, {"a": one, key: 1}) for key in ("ref", "spec")), ([one], one)]
    for first, second in pairs:
        a, b = Ref("x", value=first), Ref("x", value=second)
        same = typed(freeze(first)) == typed(freeze(second))
        assert (content_hash(a) == content_hash(b)) == same, (first, second)
        assert (a == b) == same, (first, second)
        assert from_json(json.loads(json.dumps(to_json(a)))) == a
    assert content_hash(Ref("x", value=one)) == content_hash(Ref("x", value=copy.deepcopy(one)))


@cases(30, 600)
@given(odd)
def test_any_value_is_shown(value: Any) -> None:
    text = attempt(lambda: shown(value))
    assert len(text) < 2_000
