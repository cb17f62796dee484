"""A world of names for the analysis tests: no model is built, no data are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import restored

import kit
from kit.measurements import Latency
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

SHIFTS = {"amazon": "near", "tweets": "far"}


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    """Registers what specs here name beside the kit's own, and takes out what a test registers."""
    with restored():
        kit.register_architecture(kind="encoder", version=1)(net)
        kit.register_scheme(form="module", simulated=True, version=1)(half)
        kit.register_scheme(form="module", version=1)(quarter)
        kit.register_task(kind="classification", shifts=SHIFTS, version=1)(toys)
        yield


def net(vocab_size: int, *, depth: int = 2) -> None: ...
def half(model: Any) -> None: ...
def quarter(model: Any) -> None: ...
def toys() -> None: ...


@pytest.fixture
def base() -> Variant:
    return Variant(Ref("net"), name="base")


@pytest.fixture
def small(base: Variant) -> Variant:
    return base.replace(schemes=(Ref("quarter"),), name="small")


Make = Callable[..., Artifact]


@pytest.fixture
def classified() -> Make:
    """Makes a classification artifact from what was right."""

    def make(
        variant: Variant,
        right: np.ndarray,
        *,
        split: str = "test",
        info: Any = None,
        **columns: Any,
    ) -> Artifact:
        n = len(right)
        label = np.arange(n) % 2
        logits = np.zeros((n, 2), dtype=np.float32)
        logits[np.arange(n), np.where(right, label, 1 - label)] = 2.0
        made = {
            "item": np.arange(n).astype(str),
            "cluster": np.arange(n).astype(str),
            "label": label,
            "logits": logits,
        }
        run = Run(variant, Ref("classify", task=Ref("toys"), split=split))
        return Artifact(run, content_hash(run), "classification", {**made, **columns}, info or {})

    return make


@pytest.fixture
def timed() -> Make:
    """Makes a timing artifact from the medians of each launch."""

    def make(
        variant: Variant, against: Variant, ours: Any, theirs: Any, calls: int = 5
    ) -> Artifact:
        rows = [
            (launch, side, "batch_size=1;length=32", turn, "call", seconds, 0.0)
            for launch, pair in enumerate(zip(ours, theirs, strict=True))
            for side, seconds in zip(("variant", "baseline"), pair, strict=True)
            for turn in range(calls)
        ]
        names = ("launch", "side", "condition", "turn", "phase", "seconds", "foreign")
        columns = {n: np.array(v) for n, v in zip(names, zip(*rows, strict=True), strict=True)}
        run = Run(variant, Latency("toys", against=against))
        return Artifact(run, content_hash(run), "timing", columns, {})

    return make


@pytest.fixture
def predicted() -> Make:
    """Makes an artifact of any kind of predictions from its columns; items number themselves."""

    def make(
        variant: Variant, kind: str, *, split: str = "test", info: Any = None, **columns: Any
    ) -> Artifact:
        items = np.arange(len(next(iter(columns.values())))).astype(str)
        run = Run(variant, Ref("classify", task=Ref("toys"), split=split))
        made = {"item": items, "cluster": items, **columns}
        return Artifact(run, content_hash(run), kind, made, info or {})

    return make
