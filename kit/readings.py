"""What a study that has run lets one read: training curves, flips, predictions, examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kit import build, store, tasks
from kit.corruptions import examples_of
from kit.kinds import TASKS
from kit.ref import Ref
from kit.registry import saves
from kit.spec import Run, Variant
from kit.values import SpecError, suggest

if TYPE_CHECKING:
    import pandas as pd


class Readings:
    """The part of a `Study` that reads what its runs have kept."""

    name: str
    runs: Sequence[Run]
    baseline: Variant

    def variants(self) -> list[Variant]:
        """Returns the variants, seeds apart, in the order they were given."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    def ids(self) -> dict[Run, str]:
        """Returns each run's id, as its content, data and code are now."""
        return build.run_ids(self.runs)

    def curves(self) -> pd.DataFrame:
        """Returns the training curves: variant, seed, step, seconds, tokens, losses, rate."""
        import pandas as pd

        frames = []
        for variant in {v.replace(schemes=(), runtime="eager"): v for v in self.variants()}:
            if build.is_trained(variant) and "training" not in build.needs_build(variant):
                path = build.weights_folder(variant) / "curve.csv"
                about = {"variant": variant.name, "seed": str(variant.seed)}
                if path.exists():  # what is fitted by counting has none
                    frames.append(pd.read_csv(path).assign(**about))
        if not frames:
            raise SpecError(f"study {self.name!r} has no trained variant yet; run it first")
        return pd.concat(frames, ignore_index=True)

    def flips(
        self, variant: Variant | str, split: str = "test", corruption: Ref | None = None
    ) -> pd.DataFrame:
        """Returns the items that a variant loses or gains against the baseline, to read.

        Args:
            variant: or its name; its lowest seed is shown.
            split: which split.
            corruption: and with which corruption, such as `Ref("typos", severity=3)`.

        Returns:
            Columns text (an image's id), label, baseline and variant (what each said), change
            (`lost`, `gained`) and confidence (the variant's probability of what it said); surest
            mistakes first.

        Raises:
            SpecError: no such variant, no such predictions are done, or they are of no labels.
        """
        from kit.analysis.flips import flips

        wanted = variant if isinstance(variant, str) else variant.name
        ours = self.predictions(wanted, split, corruption)
        theirs = self.predictions(self.baseline.name, split, corruption)
        task = ours.run.measurement.args["task"]
        return flips(theirs, ours, self.examples(task, split, corruption), tasks.load(task).labels)

    def predictions(
        self, name: str, split: str = "test", corruption: Ref | None = None, seed: int | None = None
    ) -> store.Artifact:
        """Returns what a model predicted of each item; its `columns` are arrays by name.

        `logits` and `label` of labels, `prediction` and `label` of a number, `nll`, `tokens` and
        `bytes` of documents; `kind` tells which.

        Args:
            name: of the variant.
            split: which split.
            corruption: and with which corruption.
            seed: of the variant; its lowest where not given.

        Raises:
            SpecError: no such variant, or no such predictions are done.
        """
        from kit.analysis.noise_floor import repeats

        known = {run.variant.name for run in self.runs}
        if name not in known:
            raise SpecError(suggest(name, known, "variant"))
        kinds = {kind.artifact for kind in TASKS.values()}
        again = repeats(self.runs)  # these stand in for no run that failed
        ids = {run: run_id for run, run_id in self.ids().items() if run not in again}
        for run, run_id in sorted(ids.items(), key=lambda pair: pair[0].variant.seed):
            args = run.measurement.args
            asked = args.get("split") == split and args.get("corruption") == corruption
            right = run.variant.name == name and asked and seed in (None, run.variant.seed)
            if right and saves(run.measurement) in kinds and store.has(run_id):
                return store.load(run, run_id)
        what = f"{split!r}" + (f" with {corruption}" if corruption else "")
        raise SpecError(f"no predictions of {name!r} on {what} are done in study {self.name!r}")

    def examples(self, task: Ref, split: str, corruption: Ref | None = None) -> dict[str, str]:
        """Returns what a reader is shown of each item: its text or texts, or an image's id."""
        data = tasks.load(task)
        rows = data.split(split)
        images = data.modality == "image"  # which a table cannot show: their ids find them
        readable = rows["id"] if images else examples_of(data, rows, corruption)
        if data.pairs:
            readable = [" \u00b6 ".join(pair) for pair in readable]
        return dict(zip(rows["id"], readable, strict=True))
