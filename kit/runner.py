"""A variant made executable: raw examples in, arrays out."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kit import registry
from kit.build import conflict, graph_path, kind_of, load_model, task_of
from kit.imports import Imports, resident
from kit.progress import report
from kit.ref import Ref
from kit.spec import Variant
from kit.values import Undefined

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["batch", "length"]

CAUSAL_LENGTH = 256
"""Tokens of a text that a pretrained language model is timed with."""


class Runner:
    """A variant made executable in this process.

    Args:
        variant: what to run.
        threads: of this process.
        task: gives labels to a pretrained classifier and a predictor, which have no training.
        reference: the answer others are held against: a scheme made for one runtime alone then
            runs on eager too, correctly if slowly.

    Attributes:
        model: tokenizer, labels, kind and module.
        graph: the exported graph where the runtime runs one.
        imported_bytes: resident memory before the model was loaded, and what imports added since.
        import_seconds: of the imports that loading the model took.
        load_seconds: of loading without them; compilation on first call excluded.
    """

    def __init__(
        self, variant: Variant, threads: int, task: Ref | None = None, *, reference: bool = False
    ) -> None:
        if not reference and (reason := conflict(variant)):
            raise Undefined(reason)
        self.variant = variant
        self.threads = threads
        self.graph: Path | None = None
        start, held = time.perf_counter(), resident()
        with Imports() as imports:
            if kind_of(variant) != "predictor":
                _set_threads(threads)
            self._load(task)
        self.imported_bytes = held + imports.resident_bytes
        self.import_seconds = imports.seconds
        self.load_seconds = time.perf_counter() - start - imports.seconds

    def _load(self, task: Ref | None) -> None:
        variant, threads = self.variant, self.threads
        runtime = registry.runtimes.get(variant.runtime.name)
        if runtime.traits["form"] == "graph":
            from kit.architectures.model import shell

            self.graph = graph_path(variant)
            self.model = shell(variant.architecture, task_of(variant, task))
            self._forward = runtime.function(
                **_supplied(runtime, graph=self.graph, threads=threads), **variant.runtime.args
            )
            return
        self.model = load_model(variant, task)
        if self.model.kind != "predictor":
            self._forward = runtime.function(
                **_supplied(runtime, model=self.model.module, threads=threads),
                **variant.runtime.args,
            )

    @property
    def length(self) -> int | None:
        """Tokens at which inputs are cut; None for a model without limit."""
        training = self.variant.training
        if training is not None:
            return training.length
        if self.model.kind == "causal":
            return min(CAUSAL_LENGTH, self.model.window or CAUSAL_LENGTH)
        return self.model.window

    def cut(self, examples: Sequence[Any]) -> np.ndarray | None:
        """Returns whether each text is longer than the pretrained model reads, [n]; else None."""
        texts = self.model.texts
        if texts is None:
            return None
        return np.array([row.cut for row in texts.encode(examples, self.length)], dtype=bool)

    def forward(self, inputs: Mapping[str, Tensor]) -> np.ndarray:
        """Runs one padded batch; returns float32 logits."""
        output: Any = self._forward(inputs)
        return np.asarray(output if isinstance(output, np.ndarray) else output.float().numpy())

    def inputs(self, examples: Sequence[Any]) -> dict[str, Tensor]:
        """Returns raw examples as one batch, cut at `length`: what the model takes."""
        preprocessor = self.model.preprocessor
        return preprocessor.collate(preprocessor.encode(examples, self.length))

    def timed(self, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
        """Returns a callable that runs a batch once: preprocessing is outside."""
        return functools.partial(self._forward, inputs)

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
        if self.model.kind == "predictor":
            return np.asarray(self.model.module(list(examples)), np.float32)
        scores = self.outputs(examples, batch_size, padding)
        return scores if self.model.head is None else self.model.head(scores)

    def outputs(
        self, examples: Sequence[Any], batch_size: int = 32, padding: Padding = "batch"
    ) -> np.ndarray:
        """Returns what the model itself gives of raw examples: `predict` before its head."""
        return self._bucketed(examples, batch_size, padding, lambda batch: [self.forward(batch)])[0]

    def predict_with_features(
        self, examples: Sequence[Any], batch_size: int = 32, padding: Padding = "batch"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores of `predict` and pooled hidden vectors [n, d], from one pass.

        Raises:
            Undefined: the architecture or runtime gives no such vectors.
        """
        module = self.model.module
        if self.graph is not None or not hasattr(module, "reading"):
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
        width = 1
        if padding == "length":
            width = self.length or max(map(len, rows), default=1)
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        found = []
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            report(f"{start} of {len(order)} items")
            found.append(forward(preprocessor.collate([rows[index] for index in batch], width)))
        back = np.argsort(order)
        return [np.concatenate(answers)[back] for answers in zip(*found, strict=True)]


def _supplied(entry: registry.Entry, **values: Any) -> dict[str, Any]:
    return {n: v for n, v in values.items() if n in inspect.signature(entry.function).parameters}


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
