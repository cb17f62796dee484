"""The registries: the one mechanism for what can be added.

The registries fill themselves on the first look-up, so that importing the kit stays cheap.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any, cast

from kit.spec.arguments import positional
from kit.spec.checking import SpecError, suggest
from kit.spec.entries import F, Registry
from kit.spec.entry import Entry
from kit.spec.kinds import Quantity, artifacts

GIVES = ("forward", "decode")
"""What a session may do (`kit.runtimes.session`)."""
ROWS = ("rows",)
"""What a derived metric reads, in the place of kinds of artifact."""
KINDS = ("causal", "encoder", "vision", "predictor", "pretrained")
MODALITIES = ("text", "image")
BESIDE = {"module": ("state",)}
"""Of a form those that no exporter makes: a module's session keeps a state while it decodes."""

__all__ = ["Entry", "Registry", "artifacts"]

architectures = Registry(
    "architecture",
    "kit.architectures",
    ("vocab_size", "train", "classes", "image_shape"),
    ("width", "feed_forward"),
    {"hf:": ("pretrained", "source")},
)
tasks = Registry("task", "kit.tasks", ())
schemes = Registry(
    "scheme",
    "kit.compression",
    ("model", "path", "output", "fitted", "keys", "values", "attention", "positions", "layer"),
)
exporters = Registry(
    "exporter", "kit.runtimes", ("model", "inputs", "checkpoint", "path", "output")
)
runtimes = Registry("runtime", "kit.runtimes", ("model", "path", "threads", "kept"))
measurements = Registry("measurement", "kit.measurements", ("runner", "driver"))
metrics = Registry("metric", "kit.analysis.metrics", None)
corruptions = Registry("corruption", "kit.corruptions", ("text", "pixels", "rng"))
REGISTRIES = {
    "architectures": architectures,
    "schemes": schemes,
    "exporters": exporters,
    "runtimes": runtimes,
    "tasks": tasks,
    "measurements": measurements,
    "metrics": metrics,
    "corruptions": corruptions,
    "artifacts": artifacts,
}


def counted(*, own: bool = False) -> dict[str, Quantity]:
    """Returns what measurements may record, by name; of those outside the package (`own`) alone."""
    entries = map(measurements.get, measurements.names())
    chosen = [entry for entry in entries if not (own and entry.in_kit)]
    return {name: each for entry in chosen for name, each in entry.traits["quantities"].items()}


def direction(name: str) -> bool | None:
    """Returns whether more of a metric or of a recorded quantity is better.

    None where it has no direction or is not registered in this session.
    """
    if name in metrics:
        better: bool | None = metrics.get(name).traits["higher_is_better"]
        return better
    return counted()[name].higher_is_better if name in counted() else None


def with_traits(*traits: str) -> Callable[[F], F]:
    """Refuses what a decorator does not know, before Python says that another thing is missing.

    Args:
        *traits: names that it takes as `**traits`, beside its own parameters.
    """

    def wrap(decorator: F) -> F:
        own = [name for name in inspect.signature(decorator).parameters if name != "traits"]

        @functools.wraps(decorator)
        def checked(*args: Any, **given: Any) -> Any:
            unknown = [name for name in given if name not in (*own, *traits)]
            if unknown:
                sentence = suggest(unknown[0], (*own, *traits), "trait")
                raise SpecError(f"{decorator.__name__}: {sentence}")
            return decorator(*args, **given)

        return cast(F, checked)

    return wrap


def routes(source: str = "module") -> dict[str, list[Entry]]:
    """Returns each form that a form leads to, itself too, and the exporters on the shortest way."""
    found: dict[str, list[Entry]] = {form: [] for form in (source, *BESIDE.get(source, ()))}
    known = [exporters.get(name) for name in exporters.names()]
    while more := {
        each.traits["target"]: [*found[each.traits["source"]], each]
        for each in known
        if each.traits["source"] in found and each.traits["target"] not in found
    }:
        found |= more
    return found


def as_it_is(form: str) -> bool:
    """Says whether a form is the very file that a model was read from: nothing else leads there."""
    return any("model" not in positional(each.function) for each in routes().get(form, ())[:1])


def abilities(names: Iterable[str]) -> tuple[str, ...]:
    """Returns what a runtime gives or a measurement needs, one of `GIVES` each; else SpecError."""
    for name in (names := (names,) if isinstance(names, str) else tuple(names)):
        if name not in GIVES:
            raise SpecError(suggest(name, GIVES, "thing that a runtime gives"))
    return names


def wanted(kinds: Iterable[str], which: str, names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Returns the metrics that are computed of kinds of artifact.

    Args:
        kinds: of artifact.
        which: `metrics`, `group_metrics` or `shifted_metrics`.
        names: of metrics; where none of them reads a kind, and where not given, those of the kind.

    Raises:
        SpecError: a name that is not registered.
    """
    if names is None:
        names, read = (), set()
    else:
        names = (names,) if isinstance(names, str) else tuple(names)
        read = {kind for name in names for kind in metrics.get(name).traits["artifacts"]}
        read |= set() if names else set(artifacts.names())
    own = [artifacts.get(kind).traits[which] for kind in kinds if kind not in read]
    return tuple(dict.fromkeys([*names, *itertools.chain(*own)]))


def check_read(kinds: Iterable[str], which: str, names: Iterable[str] | None) -> None:
    """Checks that each metric that is asked for reads one of the kinds of artifact there are.

    Raises:
        SpecError: one reads none of them.
    """
    there = {*kinds, *ROWS}
    for name in (names,) if isinstance(names, str) else names or ():
        reads = metrics.get(name).traits["artifacts"]
        if not there & {*reads}:
            known = [
                each for each in metrics.names() if there & {*metrics.get(each).traits["artifacts"]}
            ]
            raise SpecError(
                f"{which}: {name} is a metric of {', '.join(reads)}, which this study does not "
                f"have; of what it has there are {', '.join(known)}"
            )


def user_entries() -> list[tuple[str, Entry]]:
    """Returns what was registered outside the package, to be sent to workers by value."""
    return [
        (kind, entry)
        for kind, registry in REGISTRIES.items()
        for entry in registry._entries.values()
        if not entry.in_kit
    ]
