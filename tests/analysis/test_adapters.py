"""Metrics go to `evaluate` and come from it with the same values."""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np
import pytest
from datasets import Features, Sequence, Value

from kit.analysis.adapters import as_evaluate, from_evaluate, from_torchmetrics
from kit.analysis.score import compare, score
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.spec import Variant

LOGITS = np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
LABEL = np.array([0, 1, 1, 1])


class Agreement(evaluate.Metric):
    """Takes numbers of classes, gives two values."""

    def _info(self) -> Any:
        features = Features({"predictions": Value("int64"), "references": Value("int64")})
        return evaluate.MetricInfo("share that agree", "", features)

    def _compute(self, predictions: Any, references: Any, scale: float = 1.0) -> dict[str, float]:
        share = float(np.mean(np.equal(predictions, references)))
        return {"share": scale * share, "count": len(references)}


class Certainty(evaluate.Metric):
    """Takes scores, gives one value."""

    def _info(self) -> Any:
        scores = {"predictions": Sequence(Value("float32")), "references": Value("int64")}
        return evaluate.MetricInfo("mean of the largest score", "", Features(scores))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"certainty": float(np.mean(np.max(predictions, axis=1)))}


class Reading(evaluate.Metric):
    def _info(self) -> Any:
        features = Features({"predictions": Value("int64"), "sources": Value("string")})
        return evaluate.MetricInfo("", "", features)


@pytest.mark.parametrize("given", [LOGITS, LOGITS.tolist(), LOGITS.argmax(axis=1), [0, 1, 0, 1]])
def test_scores_and_numbers_go_to_evaluate(given: Any) -> None:
    metric = as_evaluate("accuracy")
    assert isinstance(metric, evaluate.Metric) and metric.name == "accuracy"
    assert metric.compute(predictions=given, references=LABEL) == {"accuracy": 0.75}
    metric.add_batch(predictions=given[:2], references=LABEL[:2])
    metric.add_batch(predictions=given[2:], references=LABEL[2:])
    assert metric.compute() == {"accuracy": 0.75}


def test_values_are_those_of_the_kit() -> None:
    found = evaluate.combine([as_evaluate("nll"), as_evaluate("balanced_accuracy")]).compute(
        predictions=LOGITS, references=LABEL
    )
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean(), rel=1e-6)
    assert found["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(ValueError, match="format"):
        as_evaluate("nll").compute(predictions=[0, 1], references=[0, 1])
    with pytest.raises(ValueError, match="nll: .*5"):
        as_evaluate("nll").compute(predictions=LOGITS, references=[0, 1, 5, 0])
    with pytest.raises(SpecError, match="bits_per_byte"):
        as_evaluate("bits_per_byte")
    with pytest.raises(SpecError, match="Did you mean 'accuracy'"):
        as_evaluate("acuracy")


def test_a_metric_of_evaluate_gives_rows(base: Variant, small: Variant, classified: Any) -> None:
    names = [
        from_evaluate(Agreement, higher_is_better=True, key="share", name="agreement"),
        from_evaluate(Certainty(), higher_is_better=None, unit="logits", interval=False),
    ]
    assert names == ["agreement", "certainty"]
    right = np.arange(60) % 3 > 0
    artifacts = [classified(base, right), classified(small, ~right)]
    rows = {row["metric"]: row for row in score(artifacts[0], names)}
    assert rows["agreement"]["value"] == pytest.approx(2 / 3)
    assert rows["agreement"]["ci_low"] < 2 / 3 < rows["agreement"]["ci_high"]
    assert (rows["certainty"]["value"], rows["certainty"]["unit"]) == (2.0, "logits")
    assert not [row for row in compare(artifacts, base, names) if row["baseline"]]


def test_the_version_follows_the_arguments() -> None:
    def version(**arguments: Any) -> str:
        from_evaluate(Agreement, higher_is_better=True, key="share", name="a", **arguments)
        return registry.metrics.get("a").version

    assert version(scale=2.0) == version(scale=2.0) != version()


def test_wrong_inputs_and_keys_are_named(base: Variant, classified: Any) -> None:
    with pytest.raises(SpecError, match="reading takes predictions, sources"):
        from_evaluate(Reading, higher_is_better=None)
    artifact = classified(base, np.ones(4, bool))
    for key, message in ((None, "There are: count, share"), ("shear", "Did you mean 'share'")):
        from_evaluate(Agreement, higher_is_better=True, key=key)
        (row,) = score(artifact, ["agreement"])
        assert row["status"] == "error" and message in row["note"]


class Torchlike:
    """Follows the interface of `torchmetrics.Metric`: counts what its argument calls right."""

    higher_is_better = True

    def __init__(self, cut: float = 0.5) -> None:
        self.cut, self._right, self._total = cut, 0, 0

    def reset(self) -> None:
        self._right = self._total = 0

    def update(self, preds: Any, target: Any) -> None:
        said = preds if preds.ndim == 1 else preds.argmax(1)
        self._right += int(((said > self.cut) == (target == 1)).sum())
        self._total += len(target)

    def compute(self) -> Any:
        import torch

        return torch.tensor(self._right / self._total)


@pytest.mark.parametrize("scores", ["probabilities", "positive", "classes", "logits"])
def test_a_metric_of_torchmetrics_gives_rows(base: Variant, classified: Any, scores: str) -> None:
    metric = Torchlike()
    metric.update(np.ones(3), np.ones(3))  # what it has seen before does not count
    name = from_torchmetrics(metric, scores=scores)
    (row,) = score(classified(base, np.arange(60) % 3 > 0), [name])
    assert (row["metric"], row["value"]) == ("Torchlike", pytest.approx(2 / 3))
    assert row["ci_low"] < 2 / 3 < row["ci_high"]
    assert registry.metrics.get(name).traits["higher_is_better"] is True


def test_the_version_follows_the_settings_of_a_metric_of_torchmetrics() -> None:
    def version(cut: float) -> str:
        return registry.metrics.get(from_torchmetrics(Torchlike(cut))).version

    assert version(0.2) == version(0.2) != version(0.3)
    with pytest.raises(SpecError, match="Did you mean 'logits'"):
        from_torchmetrics(Torchlike(), scores="logit")


def test_torchmetrics_itself(base: Variant, classified: Any) -> None:
    classification = pytest.importorskip("torchmetrics.classification")
    right = np.arange(60) % 3 > 0
    for metric, scores in (
        (classification.MulticlassAccuracy(num_classes=2, average="micro"), "probabilities"),
        (classification.BinaryAccuracy(), "positive"),
    ):
        name = from_torchmetrics(metric, scores=scores, interval=False)
        (row,) = score(classified(base, right), [name])
        assert row["value"] == pytest.approx(2 / 3)
