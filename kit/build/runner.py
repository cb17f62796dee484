"""A variant made executable: raw examples in, arrays out."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from kit.architectures.folder import locate, weight_files
from kit.architectures.model import Model, shell
from kit.build.build import conflict
from kit.build.steps import steps
from kit.build.traits import kind_of, length_of, on_eager, task_of
from kit.compression.stored import Stored, files_alone, size_of, stored
from kit.machine.imports import Imports, resident
from kit.machine.progress import report
from kit.runtimes.session import Forward, Session, as_array, open_session
from kit.spec import registry
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.store.unfinished import Unfinished

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["batch", "length"]


class Runner:
    """A variant made executable in this process; calling it gives one of the classes below.

    Args:
        variant: what to run.
        threads: of this process.
        task: gives labels to a pretrained classifier and a predictor, which have no training.
        reference: the answer others are held against: a scheme made for one runtime alone then
            runs on eager too, correctly if slowly.

    Attributes:
        model: tokenizer, labels and kind, and the module where it is one that runs.
        session: what executes it.
        imported_bytes: resident memory before the model was loaded, and what imports added since.
        import_seconds: of the imports that loading the model took.
        load_seconds: of loading without them; compilation on first call excluded.
        unfinished: what the run that is measured had before it was interrupted.
    """

    model: Model
    session: Session
    unfinished = Unfinished()

    def __new__(cls, variant: Variant, *args: Any, **options: Any) -> Runner:
        """Chooses the class by what the variant is, as `pathlib.Path` does by the system."""
        del args, options
        if kind_of(variant) == "predictor":
            return super().__new__(PredictorRunner)
        form = registry.runtimes.get(variant.runtime.name).traits["form"]
        return super().__new__(TorchRunner if form == "module" else GraphRunner)

    def __init__(
        self, variant: Variant, threads: int, task: Ref | None = None, *, reference: bool = False
    ) -> None:
        if not reference and (reason := conflict(variant)):
            raise Undefined(reason)
        self.variant = variant
        self.threads = threads
        self.task = task
        self._found: dict[str, Any] = {}
        start, held = time.perf_counter(), resident()
        with Imports() as imports:
            self._load()
        self.imported_bytes = held + imports.resident_bytes
        self.import_seconds = imports.seconds
        self.load_seconds = time.perf_counter() - start - imports.seconds

    def _load(self) -> None:
        """Sets `model` and `session`."""

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """Returns what is found out of this model, on the first call, under a name."""
        return self._found.get(name) or self._found.setdefault(name, find())

    def stored(self) -> Stored:
        """Returns what the weights take, in memory and on disk; a rule has none."""
        return Stored(0.0, 0.0, 0.0, {})

    @property
    def length(self) -> int | None:
        """Tokens at which inputs are cut; None for a model without limit."""
        return length_of(self.variant, self.model)

    def cut(self, examples: Sequence[Any]) -> np.ndarray | None:
        """Returns whether each text is longer than the pretrained model reads, [n]; else None."""
        texts = self.model.texts
        if texts is None:
            return None
        return np.array([row.cut for row in texts.encode(examples, self.length)], dtype=bool)

    def forward(self, inputs: Any) -> np.ndarray:
        """Runs one batch, as `inputs` gives it; returns float32 logits."""
        return as_array(self.session.forward(inputs))

    def inputs(self, examples: Sequence[Any], tokens: int | None = None) -> Any:
        """Returns raw examples as one batch: what the model takes.

        Args:
            examples: texts or images.
            tokens: that each text is filled up to; None leaves them as they are, cut at `length`.
        """
        preprocessor = self.model.preprocessor
        if tokens is not None:
            return preprocessor.collate(preprocessor.filled(examples, tokens))
        return preprocessor.collate(preprocessor.encode(examples, self.length))

    def timed(self, inputs: Any) -> Callable[[], Any]:
        """Returns a callable that runs a batch once: preprocessing is outside."""
        return functools.partial(self.session.forward, inputs)

    def predict(
        self, examples: Sequence[Any], batch_size: int = 32, padding: Padding = "batch"
    ) -> np.ndarray:
        """Returns the scores [n, answers] of raw examples, in their order (`model.labels`).

        Examples of like length share a batch, so that little is padded.

        Args:
            examples: texts or images.
            batch_size: examples a batch.
            padding: of texts, to the longest of the `batch` or to the `length` they are cut at.
        """
        scores, *_ = self._bucketed(examples, batch_size, padding, lambda b: [self.forward(b)])
        return scores if self.model.head is None else self.model.head(scores)

    def predict_with_features(
        self, examples: Sequence[Any], batch_size: int = 32, padding: Padding = "batch"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores of `predict` and pooled hidden vectors [n, d], from one pass.

        Raises:
            Undefined: the architecture or runtime gives no such vectors.
        """
        module = self.model.module
        if not hasattr(module, "reading"):
            raise Undefined(f"{self.variant.name} gives no features on {self.variant.runtime.name}")

        def forward(inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
            import torch

            with module.reading() as read:
                scores = self.forward(inputs)
                if not read:  # a compiled module runs past what listens to its layers
                    with torch.inference_mode():
                        module(**inputs)
            return [scores, np.asarray(read[-1].float().numpy())]

        scores, features = self._bucketed(examples, batch_size, padding, forward)
        return scores, features

    def _bucketed(
        self,
        examples: Sequence[Any],
        batch_size: int,
        padding: Padding,
        forward: Callable[[Mapping[str, Tensor]], list[np.ndarray]],
    ) -> list[np.ndarray]:
        """Returns each array that `forward` gives of a batch, for all examples in their order."""
        preprocessor = self.model.preprocessor
        rows = preprocessor.encode(examples, self.length)
        filled = padding == "length"
        width = self.length or max(map(len, rows), default=1) if filled else 1
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        found = []
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            report(f"{start} of {len(order)} items")
            found.append(forward(preprocessor.collate([rows[index] for index in batch], width)))
        back = np.argsort(order)
        return [np.concatenate(answers)[back] for answers in zip(*found, strict=True)]


class TorchRunner(Runner):
    """Runs a module."""

    def _load(self) -> None:
        _set_threads(self.threads)
        self.model = steps(self.variant)[-1].load(self.task)
        given = {"model": self.model.module, "threads": self.threads, "kept": self.model.kept}
        self.session = open_session(self.variant.runtime, **given)

    def stored(self) -> Stored:
        """Counts the module; a pretrained one without schemes is on disk what its files are."""
        found = stored(self.model.module, self.model.bits)
        if self.variant.schemes or kind_of(self.variant) != "pretrained":
            return found
        files = weight_files(locate(self.variant.architecture.args["source"]))
        size = float(sum(file.stat().st_size for file in files))
        return replace(found, disk_bytes=size or found.disk_bytes)


class GraphRunner(Runner):
    """Runs what was exported: the `graph` at a path."""

    def _load(self) -> None:
        _set_threads(self.threads)
        self.graph: Path = steps(self.variant)[-1].load()
        self.model = shell(self.variant.architecture, task_of(self.variant, self.task))
        self.session = open_session(self.variant.runtime, path=self.graph, threads=self.threads)

    def stored(self) -> Stored:
        """Counts the files; of a graph of simulated weights their bits are the scheme's."""
        plain, schemes = on_eager(self.variant), self.variant.schemes
        if schemes and plain.schemes == schemes:
            model = steps(plain)[-1].load(self.task)
            return replace(stored(model.module, model.bits), disk_bytes=size_of(self.graph))
        form = registry.runtimes.get(self.variant.runtime.name).traits["form"]
        count = registry.routes()[form][-1].traits["stored"] or files_alone
        return cast(Stored, count(self.graph, compressed=bool(schemes)))


class PredictorRunner(Runner):
    """Runs a rule on raw examples; goes forward alone."""

    def _load(self) -> None:
        self.model = steps(self.variant)[-1].load(self.task)
        self.session = cast(Session, Forward(self.model.module))

    def inputs(self, examples: Sequence[Any], tokens: int | None = None) -> list[Any]:
        """Returns the examples as they are."""
        del tokens
        return list(examples)

    def predict(
        self, examples: Sequence[Any], batch_size: int = 32, padding: Padding = "batch"
    ) -> np.ndarray:
        """Returns the scores [n, answers] of raw examples, all at once."""
        del batch_size, padding
        return self.forward(self.inputs(examples))


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
