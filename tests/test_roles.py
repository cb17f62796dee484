"""An argument's role stands in its annotation: what it names, what it shifts, what it rounds."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from helpers import toy_variant

import kit
from kit import registry, roles
from kit.meaning import is_shifted
from kit.ref import Ref
from kit.spec import named
from kit.values import SpecError

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")


def registered() -> None:
    @kit.register_measurement(where="worker", artifacts=("classification",))
    def asked_otherwise(
        runner: Any,
        *,
        about: kit.TaskRef,
        part: kit.SplitName = "test",
        tone: Annotated[str, kit.Axis(neutral="plain")] = "plain",
        damage: kit.CorruptionRef = None,
        chunk: Annotated[int, kit.Rounding((1, 4))] = 32,
        fill: Annotated[str, kit.Rounding(("all",), modality="text")] = "batch",
    ) -> Any: ...


def asked(toys: Ref, **args: Any) -> Ref:
    return registry.measurements.canonical(Ref("asked_otherwise", about=toys, **args))


def test_roles_are_found_under_any_name(toys: Ref) -> None:
    registered()
    typos = Ref("typos", severity=2)
    plain, other = asked(toys), asked(toys, tone="rude", damage=typos, part="later")
    assert roles.data(other) == {"task": toys, "split": "later"}
    assert roles.shifted_by(plain) == {} == roles.shift_parts(plain)
    assert roles.shifted_by(other) == {"tone": "rude", "damage": typos}
    assert roles.shift_parts(other) == {"tone": "rude", "damage": "typos", "severity": 2}
    assert registry.measurements.canonical(roles.on_split(other, "test")) == plain
    assert roles.rounding(plain) == {"chunk": 32, "fill": "batch"}
    assert roles.repeats(plain, "image") == [{"chunk": 1}, {"chunk": 4}]
    assert roles.repeats(plain, "text") == [{"chunk": 1}, {"chunk": 4}, {"fill": "all"}]
    assert named(other) == [("tasks", toys), ("corruptions", typos)]
    assert named(plain) == [("tasks", toys)]


def test_a_condition_is_shifted_by_what_is_declared_as_an_axis() -> None:
    assert is_shifted("context=256;corruption=typos;severity=3")
    assert not is_shifted("context=256;tone=rude") and not is_shifted("")
    registered()
    assert is_shifted("context=256;tone=rude") and not is_shifted("chunk=1;varied=chunk")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"tone": "a;b"}, "'a;b' has a ; or ="),
        ({"tone": "two\nlines"}, "what shifts the items"),
        ({"damage": "typoz"}, "unknown corruption 'typoz'. Did you mean 'typos'?"),
        ({"damage": Ref("typos", severity=9)}, "severity"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_typed(
    toys: Ref, args: dict[str, Any], message: str
) -> None:
    registered()
    with pytest.raises(SpecError, match=message):
        kit.Run(toy_variant(toys), Ref("asked_otherwise", about=toys, **args))
