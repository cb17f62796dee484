"""Contract tests of tasks and measurements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kit import tasks
from kit.analysis.sample import Sample
from kit.checks.tiny import (
    HARNESS,
    IMAGES,
    PROMPTS,
    QUIZ,
    REVIEWS,
    TEXTS,
    Broken,
    Test,
    expect,
    variants,
)
from kit.spec import registry
from kit.spec.asking import filled
from kit.spec.checking import SpecError, Undefined
from kit.spec.entry import Entry
from kit.spec.ref import Ref
from kit.spec.spec import Run
from kit.store import store
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
    "prompts": (8,),
    "contexts": (8,),
    "guesses": ("none",),
    "requests": (2,),
    "launches": 1,
    "seconds": 0.01,
    "depths": (0.5,),
    "facts": 1,
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
        for data in (TEXTS, QUIZ, PROMPTS, HARNESS):
            with contextlib.suppress(SpecError):
                return registry.measurements.canonical(found.replace(task=data))
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
        given = (TEXTS, REVIEWS, QUIZ, PROMPTS, HARNESS)
        args |= {"task": data} if args.get("task") in given else {}
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
