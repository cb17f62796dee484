"""The kit's metrics in `evaluate`, and metrics of `evaluate` and `torchmetrics` in the kit.

Nothing asks a hub: an `evaluate.Metric` is a subclass, or was loaded from a local folder.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.analysis.evaluate import estimates
from kit.analysis.statistics.clusters import Array
from kit.spec.checking import SpecError, suggest
from kit.spec.definition_hash import source_hash
from kit.spec.probabilities import CLASSES, log_softmax
from kit.spec.ref import content_hash
from kit.spec.registry import metrics

if TYPE_CHECKING:
    from evaluate import Metric


def as_evaluate(name: str) -> Metric:
    """Returns a classification metric of the kit as an `evaluate.Metric`.

    Its `compute` takes as predictions scores [n, classes], or numbers of classes [n] where it needs
    no probabilities, and gives `{name: value}`; a ValueError says why it cannot.

    Raises:
        SpecError: no such metric, or one that reads no classifications.
    """
    import evaluate
    from datasets import Features, Sequence, Value

    entry = metrics.get(name)
    columns = set(inspect.signature(entry.function).parameters)
    known = {"logits", "label", *CLASSES}
    if "classification" not in entry.traits["artifacts"] or not columns <= known:
        raise SpecError(f"metric {name!r} needs more than logits and labels of a classification")
    scores, numbers = Sequence(Value("float64")), Value("int64")
    kinds = [scores] if columns & set(CLASSES) else [scores, numbers]

    class Adapted(evaluate.Metric):  # type: ignore[misc] # evaluate has no type information
        def _info(self) -> Any:
            features = [Features({"predictions": k, "references": numbers}) for k in kinds]
            return evaluate.MetricInfo(entry.summary, "", features)

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            given, label = np.asarray(predictions), np.asarray(references)
            if given.ndim == 1:
                given = np.eye(1 + max(given.max(), label.max()))[given]
            found = {}
            for one in estimates(entry, {"logits": given, "label": label}, ""):
                if one.status != "ok":
                    raise ValueError(f"{name}: {one.note}")
                found[f"{name} {one.condition}".strip()] = one.value
            return found

    Adapted.__name__ = name
    return Adapted(keep_in_memory=True)


def from_evaluate(
    metric: type[Metric] | Metric,
    *,
    higher_is_better: bool | None,
    unit: str = "share",
    name: str | None = None,
    key: str | None = None,
    interval: bool = True,
    **arguments: Any,
) -> str:
    """Registers an `evaluate.Metric` as a metric of classifications and returns its name.

    It gets the scores where it takes a sequence an item, else the number of the largest score.

    Args:
        metric: the class, or what `evaluate.load` gave for a local folder.
        higher_is_better: direction; None where there is none.
        unit: of the value.
        name: in tables; the metric's own where not given.
        key: of the value in what it computes, where that is not the metric's own name.
        interval: by computing it again on 1,000 draws of the items, some 4 s a row.
        **arguments: passed to `compute`, such as `average="macro"`.

    Raises:
        SpecError: it takes other inputs than predictions and references.
    """
    kind = metric if isinstance(metric, type) else type(metric)
    config = None if metric is kind else metric.config_name
    module = kind(config_name=config, keep_in_memory=True)
    called, wanted = name or module.name, key or module.name
    features = module.features[0] if isinstance(module.features, list) else module.features
    if set(features) != {"predictions", "references"}:
        raise SpecError(f"{called} takes {', '.join(features)}; expected predictions, references")
    scores = "feature" in vars(features["predictions"])  # a sequence an item

    def compute(logits: Array, label: Array) -> float:
        given = logits if scores else logits.argmax(axis=1)
        found = module.compute(predictions=given, references=label, **arguments)
        if wanted not in found:
            raise ValueError(suggest(wanted, found, f"value of {called}"))
        return float(found[wanted])

    compute.__doc__ = module.description
    version = content_hash(source_hash(kind), config, wanted, arguments)
    return _register(compute, called, kind, version, higher_is_better, unit, interval)


def from_torchmetrics(
    metric: Any,
    *,
    scores: str = "probabilities",
    higher_is_better: bool | None = None,
    unit: str = "share",
    name: str | None = None,
    interval: bool = True,
) -> str:
    """Registers a `torchmetrics.Metric` of two arguments as a metric of classifications.

    Args:
        metric: an instance, such as `MulticlassAccuracy(num_classes=3)`; its copies are used.
        scores: what it takes: `probabilities` [n, classes], `positive` (of the second of two
            classes [n]), `classes` (numbers [n]) or `logits`.
        higher_is_better: direction; the metric's own where not given.
        unit: of the value.
        name: in tables; the class's where not given.
        interval: by computing it again on up to 1,000 draws of the items.

    Returns:
        The name it is registered by.

    Raises:
        SpecError: `scores` is none of these.
    """
    if scores not in PREPARED:
        raise SpecError(suggest(scores, PREPARED, "form of scores"))
    kind, prepare = type(metric), PREPARED[scores]

    def compute(logits: Array, label: Array) -> float:
        import torch

        fresh = copy.deepcopy(metric)
        fresh.reset()
        fresh.update(torch.from_numpy(prepare(logits)), torch.from_numpy(label.astype(np.int64)))
        return float(fresh.compute())

    compute.__doc__ = (kind.__doc__ or kind.__name__).strip()
    release = getattr(sys.modules[kind.__module__.partition(".")[0]], "__version__", None)
    settings = {key: str(value) for key, value in vars(metric).items() if not key.startswith("_")}
    version = content_hash(release or source_hash(kind), settings, scores)
    better = metric.higher_is_better if higher_is_better is None else higher_is_better
    return _register(compute, name or kind.__name__, kind, version, better, unit, interval)


PREPARED: Mapping[str, Callable[[Array], Array]] = {
    "probabilities": lambda logits: np.exp(log_softmax(logits)),
    "positive": lambda logits: np.exp(log_softmax(logits))[:, 1],
    "classes": lambda logits: logits.argmax(axis=1),
    "logits": lambda logits: logits,
}
"""What a metric of torchmetrics may take, made from logits."""


def _register(
    compute: Callable[[Array, Array], float],
    name: str,
    kind: type,
    version: str,
    higher_is_better: bool | None,
    unit: str,
    interval: bool,
) -> str:
    """Registers what another library's class computes; its owner is the class."""
    metrics.register(
        compute,
        name=name,
        version=version,
        owner=(kind.__module__, kind.__qualname__),
        artifacts=("classification",),
        higher_is_better=higher_is_better,
        unit=unit,
        no_interval="" if interval else "no interval: none was asked for",
    )
    return name
