"""Drawn tokens: as often as they are likely, within the nucleus, by the seed alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from kit.measurements.sampling import chooser

LOGITS = torch.tensor([0.0, 2.0, 1.0, -1.0, 0.5])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    draw = chooser(temperature, "12")
    count = Counter(draw(LOGITS) for _ in range(4000))
    share = torch.exp(LOGITS.double() / temperature)
    expected = 4000 * share / share.sum()
    assert chisquare([count[k] for k in range(5)], expected.tolist()).pvalue > 0.001


def test_a_nucleus_holds_the_likeliest_alone() -> None:
    share = LOGITS.double().softmax(-1)  # 0.07, 0.54, 0.20, 0.03, 0.12 to two digits
    draw = chooser(1.0, "3", top_p=0.7)
    count = Counter(draw(LOGITS) for _ in range(4000))
    assert set(count) == {1, 2}
    expected = [4000 * float(share[k] / (share[1] + share[2])) for k in (1, 2)]
    assert chisquare([count[1], count[2]], expected).pvalue > 0.001
    assert {chooser(1.0, "3", top_p=0.5)(LOGITS) for _ in range(20)} == {1}


def test_seeds_repeat_and_differ() -> None:
    def many(seed: str) -> list[int]:
        draw = chooser(1.5, seed)
        return [draw(LOGITS) for _ in range(50)]

    assert many("a1") == many("a1") != many("a2")


def test_no_temperature_takes_the_likeliest() -> None:
    assert {chooser()(LOGITS) for _ in range(5)} == {1}


def test_what_is_impossible_is_never_drawn() -> None:
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf])
    draw = chooser(1.0, "7")
    assert {draw(logits) for _ in range(200)} == {1, 3}
