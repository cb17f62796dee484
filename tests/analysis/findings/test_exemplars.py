"""Items lost by compression itself: against a loop, and against all ways that chance could deal."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from kit.analysis.findings.exemplars import exemplars
from kit.spec.checking import SpecError
from kit.spec.spec import Variant

TEXTS = {str(n): f"text {n}" for n in range(400)}
LABELS = ("bad", "good")


def runs(classified: Any, variant: Variant, right: np.ndarray) -> list[Any]:
    return [classified(variant.replace(seed=seed), row) for seed, row in enumerate(right)]


@pytest.mark.parametrize(("bases", "variants"), [(1, 1), (3, 2), (2, 3), (4, 4)])
def test_items_and_chance_are_those_of_a_loop(
    classified: Any, base: Variant, small: Variant, bases: int, variants: int
) -> None:
    rng = np.random.default_rng(bases)
    right = rng.random((bases + variants, 60)) < rng.random(60)
    sides = runs(classified, base, right[:bases]), runs(classified, small, right[bases:])
    got = exemplars(*sides, TEXTS, LABELS)
    least = bases // 2 + 1

    def lost(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first.sum(axis=0) >= least) & (second.sum(axis=0) == 0)

    chosen = np.flatnonzero(lost(right[:bases], right[bases:]))
    assert set(got.items["text"]) == {TEXTS[str(n)] for n in chosen} and got.n == 60
    everyone = set(range(bases + variants))
    deals = [list(deal) for deal in combinations(everyone, bases)]
    dealt = [lost(right[deal], right[list(everyone - set(deal))]).sum() for deal in deals]
    assert got.by_chance == pytest.approx(np.mean(dealt))


@pytest.mark.parametrize("alike", [False, True])
def test_what_chance_gives_is_what_is_found_without_compression(
    classified: Any, base: Variant, small: Variant, alike: bool
) -> None:
    rng, found, dealt = np.random.default_rng(1), 0, 0.0
    for _ in range(40):
        right = rng.random((6, 400)) < (0.6 if alike else rng.beta(2, 1, 400))
        sides = runs(classified, base, right[:3]), runs(classified, small, right[3:])
        got = exemplars(*sides, TEXTS, LABELS)
        found, dealt = found + len(got.items), dealt + got.by_chance
    assert found == pytest.approx(dealt, rel=0.1)
    right[:3, :50], right[3:, :50] = True, False
    sides = runs(classified, base, right[:3]), runs(classified, small, right[3:])
    got = exemplars(*sides, TEXTS, LABELS)
    assert len(got.items) > 1.5 * got.by_chance


def test_what_is_shown(classified: Any, base: Variant, small: Variant) -> None:
    before = np.ones((3, 20), bool)
    before[0, 4] = False
    after = before.copy()
    after[:, [3, 4, 7]] = False
    after[0, 7] = True
    sides = runs(classified, base, before), runs(classified, small, after)
    got = exemplars(*sides, TEXTS, LABELS)
    assert got.items.to_dict("records") == [
        {"text": "text 3", "label": "good", "baseline": "good", "variant": "bad",
         "baseline_right": "3 of 3", "variant_right": "0 of 3", "agreement": 1.0},
        {"text": "text 4", "label": "bad", "baseline": "bad", "variant": "good",
         "baseline_right": "2 of 3", "variant_right": "0 of 3", "agreement": 1.0},
    ]  # fmt: skip


def test_runs_that_share_nothing(classified: Any, base: Variant, small: Variant) -> None:
    ours = classified(small, np.ones(5, bool), item=np.arange(90, 95).astype(str))
    with pytest.raises(SpecError, match="share no item"):
        exemplars([classified(base, np.ones(5, bool))], [ours], TEXTS, LABELS)
    with pytest.raises(SpecError, match="predictions of the baseline"):
        exemplars([], [ours], TEXTS, LABELS)
