"""PyTorch as it comes: the module's own numbers, in evaluation mode."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from kit.architectures.modules import Classifier
from kit.runtimes.eager import eager


def test_the_modules_own_numbers_without_dropout(
    model: Classifier, batches: list[dict[str, Tensor]]
) -> None:
    model.train()
    forward = eager(model).forward
    for inputs in batches:
        found = forward(inputs)
        with torch.no_grad():
            torch.testing.assert_close(found, model(**inputs), rtol=0, atol=0)
        assert not found.requires_grad


def test_an_output_with_logits_gives_them() -> None:
    class Wrapped(nn.Module):
        def forward(self, input_ids: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=input_ids.float() + 1)

    assert eager(Wrapped()).forward({"input_ids": torch.zeros(1, 2)}).tolist() == [[1.0, 1.0]]
