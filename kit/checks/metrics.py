"""Contract tests of metrics, and of the kinds of artifact that they read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from kit.analysis.derived import derive
from kit.analysis.evaluate import evaluate
from kit.analysis.inputs import FITTED, LABELS, Source, needs, required, role_of
from kit.analysis.rows import records
from kit.analysis.sample import Sample
from kit.checks.tiny import Broken, Test, expect
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.entry import Entry
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store
from kit.store.results import row, to_frame


def metric(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a metric, on a small artifact of each kind it reads."""
    kinds = entry.traits["artifacts"]
    if kinds == registry.ROWS:
        yield "gives rows of what it reads", partial(_derived, entry)
        yield "gives the same again", partial(_derived_again, entry)
        return
    for kind in kinds:
        for what, test in _metric_of(entry, kind):
            yield (f"{what} ({kind})" if len(kinds) > 1 else what), test


def _derived(entry: Entry) -> str:
    """Derives rows of two variants."""
    wrong = [one["note"] for one in _rows_of(entry) if one["status"] == "error"]
    expect(not wrong, "".join(wrong[:1]))
    return f"reads {' and '.join(entry.traits['reads']) or 'artifacts'}"


def _derived_again(entry: Entry) -> None:
    """Derives twice."""
    expect(_rows_of(entry) == _rows_of(entry), "the same rows gave others the second time")


def _rows_of(entry: Entry) -> list[dict[str, str]]:
    """Returns what a derivation gives of two variants, as it is written in a table."""
    reads, about = entry.traits["reads"], {"seed": 0, "split": "test", "value": 0.5, "n": 4}
    rows = [row(variant=name, metric=each, **about) for name in "ab" for each in reads]
    nothing: dict[str, Any] = {"artifacts": (), "samples": (), "baseline": None}
    made = derive([entry.name], rows, **nothing, again={}, lost={})
    return [{str(key): str(value) for key, value in one.items()} for one in records(to_frame(made))]


def _metric_of(entry: Entry, kind: str) -> Iterator[Test]:
    given = _example(kind, entry.traits.get("where") or {})
    order = np.random.default_rng(1).permutation(len(next(iter(given.values()))))
    value = partial(_values, entry, kind)

    def pure() -> None:
        before = {name: column.copy() for name, column in given.items()}
        value(given)
        changed = [name for name, column in before.items() if not (column == given[name]).all()]
        expect(not changed, f"it changed {', '.join(changed)}; compute on a copy")

    def in_any_order() -> None:
        found, other = value(given), value({name: column[order] for name, column in given.items()})
        same = found.keys() == other.keys() and all(
            np.isclose(found[key], other[key], rtol=1e-6) for key in found
        )
        expect(same, f"{found} became {other} when the items were put in another order")

    def same_again() -> None:
        expect(value(given) == value(given), "it gave another value the second time")

    try:
        with contextlib.suppress(SpecError):  # the first test says it
            value(given)
    except Undefined as error:
        reason = f"skipped: undefined here, {error}"
        yield "gives a number, or one an item", lambda: reason
        return
    yield "gives a number, or one an item", lambda: f"{[*value(given).values()][0]:.4g}"
    yield "leaves its input as it is", pure
    yield "gives the same again", same_again
    yield "takes no notice of the order of items", in_any_order


def _values(entry: Entry, kind: str, given: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the metric's value by condition; other runs that it needs gave the same columns.

    Raises:
        SpecError: it fails, or the columns are not all that it reads.
        Undefined: they are, and it says that it has no value here.
    """
    artifact = store.Artifact(Run(Variant(Ref("majority")), Ref("cost")), "check", kind, given)
    sample = Sample(artifact, dict.fromkeys(needs(entry), artifact))
    there = {FITTED, LABELS, *given, *registry.artifacts.get(kind).traits["derived"]}
    read = {name.removeprefix(f"{role_of(name)}_") for name in required(entry.function)}
    found = {}
    for estimate in evaluate(entry, sample):
        if estimate.status == "undefined" and read <= there:
            raise Undefined(estimate.note)
        if estimate.status != "ok":
            raise SpecError(estimate.note)
        found[estimate.condition] = estimate.value
    return found


def _example(kind: str, where: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the example of a kind, all of whose records have what the metric reads (`where`)."""
    columns: dict[str, np.ndarray] = dict(registry.artifacts.get(kind).function())
    size = len(next(iter(columns.values())))
    return columns | {name: np.full(size, value) for name, value in where.items()}


def artifact(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a kind of artifact, on its example."""
    columns, traits = _example(entry.name, {}), entry.traits
    run = Run(Variant(Ref("majority")), Ref("cost"))
    sample = Sample(store.Artifact(run, "check", entry.name, columns))

    def whole() -> str:
        unknown = set(columns) - {*traits["columns"], *traits["optional"]}
        expect(not unknown, f"its example has {_few(unknown)}, which it does not declare")
        if sample.problem is not None:
            raise Broken(str(sample.problem))
        for name in traits["derived"]:
            column = Source.of(sample).get(name)
            same = column is not None and len(column) == len(next(iter(columns.values())))
            expect(same, f"it derives {name} without a value a record")
        return _few([*columns, *traits["derived"]])

    def named() -> str:
        names = [*traits["metrics"], *traits["group_metrics"], *traits["shifted_metrics"]]
        for name in names:
            reads = registry.metrics.get(name).traits["artifacts"]
            expect(entry.name in reads, f"{name} is a metric of {_few(reads)}")
        return _few(set(names))

    yield "has an example with the columns it declares", whole
    yield "names metrics that read it", named


def _few(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
