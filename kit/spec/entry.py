"""What a registry knows of one thing that was registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.spec.definition_hash import source_hash
from kit.spec.ref import content_hash


@dataclass(frozen=True)
class Entry:
    """One registered function and what its registry knows about it."""

    name: str
    function: Callable[..., Any]
    owner: tuple[str, str]
    declared_version: int | str | None
    aliases: Mapping[str, Mapping[str, Any]]
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The integer raised by hand in a package, else the hash of the definition."""
        if self.declared_version is not None:
            return str(self.declared_version)
        if self.in_kit:
            return "1"
        own, fit = source_hash(self.function), self.traits.get("fit")
        return own if fit is None else content_hash(own, source_hash(fit))

    @property
    def in_kit(self) -> bool:
        return self.owner[0].split(".")[0] == "kit"

    @property
    def summary(self) -> str:
        """First line of the docstring, for lists."""
        return (inspect.getdoc(self.function) or "").split("\n", maxsplit=1)[0]
