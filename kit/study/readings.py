"""What a study that has run lets one read: predictions, flips, examples, curves."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import tasks
from kit.build.steps import Weights
from kit.build.traits import is_trained
from kit.corruptions import examples_of
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined, suggest
from kit.spec.kinds import TASKS
from kit.spec.probabilities import log_softmax
from kit.spec.ref import Ref
from kit.spec.roles import Axis, data, roles, saves, shifted_by
from kit.spec.spec import Run, Variant
from kit.store import store

if TYPE_CHECKING:
    import pandas as pd

    from kit.analysis.findings.exemplars import Exemplars


class Readings:
    """The part of a `Study` that reads what its runs have kept."""

    name: str
    runs: Sequence[Run]
    baseline: Variant

    def variants(self) -> list[Variant]:
        """Returns the variants, seeds apart, in the order they were given."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    def curves(self) -> pd.DataFrame:
        """Returns the training curves: variant, seed, step, seconds, tokens, losses, rate."""
        import pandas as pd

        frames = []
        for variant in {v.replace(schemes=(), runtime="eager"): v for v in self.variants()}:
            if is_trained(variant):
                path = Weights(variant).folder / "curve.csv"
                about = {"variant": variant.name, "seed": str(variant.seed)}
                if path.exists():  # trained already, and not by counting
                    frames.append(pd.read_csv(path).assign(**about))
        if not frames:
            raise SpecError(f"study {self.name!r} has no trained variant yet; run it first")
        return pd.concat(frames, ignore_index=True)

    def flips(
        self,
        variant: Variant | str,
        split: str = "test",
        *,
        task: str | Ref | None = None,
        **shift: Any,
    ) -> pd.DataFrame:
        """Returns the items that a variant loses or gains against the baseline, to read.

        Args:
            variant: or its name; its lowest seed is shown.
            split: which split.
            task: which task, where the study has several with such a split.
            **shift: of items that were shifted, such as `corruption=Ref("typos", severity=3)`.

        Returns:
            Columns text (an image's id), label, baseline and variant (what each said), change
            (`lost`, `gained`) and confidence (the variant's probability of what it said); surest
            mistakes first.

        Raises:
            SpecError: no such variant, no such predictions are done, or they are of no labels.
        """
        from kit.analysis.findings.flips import flips

        wanted = variant if isinstance(variant, str) else variant.name
        ours = self.predictions(wanted, split, task=task, **shift)
        found = data(ours.run.measurement)["task"]
        theirs = self.predictions(self.baseline.name, split, task=found, **shift)
        texts = self.examples(found, split, shift.get("corruption"))
        loaded = tasks.load(found)
        rows = loaded.split(split)
        offers = "choices" in rows.column_names
        names = dict(zip(rows["id"], rows["choices"], strict=True)) if offers else loaded.labels
        if "offered" in (asked := ours.columns):  # the measurement's own questions
            texts, names = (
                dict(zip(asked["item"].tolist(), asked[column].tolist(), strict=True))
                for column in ("question", "offered")
            )
        return flips(theirs, ours, texts, names)

    def predictions(
        self,
        name: str,
        split: str = "test",
        *,
        seed: int | None = None,
        task: str | Ref | None = None,
        **shift: Any,
    ) -> store.Artifact:
        """Returns what a model predicted of each item; its `columns` are arrays by name.

        `logits` and `label` of labels, `prediction` and `label` of a number, `nll`, `tokens` and
        `bytes` of documents; `kind` tells which.

        Args:
            name: of the variant.
            split: which split.
            seed: of the variant; its lowest where not given.
            task: which task, where the study has several with such a split.
            **shift: of items that were shifted, such as `corruption=Ref("typos", severity=3)`, and
                other arguments that tell runs apart, such as `temperature=0.8`.

        Raises:
            SpecError: no such variant or split, no such predictions are done, or those of several
                tasks are.
        """
        from kit.analysis.findings.noise_floor import repeats

        known = {run.variant.name for run in self.runs}
        if name not in known:
            raise SpecError(suggest(name, known, "variant"))
        splits = {str(found) for run in self.runs if (found := data(run.measurement).get("split"))}
        if split not in splits:
            raise SpecError(suggest(split, splits, "split"))
        wanted_task = None if task is None else registry.tasks.canonical(task)
        kinds = {kind.artifact for kind in TASKS.values()}
        again = repeats(self.runs)  # these stand in for no run that failed
        runs = [run for run in self.runs if run.variant.name == name and run not in again]
        done: dict[Any, Run] = {}
        for run in sorted(runs, key=lambda run: run.variant.seed):
            ask, axes = run.measurement, roles(run.measurement, Axis)
            wanted = {n: axes[n].read(value) for n, value in shift.items() if n in axes}
            plain = {n: value for n, value in shift.items() if n not in axes}
            asked = data(ask).get("split") == split and shifted_by(ask) == wanted
            asked = asked and plain.items() <= dict(ask.args).items()
            right = asked and seed in (None, run.variant.seed)
            right = right and wanted_task in (None, data(ask).get("task"))
            if right and saves(run.measurement) in kinds and store.has(run.id):
                done.setdefault(data(ask).get("task"), run)
        if len(done) > 1:
            names = ", ".join(repr(found.name) for found in done)
            raise SpecError(
                f"study {self.name!r} has {split!r} of several tasks: task= one of {names}"
            )
        for run in done.values():
            return store.load(run, run.id)
        what = " with ".join([f"{split!r}", *map(str, shift.values())])
        raise SpecError(f"no predictions of {name!r} on {what} are done in study {self.name!r}")

    def examples(self, task: Ref, split: str, corruption: Ref | None = None) -> dict[str, str]:
        """Returns what a reader is shown of each item: its text or texts, or an image's id."""
        loaded = tasks.load(task)
        rows = loaded.split(split)
        images = loaded.modality == "image"  # which a table cannot show: their ids find them
        readable = rows["id"] if images else examples_of(loaded, rows, corruption)
        if loaded.pairs:
            readable = [" \u00b6 ".join(pair) for pair in readable]
        return dict(zip(rows["id"], readable, strict=True))

    def reliability(
        self, variants: Sequence[str], split: str = "test", **shift: Any
    ) -> pd.DataFrame:
        """Returns how often variants are right at each confidence, before and after scaling.

        The temperature is each variant's own, fitted on the predictions of the validation split.

        Args:
            variants: their names; a panel each.
            split: whose items are shown.
            **shift: of items that were shifted, such as `corruption=Ref("typos", severity=3)`.

        Returns:
            Columns of `kit.plot.reliability`: panel, line, confidence, accuracy, n, ci_low,
            ci_high. A variant that no temperature is best for, such as one without an error on
            validation, has no line after scaling.

        Raises:
            SpecError: no such predictions, or not of one class an item.
        """
        import pandas as pd

        from kit.analysis.metrics.calibration import reliability as bins
        from kit.analysis.metrics.scaling import fit_temperature

        frames = []
        for name in variants:
            known = self._classified(name, "validation").columns
            shown = self._classified(name, split, **shift).columns
            lines = {"as it is": shown["logits"]}
            with contextlib.suppress(Undefined):
                heat = fit_temperature(known["logits"], known["label"])
                lines["temperature scaled"] = shown["logits"] / heat
            for line, logits in lines.items():
                frames.append(bins(logits, shown["label"], mass=True).assign(panel=name, line=line))
        return pd.concat(frames, ignore_index=True)

    def roc(self, variant: str, splits: Sequence[str]) -> pd.DataFrame:
        """Returns ROC curves of a variant's detectors: is an item of the test split or a shift's?

        Args:
            variant: its name.
            splits: shifts; a panel each.

        Returns:
            Columns of `kit.plot.roc`: panel, line (the detector), fpr, tpr.

        Raises:
            SpecError: no such predictions, or not of one class an item.
        """
        import pandas as pd
        from sklearn.metrics import roc_curve

        from kit.analysis.metrics.ood import detectors, fit_features

        known = self._classified(variant, "validation").columns
        asked = dict.fromkeys(str(data(run.measurement).get("split")) for run in self.runs)
        tuned_on = [split for split in asked if split.endswith("/validation")]
        parts = [self.predictions(variant, split).columns.get("features") for split in tuned_on]
        shifted_parts = [part for part in parts if part is not None]
        outliers = np.concatenate(shifted_parts) if shifted_parts else None
        space = fit_features(known["label"], known.get("features"), outliers)
        inside = self.predictions(variant, "test").columns

        def detected(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            logits = columns["logits"]
            return detectors(logits, log_softmax(logits), columns.get("features"), space)

        ours = detected(inside)
        frames = []
        for split in splits:
            theirs = detected(self.predictions(variant, split).columns)
            for line in ours:
                shifted = np.repeat([0, 1], [len(ours[line]), len(theirs[line])])
                fpr, tpr, _ = roc_curve(shifted, np.concatenate([ours[line], theirs[line]]))
                frames.append(pd.DataFrame({"panel": split, "line": line, "fpr": fpr, "tpr": tpr}))
        return pd.concat(frames, ignore_index=True)

    def _classified(self, name: str, split: str, **shift: Any) -> store.Artifact:
        """Returns predictions of one class an item.

        Raises:
            SpecError: there are none.
        """
        found = self.predictions(name, split, **shift)
        if found.kind != "classification":
            raise SpecError(f"{name} gives {found.kind}; such a curve needs one class an item")
        return found

    def exemplars(self, variant: str, split: str = "test") -> Exemplars:
        """Returns the items that all seeds of a variant lose and most of the baseline's keep.

        Args:
            variant: its name.
            split: of the task.

        Raises:
            SpecError: no such predictions, or not of one class an item.
        """
        from kit.analysis.findings.exemplars import exemplars as found

        def all_seeds(name: str) -> list[int]:
            return sorted({v.seed for v in self.variants() if v.name == name})

        base, ours = (
            [self.predictions(name, split, seed=seed) for seed in all_seeds(name)]
            for name in (self.baseline.name, variant)
        )
        ask = self.predictions(variant, split).run.measurement
        task = data(ask)["task"]
        return found(base, ours, self.examples(task, split), tasks.load(task).labels)
