"""What a study would do: what is done, what cannot work, and about how long the rest takes."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import tasks
from kit.architectures.model import shell
from kit.build import build
from kit.build.steps import missing
from kit.build.traits import is_trained, kind_of
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref, content_hash
from kit.spec.roles import data, shifted_by
from kit.spec.spec import Run, Variant
from kit.store import store
from kit.training.batches import steps

if TYPE_CHECKING:
    from kit.report.plans import Plan
    from kit.study.study import Study

FAILS = "will fail: "
TOKENS_PER_SECOND, ITEMS_PER_SECOND = 10_000, 60
"""Of training, for the first estimate; seen for models of 1M and 22M parameters on 2 cores."""


def plan(study: Study) -> Plan:
    """Returns a row for each build and run of a study, and for what a harness left out."""
    from kit.report.plans import Plan

    rows: list[dict[str, Any]] = []
    guesses = _Estimates(study)
    for variant, lacking in _builds(study):
        minutes = sum(guesses.build(variant, step) for step in lacking) / 60
        rows.append(_plan_row(variant, "+".join(lacking), "", "to do", minutes, ""))
    for run in study.runs:
        status, reason = state(run, run.id)
        minutes = guesses.run(run) / 60 if status == "to do" else 0.0
        shift = shifted_by(run.measurement).values()
        split = " ".join(map(str, filter(None, [data(run.measurement).get("split"), *shift])))
        reason = reason or _short_training(run.variant) or _reading(run)
        if reason.startswith(FAILS):
            status, minutes = "cannot", 0.0
        rows.append(_plan_row(run.variant, run.measurement.name, split, status, minutes, reason))
    for name, reason in study.left_out.items():
        rows.append(_plan_row(name, "", "", "left out", 0.0, reason))
    table = Plan(rows)
    counts = Counter(table["status"])
    print(
        f"{study.name}: {len(study.runs)} runs: {counts['done']} done, {counts['cannot']} cannot "
        f"work, {table['minutes'].sum():.0f} min to go"
    )
    return table


def _builds(study: Study) -> Iterator[tuple[Variant, list[str]]]:
    """Yields one variant for each thing to build, with what is missing."""
    seen: set[Path] = set()
    for run in study.runs:
        if build.conflict(run.variant) is None:
            lacking = {step.folder: step.name for step in missing(run.variant)}
            if new := [name for folder, name in lacking.items() if folder not in seen]:
                yield run.variant, new
            seen.update(lacking)


@dataclasses.dataclass
class _Estimates:
    """How long steps take: the median of the study's own, else the registered first guess."""

    study: Study

    @cached_property
    def _seen(self) -> dict[tuple[str, str, str], list[float]]:
        seen: dict[tuple[str, str, str], list[float]] = {}
        for run in self.study.runs:
            with contextlib.suppress(store.Damaged):  # the table says so, and it is run again
                if "seconds" in (info := store.read_info(run.id)):
                    seen.setdefault(_alike(run), []).append(info["seconds"])
        return seen

    def run(self, run: Run) -> float:
        if found := self._seen.get(_alike(run)):
            return float(statistics.median(found))
        guess = registry.measurements.get(run.measurement.name).traits.get("seconds", 10.0)
        return float(guess(run.measurement.args) if callable(guess) else guess)

    def build(self, variant: Variant, step: str) -> float:
        if step != "training" or variant.training is None:
            return 15.0
        budget = variant.training.budget
        if budget.tokens is not None:
            trials = len(variant.training.rates) * variant.training.trial_steps
            trials *= variant.training.batch_size * variant.training.length
            share = trials if len(variant.training.rates) > 1 and variant.seed == 0 else 0
            return (budget.tokens + share) / TOKENS_PER_SECOND
        size: int = tasks.describe(variant.training.task)["sizes"]["train"]
        return min(size, budget.examples or size) * (budget.epochs or 1) / ITEMS_PER_SECOND


def _alike(run: Run) -> tuple[str, str, str]:
    return run.measurement.name, run.variant.architecture.name, run.variant.runtime.name


def state(run: Run, run_id: str) -> tuple[str, str]:
    """Returns `done`, `cannot` or `to do`, with the reason."""
    if store.has(run_id):
        return "done", ""
    found = failure(run, run_id)
    if found is None:
        return "to do", ""
    if found["undefined"]:
        return "cannot", str(found["message"])
    return "to do", f"failed before: {found['message']}"


def failure(run: Run, run_id: str) -> dict[str, Any] | None:
    """Returns why a run has no artifact: it cannot work on this machine, or what was kept of it."""
    against = run.measurement.args.get("against")
    reason = build.conflict(run.variant, run.measurement)
    if reason is None and isinstance(against, Variant):
        reason = build.conflict(against, run.measurement)
    if reason is not None:
        return {"message": reason, "log": "", "undefined": True}
    return store.failure(run_id)


def _plan_row(
    variant: Variant | str, what: str, split: str, status: str, minutes: float, reason: str
) -> dict[str, Any]:
    return {
        "variant": variant.name if isinstance(variant, Variant) else variant,
        "seed": str(variant.seed) if isinstance(variant, Variant) else "",
        "what": what,
        "split": split,
        "status": status,
        "minutes": round(minutes, 2),
        "reason": reason,
    }


def _reading(run: Run) -> str:
    """Returns what is worth knowing of how a pretrained model reads a run's texts, or why it
    cannot."""
    task, split = map(data(run.measurement).get, ("task", "split"))
    if kind_of(run.variant) != "pretrained" or not isinstance(task, Ref) or split is None:
        return ""
    limit = run.measurement.args.get("limit")
    version = registry.tasks.get(task.name).version
    key = content_hash("reading", run.variant.architecture, run.measurement, version)

    def read() -> str:
        loaded = tasks.load(task)
        shots, there = run.measurement.args.get("shots") or 0, len(loaded.data["train"])
        if shots > there:
            raise SpecError(f"shots={shots}: the training part of {task.name} has {there} items")
        model = shell(run.variant.architecture, loaded)
        if (
            model.kind == "causal"
            and TASKS[loaded.kind].quality == run.measurement.name == "classify"
        ):
            raise SpecError(f"{task.name} asks for a classifier; the model gives tokens")
        if model.texts is None:
            return ""
        rows = model.texts.encode(loaded.examples(loaded.split(split, limit)), model.window)
        cut = sum(row.cut for row in rows)
        return f"{cut:,} of {len(rows):,} texts are cut at {model.window} tokens" if cut else ""

    try:
        return str(store.memo(key, read))
    except (SpecError, FileNotFoundError) as error:
        return f"{FAILS}{error}"


def _short_training(variant: Variant) -> str:
    """Returns a warning where an architecture sees too few optimizer steps to be compared."""
    training = variant.training
    if training is None or training.budget.tokens is None or not is_trained(variant):
        return ""
    count = steps(training, training.budget.tokens)
    if count >= 250:
        return ""
    return f"only {count} optimizer steps: below 250 a comparison of architectures is noise"
