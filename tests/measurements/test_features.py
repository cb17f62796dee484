"""Pooled hidden vectors, item by item."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import toy_variant

from kit import tasks
from kit.architectures.tokenizers import pad
from kit.measurements.features import features
from kit.ref import Ref
from kit.runner import Runner
from kit.spec import Variant
from kit.values import Undefined


def test_features_are_the_mean_over_the_mask(toys: Ref) -> None:
    runner = Runner(toy_variant(toys), 1)
    raw = features(runner, task=toys, limit=6)
    texts = list(tasks.load(toys).split("test", 6)["text"])
    assert raw.kind == "features"
    assert raw.columns["features"].shape == (6, 16)
    assert list(raw.columns["item"]) == tasks.load(toys).split("test", 6)["id"]
    encoder = runner.model.module.encoder
    assert runner.model.tokenizer is not None
    for text, row in zip(texts, raw.columns["features"], strict=True):
        inputs = pad(runner.model.tokenizer.encode([text], 32), 0)
        with torch.no_grad():
            expected = encoder(**inputs)[0].mean(0).numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_a_predictor_has_none(toys: Ref) -> None:
    runner = Runner(Variant(Ref("toy_rule")), 1, toys)
    with pytest.raises(Undefined, match="toy_rule gives no features on eager"):
        features(runner, task=toys)
