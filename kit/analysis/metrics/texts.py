"""What became of the texts before a model read them."""

from __future__ import annotations

from kit.analysis.statistics.clusters import Array, Clusters
from kit.analysis.statistics.intervals import Bounded, wilson
from kit.spec.register_measures import register_metric


@register_metric(
    artifact=("choices", "classification", "generations", "multi_label", "regression"),
    higher_is_better=None,
    unit="share",
)
def texts_cut(cut: Array, cluster: Array) -> Bounded:
    """Share of texts longer than the model's window, whose rest it did not read.

    A property of texts and tokenizer: it brings its interval itself, and so is set against no
    baseline.
    """
    return Bounded(float(cut.mean()), wilson(cut, Clusters.named(cluster)), len(cut))
