"""The decorator of what is computed from rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kit.spec.arguments import positional
from kit.spec.checking import SpecError, suggest
from kit.spec.entries import F
from kit.spec.registry import ROWS, metrics


def register_derived(
    *,
    unit: str,
    higher_is_better: bool | None,
    reads: Iterable[str] = (),
    name: str | None = None,
    version: int | None = None,
) -> Callable[[F], F]:
    """Registers rows from rows, a metric of a whole study: `f(rows)` gets those of what it reads.

    It gives mappings of a row's columns: the key of a row that it read (`kit.key_of`), a `value`
    and, where there is one, its interval. It gets measured rows alone; of a variant that lacks one,
    and that it gives nothing of, the reason is a row.

    Args:
        unit: of the value.
        higher_is_better: its direction; None where there is none.
        reads: names of metrics, changes and other statistics; where a study has no rows of one of
            them it gives none. Without any, it asks by name for what runs saved: `artifacts`, ...
        name: of its rows' `metric`; the function's where not given.
        version: raise it when results change; notebook cells leave it out.
    """
    reads = tuple(reads)
    traits: Any = {"artifacts": ROWS, "reads": reads}
    traits |= {"higher_is_better": higher_is_better, "unit": unit}
    given = ("rows",) if reads else ("artifacts", "samples", "baseline", "again", "lost")

    def register(function: F) -> F:
        for parameter in set(positional(function)) - {*given}:
            raise SpecError(f"reads={reads}: " + suggest(parameter, given, "parameter"))
        return metrics.register(function, name=name, version=version, **traits)

    return register
