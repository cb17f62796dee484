"""An artifact with what all metrics of it share, and the other artifacts of its study they need.

A temperature is fitted on the validation split, a shifted copy is set against the items as they
are.
`Related` finds these other artifacts, here and nowhere else, by what they are to a run:

- `validation`: the validation split in distribution; what `register_metric(fit=...)` reads.
- `ood`: the validation parts of the task's shifts, concatenated; parameters `ood_*` of a fit.
- `clean`: of a run on a shifted copy (`kit.spec.roles.Axis`), the same split as it is.
- `test`: of a shift, the test split (of a shift's validation part, the validation split).

All are of the same variant, seed, task and other arguments of the measurement. The validation split
itself has none of them, so that nothing is scored on what it was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kit.analysis.statistics.clusters import Array, Clusters
from kit.spec import registry
from kit.spec.checking import Undefined, suggest
from kit.spec.ref import Ref
from kit.spec.roles import data, on_split, shift_parts, shifted_by
from kit.spec.spec import Run
from kit.store.results import condition
from kit.store.store import Artifact

VALIDATION = "validation"


@dataclass(frozen=True)
class Sample:
    """An artifact with what all metrics of it share.

    Attributes:
        artifact: what a run saved.
        related: by role (see above) another artifact that the study asks for, or why it failed.
        fits: what was fitted, kept for all samples of a study.
    """

    artifact: Artifact
    related: Mapping[str, Artifact | str] = field(default_factory=dict)
    fits: dict[Any, Any] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """Condition of all its rows; of a run that failed, what is known of it."""
        shift = shift_parts(self.artifact.run.measurement)
        return condition(**shift | self.artifact.info.get("protocol", {}))

    @property
    def shifted(self) -> bool:
        """Says whether its items are a copy that was shifted on purpose, as by a corruption."""
        return bool(shifted_by(self.artifact.run.measurement))

    @property
    def aside(self) -> bool:
        """Says whether it is a shifted copy or a validation split: few metrics are wanted."""
        split = data(self.artifact.run.measurement).get("split")
        return self.shifted or str(split).rpartition("/")[2] == VALIDATION

    def items(self, beside: Sample | None = None) -> Array:
        """Returns the items' ids; with another sample, its ids first, marked as such."""
        ids: Array = self.artifact.columns["item"]
        if beside is None:
            return ids
        return np.concatenate([np.char.add("reference:", beside.items().astype(str)), ids])

    @cached_property
    def clusters(self) -> Clusters:
        """Clusters of the items; those without one are their own."""
        return _clusters([self])

    def clusters_with(self, beside: Sample | None) -> Clusters:
        """Returns the clusters of these items, or of another sample's items and then these."""
        return self.clusters if beside is None else _clusters([beside, self])

    @cached_property
    def problem(self) -> Exception | None:
        """Why no metric of this artifact can be trusted."""
        columns = self.artifact.columns
        if len({len(values) for values in columns.values()}) > 1:
            sizes = {name: len(values) for name, values in columns.items()}
            return ValueError(f"run {self.artifact.run_id}: columns differ in length: {sizes}")
        kind = registry.artifacts.get(self.artifact.kind).traits
        if not columns or not len(next(iter(columns.values()))):
            return None if kind["record"] == "quantity" else Undefined("no items")
        if lacking := [name for name in kind["columns"] if name not in columns]:
            what = f"its {self.artifact.kind} has no column {lacking[0]!r}"
            return ValueError(f"run {self.artifact.run_id}: {what}")
        if kind["record"] == "quantity":
            ask = registry.measurements.get(self.artifact.run.measurement.name)
            for name in set(columns["quantity"].tolist()) - set(ask.traits["quantities"]):
                known = suggest(name, ask.traits["quantities"], f"quantity of {ask.name}")
                return ValueError(f"run {self.artifact.run_id}: {known}")
        for name, values in columns.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
                at = f"first at {columns['item'][bad.argmax()]}" if "item" in columns else ""
                return ValueError(
                    f"run {self.artifact.run_id}: {name} is NaN or infinite in {bad.sum()} of "
                    f"{len(bad)} records {at}".rstrip()
                )
        if {"logits", "label"} <= columns.keys():
            wrong = _wrong_labels(columns["label"], columns["logits"].shape)
            return ValueError(f"run {self.artifact.run_id}: {wrong}") if wrong else None
        return None

    def other(self, role: str) -> Sample:
        """Returns the related sample of a role that the study asks for.

        Raises:
            Undefined: its run failed.
            ValueError: it cannot be trusted.
        """
        found = self.related[role]
        if isinstance(found, str):
            raise Undefined(f"it needs another run ({role}), which has no result: {found}")
        sample = Sample(found)
        if sample.problem is not None:
            raise sample.problem
        return sample

    def fitted(self, fit: Callable[..., Any], make: Callable[[], Any]) -> Any:
        """Returns what `make` gives, once for a fit and the artifacts that it reads."""
        read = [self.related.get(role) for role in (VALIDATION, "ood")]
        key = fit, *(one.run_id if isinstance(one, Artifact) else one for one in read)
        if key not in self.fits:
            self.fits[key] = make()
        return self.fits[key]


