"""Sizes: `smoke` for tests, `default` for a laptop, `full` for a night.

A preset changes sizes and nothing else: the same code runs under all three. A size stands beside
what it sizes, and an argument that is given wins over it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kit.spec.checking import SpecError, suggest

VARIABLE = "KIT_PRESET"
T = TypeVar("T")


class Filled:
    """In an argument's `Annotated`: what is filled in where a measurement is asked for without."""

    def value(self, args: Mapping[str, Any]) -> Any:
        """Returns what is filled in, beside the arguments that are given."""
        raise NotImplementedError


@dataclass(frozen=True)
class Preset(Filled):
    """The size of an argument under each preset."""

    smoke: Any
    default: Any
    full: Any

    def value(self, args: Mapping[str, Any]) -> Any:
        """Returns the size under the preset in force."""
        return getattr(self, preset_name())

    def __str__(self) -> str:
        return f"{self.smoke}, {self.default}, {self.full} by preset"


def of(*, smoke: T, default: T, full: T) -> T:
    """Returns the size under the preset in force.

    Raises:
        SpecError: `KIT_PRESET` names no preset.
    """
    size: T = Preset(smoke, default, full).value({})
    return size


def preset_name() -> str:
    """Name of the preset in force: `KIT_PRESET`, or `default`.

    Raises:
        SpecError: `KIT_PRESET` names no preset.
    """
    name = os.environ.get(VARIABLE) or "default"
    if name not in Preset.__annotations__:
        raise SpecError(f"{VARIABLE}: {suggest(name, Preset.__annotations__, 'preset')}")
    return name
