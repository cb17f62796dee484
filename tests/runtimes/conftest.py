"""One tiny encoder classifier, and a batch of two lengths."""

from __future__ import annotations

import pytest
import torch
from helpers import toy_encoder
from torch import Tensor

from kit.architectures.modules import Classifier
from kit.architectures.tokenizers import ByteTokenizer, pad


@pytest.fixture(scope="session")
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(toy_encoder(256), 16, 2).eval()


def batch(*texts: str) -> dict[str, Tensor]:
    return pad(ByteTokenizer().encode(texts), 0)


@pytest.fixture(scope="session")
def batches() -> list[dict[str, Tensor]]:
    long = batch("a short one", "one that is a good deal longer")
    return [long, batch("x"), batch("ab", "", "c")]