def _wrong_labels(label: Array, shape: tuple[int, ...]) -> str:
    """Returns what is wrong with labels [n], or [n, classes] of 0 and 1, beside such logits."""
    if label.ndim > 1:
        if label.shape != shape:
            return f"labels of shape {label.shape} beside logits of shape {shape}"
        wrong = label[~np.isin(label, (0, 1))]
        return f"label {wrong[0]} is neither 0 nor 1" if len(wrong) else ""
    if label.min() < 0 or label.max() >= shape[1]:
        wrong = label.min() if label.min() < 0 else label.max()
        return f"label {wrong} is outside the {shape[1]} classes"
    return ""


def _clusters(samples: Sequence[Sample]) -> Clusters:
    columns = [sample.artifact.columns for sample in samples]
    if any("cluster" not in each for each in columns):
        return Clusters.alone(sum(len(next(iter(each.values()))) for each in columns))
    return Clusters.named(np.concatenate([each["cluster"].astype(object) for each in columns]))


class Related:
    """Finds, for each run of a study, the other runs that its metrics may need."""

    def __init__(self, artifacts: Iterable[Artifact], failures: Mapping[Run, str]) -> None:
        """Takes what the runs of a study gave: an artifact, or why there is none."""
        self._found: dict[Run, Artifact | str] = {one.run: one for one in artifacts}
        self._found |= failures
        self._joined: dict[str, Artifact] = {}
        self._fits: dict[Any, Any] = {}

    def sample(self, artifact: Artifact) -> Sample:
        """Returns an artifact (one without columns for a run that failed) with what is related."""
        related = {}
        for role, runs in _roles(artifact.run):
            found = [self._found[run] for run in runs if run in self._found]
            if found:
                related[role] = self._together(found)
        return Sample(artifact, related, self._fits)

    def _together(self, found: Sequence[Artifact | str]) -> Artifact | str:
        """Returns artifacts as one; the first reason where one failed."""
        artifacts = []
        for one in found:
            if isinstance(one, str):
                return one
            artifacts.append(one)
        if len(artifacts) == 1:
            return artifacts[0]
        first, key = artifacts[0], " ".join(one.run_id for one in artifacts)
        if key not in self._joined:
            shared = set.intersection(*(set(one.columns) for one in artifacts))
            columns = {
                name: np.concatenate([one.columns[name] for one in artifacts])
                for name in shared
                if len({one.columns[name].shape[1:] for one in artifacts}) == 1
            }
            self._joined[key] = Artifact(first.run, key, first.kind, columns)
        return self._joined[key]


def _roles(run: Run) -> Iterator[tuple[str, list[Run]]]:
    """Yields each role and the runs that would fill it, whether or not a study asks for them."""
    task, split = map(data(run.measurement).get, ("task", "split"))
    if not isinstance(task, Ref) or not isinstance(split, str):
        return

    def sibling(other: str) -> Run:
        return Run(run.variant, on_split(run.measurement, other))

    shifts = registry.tasks.get(task.name).traits["shifts"]
    shift = split.removesuffix(f"/{VALIDATION}")
    if split != VALIDATION:
        yield VALIDATION, [sibling(VALIDATION)]
        if shift == split:
            yield "ood", [sibling(f"{name}/{VALIDATION}") for name in shifts]
    if shifted_by(run.measurement):
        role, reference = "clean", split
    elif shift in shifts:
        role, reference = "test", "test" if shift == split else VALIDATION
    else:
        return
    yield role, [sibling(reference)]
