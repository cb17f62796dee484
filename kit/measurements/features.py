"""Pooled hidden vectors, item by item: what a distance between data sets is measured on."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from kit import tasks
from kit.measurements.bench import Raw
from kit.ref import Ref
from kit.registry import register_measurement
from kit.roles import SplitName, TaskRef
from kit.runner import Runner


def Features(task: str | Ref, split: str = "test", limit: int | None = None) -> Ref:
    """Asks for a model's features on a split, from which the split's distance is computed.

    Args:
        task: name or Ref.
        split: which split.
        limit: the first n items by content hash; all where not given.
    """
    return Ref("features", task=task, split=split, limit=limit)


@register_measurement(where="worker", artifacts=("features",), version=1, seconds=8.0)
def features(
    runner: Runner,
    *,
    task: TaskRef,
    split: SplitName = "test",
    limit: Annotated[int, Field(ge=1)] | None = None,
    threads: Annotated[int, Field(ge=1)] = 1,
) -> Raw:
    """Pooled hidden vectors of a split's items.

    Args:
        runner: the variant, ready.
        task: the data.
        split: which part.
        limit: the first n items by content hash.
        threads: of the worker.

    Raises:
        Undefined: the architecture or runtime gives none.
    """
    data = tasks.load(task)
    rows = data.split(split, limit)
    columns = {
        "item": np.asarray(rows["id"]),
        "cluster": np.asarray(rows["cluster"]),
        "features": runner.predict_with_features(data.examples(rows))[1],
    }
    return Raw("features", columns)
