"""The function by which a measurement is asked for: arguments in, a checked Ref out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from kit.entries import Registry
from kit.presets import Filled
from kit.ref import Ref
from kit.values import SpecError


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
    rules = {k: r for k, field in fields.items() for r in field.metadata if isinstance(r, Filled)}
    places = [key for key, field in fields.items() if field.is_required() and key not in rules]

    @functools.wraps(function)
    def ask(*given: Any, **args: Any) -> Ref:
        named = dict(zip(places, given, strict=False))
        if len(given) > len(places) or named.keys() & args:
            by_place = f"{', '.join(places) or 'nothing'} by place, once"
            raise SpecError(f"{name} takes {by_place}; name each other argument")
        args |= named
        fill = {key: rule.value(args) for key, rule in rules.items() if key not in args}
        return measurements.canonical(Ref(name, **fill, **args))

    shown = [
        parameters[key].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for key in places
    ]
    for key in [key for key in fields if key not in places]:
        shown.append(parameters[key].replace(default=rules.get(key, parameters[key].default)))
    ask.__signature__ = inspect.Signature(shown, return_annotation=Ref)  # type: ignore[attr-defined]
    return ask
