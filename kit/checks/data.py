"""Contract tests of tasks, measurements and metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import tasks
from kit.analysis.derived import derive
from kit.analysis.evaluate import evaluate
from kit.analysis.inputs import FITTED, LABELS, Source, needs, required, role_of
from kit.analysis.rows import records
from kit.analysis.sample import Sample
from kit.checks.tiny import IMAGES, REVIEWS, TEXTS, Broken, Test, expect, variants
from kit.spec import registry
from kit.spec.asking import filled
from kit.spec.checking import SpecError, Undefined
from kit.spec.entries import Entry
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store
from kit.store.results import row, to_frame
from kit.tasks.prepare import Prepared
from kit.tasks.splits import check as check_splits
from kit.tasks.splits import fingerprint, finished

if TYPE_CHECKING:
    from kit.measurements.interface import Raw

MOST_ITEMS = 2000
"""A task with more is not prepared a second time, which may take a minute."""
SMALL: Mapping[str, Any] = {
    "limit": 4,
    "batch_size": 2,
    "batch_sizes": (2,),
    "lengths": (8,),
    "launches": 1,
    "seconds": 0.01,
    "wait": 0.0,
}
"""Arguments of a measurement that make it quick, where it has them and they are not given."""


def task(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a task, on its own data."""
    about, loaded = tasks.describe(ref), tasks.load(ref)
    frames = {split: rows.to_pandas() for split, rows in loaded.data.items()}

    def read() -> str:
        sizes = {split: len(frame) for split, frame in frames.items()}
        expect(sizes == about["sizes"], f"it is described as {about['sizes']} and has {sizes}")
        return ", ".join(f"{split} {size:,}" for split, size in sizes.items())

    def sorted_by_id() -> None:
        for split, frame in frames.items():
            expect(frame["id"].is_monotonic_increasing, f"{split} is not sorted by id")

    def shifts() -> str:
        for name in loaded.shifts:
            expect({name, f"{name}/validation"} <= set(frames), f"{name} lacks a split")
        expect(loaded.rule or not loaded.shifts, "no rule says how near and far were told apart")
        return loaded.rule

    def again() -> str:
        if sum(about["sizes"].values()) > MOST_ITEMS:
            return f"skipped: more than {MOST_ITEMS:,} items"
        given = entry.function(**ref.args)
        splits = given.splits if isinstance(given, Prepared) else given
        found = {name: fingerprint(finished(rows)) for name, rows in splits.items()}
        other = [name for name, print_ in about["fingerprints"].items() if found[name] != print_]
        expect(not other, f"prepared twice, {', '.join(other)} differs: give what is drawn a seed")
        return ""

    yield "has the splits and sizes it says", read
    yield (
        "has columns and labels in splits that share no item",
        lambda: check_splits(ref.name, frames, entry.traits),
    )
    yield "takes the first items by content hash", sorted_by_id
    yield "says what its shifts are", shifts
    yield "is the same when prepared again", again


def with_small_arguments(ref: Ref) -> Ref:
    """Returns a measurement's Ref with arguments that make it quick, and data to measure on."""
    known = registry.measurements.arguments(ref.name)
    small = {name: value for name, value in SMALL.items() if name in known} | dict(ref.args)
    found = filled(registry.measurements, Ref(ref.name, **small))
    if "task" in known and "task" not in small:
        found = found.replace(task=TEXTS)
        with contextlib.suppress(SpecError):
            return registry.measurements.canonical(found)
        found = found.replace(task=REVIEWS)
    return found


def measurement(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a measurement, which measures a tiny classifier and language model."""
    declared = entry.traits["artifacts"]
    raws, reasons = measured(entry, ref)
    if not raws:
        broken = [error for error in reasons if not isinstance(error, Undefined)]
        if broken:
            raise Broken("; ".join(dict.fromkeys(map(str, broken))))
        yield "measures a tiny model", lambda: f"skipped: undefined here, {reasons[0]}"
        return

    def kinds() -> str:
        for raw in raws:
            expect(raw.kind in declared, f"gave {raw.kind!r}; it declares {', '.join(declared)}")
        return ", ".join(raw.kind for raw in raws)

    def kept() -> None:
        run = Run(variants()[0][0], ref)
        for raw in raws:
            saved = store.Artifact(run, "check", raw.kind, raw.columns, raw.info)
            if (problem := Sample(saved).problem) is not None:
                raise Broken(str(problem))
            store.save(saved)
            found = store.load(run, "check").columns
            expect(set(found) == set(raw.columns), "what was saved has other columns")

    yield "gives an artifact of a kind it declares", kinds
    yield "can be saved and read", kept


def measured(entry: Entry, ref: Ref) -> tuple[list[Raw], list[Exception]]:
    """Measures each tiny variant here; returns what was had, and why there is no more."""
    import torch

    raws: list[Raw] = []
    reasons: list[Exception] = []
    threads = torch.get_num_threads()
    for variant, data in variants():
        args = dict(ref.args)
        args |= {"task": data} if args.get("task") in (TEXTS, REVIEWS) else {}
        args |= {"against": variant} if args.get("against", variant) is None else {}
        args |= {"lengths": ("task",)} if data == IMAGES and "lengths" in args else {}
        try:
            run = Run(variant, Ref(ref.name, **args))
            raws.append(_measure(entry, run))
        except Exception as error:
            reasons.append(error)
    torch.set_num_threads(threads)
    return raws, reasons


def _measure(entry: Entry, run: Run) -> Raw:
    from kit.analysis.stopping import Stopping
    from kit.machine.workers import inline
    from kit.measurements.interface import Bench, Driver

    if entry.traits["where"] != "driver":
        return Bench().measure(run)
    driver = Driver(run.variant, inline, {}, lambda *_: None, lambda _: None, Stopping)
    raw: Raw = entry.function(driver, **run.measurement.args)
    return raw


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
