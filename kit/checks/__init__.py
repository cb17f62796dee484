"""Contract tests: whether what is registered keeps the promises of its kind (CONTRIBUTING.md).

They run in seconds, on tiny models and data in a store of their own; a task alone is tested on its
own data. A test is a name and a function that raises what is wrong or returns a remark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from kit.checks import corruptions, data, forms, metrics, models, pretrained, tiny
from kit.spec.checking import SpecError, Undefined, suggest
from kit.spec.ref import Ref
from kit.spec.registry import REGISTRIES, Entry, as_it_is

__all__ = ["Check", "check"]

TESTS: dict[str, Callable[[Entry, Ref], Iterator[tiny.Test]]] = {
    "architectures": models.architecture,
    "schemes": forms.scheme,
    "exporters": forms.exporter,
    "runtimes": forms.runtime,
    "tasks": data.task,
    "measurements": data.measurement,
    "metrics": metrics.metric,
    "corruptions": corruptions.corruption,
    "artifacts": metrics.artifact,
}


class Check(NamedTuple):
    """One contract test: what was tested, whether it held, and what was seen."""

    check: str
    passed: bool
    message: str


def check(name: str | Ref, task: str | Ref | None = None) -> list[Check]:
    """Runs the contract tests of whatever a name stands for.

    Args:
        name: a registered or short name, `hf:./folder`, or a Ref where arguments have no default.
            `schemes/round` says the kind where two share a name.
        task: of a pretrained model, the task whose texts and labels it is tried on.

    Returns:
        One `Check` a promise. What raises is a failed check with the error's sentence.

    Raises:
        SpecError: no such name, or one of two kinds.
    """
    kind, ref = _find(name if isinstance(name, Ref) else Ref(name))
    if task is not None:
        if kind != "architectures":
            raise SpecError(f"{ref.name} is no model: task={task!r} means nothing to it")
        return list(_checks(kind, ref, REGISTRIES["tasks"].canonical(task)))
    if kind == "tasks":
        return list(_checks(kind, ref))
    with tiny.world():
        return list(_checks(kind, ref))


def _find(ref: Ref) -> tuple[str, Ref]:
    """Returns the kind of what a Ref names, and the Ref without the kind before its name."""
    kind, slash, bare = ref.name.partition("/")
    kinds = [kind for kind, each in REGISTRIES.items() if ref.name in each]
    if not kinds and Path(ref.name).is_dir():
        REGISTRIES["architectures"].get(ref.name)  # raises, and says how it is named
    if slash and not kinds:
        if kind not in REGISTRIES:
            raise SpecError(suggest(kind, REGISTRIES, "kind"))
        ref, kinds = Ref(bare, **ref.args), [kind]
        if bare not in REGISTRIES[kind]:
            REGISTRIES[kind].get(bare)  # raises
    if not kinds:
        known = {name for each in REGISTRIES.values() for name in [*each.names(), *each.aliases()]}
        raise SpecError(suggest(ref.name, known, "name"))
    if len(kinds) > 1:
        options = " or ".join(f"{kind}/{ref.name}" for kind in kinds)
        raise SpecError(f"{ref.name!r} is the name of two kinds: say {options}")
    return kinds[0], ref


def _checks(kind: str, ref: Ref, task: Ref | None = None) -> Iterator[Check]:
    tests = _all_tests(kind, ref, task)
    while True:
        try:
            what, test = next(tests)
        except StopIteration:
            return
        except Exception as error:  # what the tests start from is missing: none of them can be run
            yield Check("can be made", False, _sentence(error))
            return
        try:
            yield Check(what, True, test() or "")
        except Exception as error:
            yield Check(what, False, _sentence(error))


def _all_tests(kind: str, ref: Ref, task: Ref | None) -> Iterator[tiny.Test]:
    if kind == "architectures" and ref == Ref("pretrained"):
        yield "has a model to load", lambda: "skipped: name a folder, kit.check('hf:./folder')"
        return
    if kind == "measurements":
        ref = data.with_small_arguments(ref)
    if kind == "corruptions":
        ref = Ref(ref.name, **{"severity": 1, **ref.args})
    ref = REGISTRIES[kind].canonical(ref)
    entry = REGISTRIES[kind].get(ref.name)
    if kind not in ("metrics", "artifacts"):  # what no run id holds
        yield "has a version", lambda: f"version {entry.version}"
    if not entry.in_kit:
        yield "travels to a worker process", lambda: tiny.travels(entry)
    if entry.traits.get("kind") == "pretrained":
        yield from pretrained.pretrained(ref, task)
        return
    form = entry.traits.get({"exporters": "target", "runtimes": "form"}.get(kind, ""))
    if form is not None and as_it_is(form):
        yield "has a file to run", lambda: "skipped: none of the tiny models was read from a file"
        return
    yield from TESTS[kind](entry, ref)


def _sentence(error: Exception) -> str:
    plain = isinstance(error, SpecError | Undefined | tiny.Broken)
    return str(error) if plain else f"{type(error).__name__}: {error}"
