"""What an argument of a measurement is to the kit: it stands in its annotation, never in its name.

    def prompted(runner, *, task: kit.TaskRef, split: kit.Split = "test",
                 batch_size: Annotated[int, kit.Rounding((1, 8))] = 32,
                 template: Annotated[str, kit.Axis(neutral="plain")] = "plain") -> kit.Raw: ...

An argument without a role is a setting: runs in which it differs are never set against each other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from kit.spec import registry
from kit.spec.checking import SpecError, check_name, shown
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from pydantic import ValidationInfo


class Role:
    """What an argument is; `kind` is that of what its values name, None where they are plain."""

    kind: str | None = None

    def read(self, value: Any) -> Any:
        """Returns a value as a Ref holds it; raises SpecError where it cannot be such."""
        return value if self.kind is None else registry.REGISTRIES[self.kind].canonical(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import BeforeValidator

        return BeforeValidator(self.read).__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class Data(Role):
    """Says on which data, and in which key column of a row: `task`, or the `split` of it."""

    column: str
    kind: str | None = None


@dataclass(frozen=True)
class Axis(Role):
    """Makes a shifted copy of the same items, which keep their ids, as a corruption does.

    A run on a copy is set against the run on the items as they are, and stands in the condition of
    its rows by the argument's name: `corruption=typos;severity=3`.

    Attributes:
        kind: of what its values name, such as `corruptions`; None: they are plain values.
        neutral: the value that leaves the items as they are.
        alike: no value is worse than another by intention, as of ways to word a question: their
            spread is told, and whether the order of variants survives it.
    """

    kind: str | None = None
    neutral: Any = None
    alike: bool = False

    def read(self, value: Any) -> Any:
        if value == self.neutral:
            return value
        if isinstance(value, str) and re.search("[;=]", check_name(value, "what shifts the items")):
            raise SpecError(f"{shown(value)} has a ; or =; conditions of rows need a plain name")
        return super().read(value)


@dataclass(frozen=True)
class Rounding(Role):
    """May change nothing but rounding, as the size of a batch: its repeats are the noise floor.

    Attributes:
        others: values that a repeat tries.
        modality: of the examples to which it means something, `text` or `image`; empty: both.
    """

    others: tuple[Any, ...] = ()
    modality: str = ""


class Kept(Role):
    """Keeps more of what is measured, and changes nothing: runs that differ in it are compared."""


TaskRef = Annotated[Ref, Data("task", "tasks")]
"""An argument that names a task."""


def task_before(info: ValidationInfo) -> Ref | None:
    """Returns the task that an argument before the one that is checked names; None where none."""
    refs = (each for each in info.data.values() if isinstance(each, Ref))
    return next((ref for ref in refs if ref.name in registry.tasks.names()), None)


def roles(ask: Ref, role: type[Role] = Role) -> dict[str, Any]:
    """Returns the role of each argument of a measurement that has one, or has the one given."""
    found = _roles(ask.name, registry.measurements.get(ask.name).function)
    return {name: each for name, each in found.items() if isinstance(each, role)}


@functools.lru_cache(256)
def _roles(name: str, _: Callable[..., Any]) -> dict[str, Role]:
    """Returns the roles in a function's annotations, as long as the name stands for it."""
    fields = registry.measurements.arguments(name).items()
    return {n: each for n, field in fields for each in field.metadata if isinstance(each, Role)}


def data(ask: Ref) -> dict[str, Any]:
    """Returns on which data a measurement is asked, by key column: a Ref and a split's name."""
    return {role.column: ask.args.get(name) for name, role in roles(ask, Data).items()}


def on_split(ask: Ref, split: str) -> Ref:
    """Returns the same measurement on another split, its items as they are."""
    splits = {n: split for n, role in roles(ask, Data).items() if role.column == "split"}
    return ask.replace(**splits, **{n: role.neutral for n, role in roles(ask, Axis).items()})


def shifted_by(ask: Ref) -> dict[str, Any]:
    """Returns the arguments that make a shifted copy of the items; empty where there is none."""
    values = {n: (ask.args.get(n, axis.neutral), axis) for n, axis in roles(ask, Axis).items()}
    return {n: value for n, (value, axis) in values.items() if value != axis.neutral}


def shift_parts(ask: Ref) -> dict[str, Any]:
    """Returns what a shift adds to the condition of rows: its name, and the arguments of a Ref."""
    parts: dict[str, Any] = {}
    for name, value in shifted_by(ask).items():
        more = {name: value.name, **value.args} if isinstance(value, Ref) else {name: value}
        parts |= {f"{name}_{key}" if key in parts else key: each for key, each in more.items()}
    return parts


def compared(ask: Ref) -> Ref:
    """Returns what runs share that are set against each other: all but what is `Kept`."""
    return ask.replace(**dict.fromkeys(roles(ask, Kept)))


def rounding(ask: Ref) -> dict[str, Any]:
    """Returns the arguments that may change nothing but rounding, sorted by name."""
    return {name: ask.args.get(name) for name in sorted(roles(ask, Rounding))}


def repeats(ask: Ref, modality: str) -> list[dict[str, Any]]:
    """Returns the arguments of the repeats whose flips are the floor under all flips."""
    found = roles(ask, Rounding).items()
    fits = [(name, role) for name, role in found if role.modality in ("", modality)]
    return [{name: value} for name, role in fits for value in role.others]


def axes() -> set[str]:
    """Returns the names of the arguments that make shifted copies, of all measurements."""
    return {name for ask in registry.measurements.names() for name in roles(Ref(ask), Axis)}


def saves(ask: Ref) -> str:
    """Returns the kind of artifact that a measurement saves: of quality, that of its task."""
    task = data(ask).get("task")
    if isinstance(task, Ref):
        kind = TASKS[registry.tasks.get(task.name).traits["kind"]]
        if ask.name == kind.quality:
            return kind.artifact
    kinds: tuple[str, ...] = registry.measurements.get(ask.name).traits["artifacts"]
    return kinds[0]
