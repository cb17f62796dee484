"""The function by which a measurement is asked for: arguments in, a checked Ref out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kit.spec.checking import SpecError
from kit.spec.entries import Registry
from kit.spec.presets import Filled
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def filled(measurements: Registry, ref: Ref) -> Ref:
    """Returns a Ref with what it lacks and a `Preset` sizes filled in."""
    fields = measurements.arguments(ref.name).items()
    rules = {key: each for key, field in fields if key not in ref.args for each in _rules(field)}
    return Ref(ref.name, **{key: rule.value(ref.args) for key, rule in rules.items()}, **ref.args)


def _rules(field: FieldInfo) -> list[Filled]:
    return [rule for rule in field.metadata if isinstance(rule, Filled)]


def asking(measurements: Registry, function: Callable[..., Any]) -> Callable[..., Ref]:
    """Returns what a notebook calls in place of a measurement's own function.

    It has that function's name, text and arguments, those that must be given first, also by place.
    What is not given and has a `Preset` is filled in, so that it is content of the Ref.

    Args:
        measurements: the registry, which has the function.
        function: as it was defined, called with a runner or a driver when a run is done.
    """
    name, parameters = function.__name__, inspect.signature(function).parameters
    fields = measurements.arguments(name)
    places = [key for key, field in fields.items() if field.is_required() and not _rules(field)]

    @functools.wraps(function)
    def ask(*given: Any, **args: Any) -> Ref:
        named = dict(zip(places, given, strict=False))
        if len(given) > len(places) or named.keys() & args:
            by_place = f"{', '.join(places) or 'nothing'} by place, once"
            raise SpecError(f"{name} takes {by_place}; name each other argument")
        return measurements.canonical(filled(measurements, Ref(name, **named, **args)))

    shown = [
        parameters[key].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for key in places
    ]
    for key in [key for key in fields if key not in places]:
        usual = [*_rules(fields[key]), parameters[key].default]
        shown.append(parameters[key].replace(default=usual[0]))
    ask.__signature__ = inspect.Signature(shown, return_annotation=Ref)  # type: ignore[attr-defined]
    return ask
