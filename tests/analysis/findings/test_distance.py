"""How far a shift is: 0.5 where there is none, 1 where all is told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kit.analysis.findings.distance import distances, domain_auroc
from kit.analysis.sample import Related
from kit.spec.checking import Undefined
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact


def test_none_and_all() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 400, 6))
    items = np.arange(400), 400 + np.arange(400)
    assert domain_auroc(one, other, items) == pytest.approx(0.5, abs=0.06)
    assert domain_auroc(one, other + [9, 0, 0, 0, 0, 0], items) == 1
    near = domain_auroc(one, other + [1.2, 0, 0, 0, 0, 0], items)
    assert near == pytest.approx(0.80, abs=0.03)  # two normal laws 1.2 deviations apart


def test_items_of_one_cluster_do_not_judge_each_other() -> None:
    """Copies of a few items tell two equal sets apart, unless all copies are held out together."""
    rng = np.random.default_rng(1)
    sources = np.arange(20).repeat(20)
    one, other = (rng.normal(size=(20, 30)).repeat(20, axis=0) for _ in range(2))
    apart = np.arange(400), 400 + np.arange(400)
    together = sources, 20 + sources
    assert domain_auroc(one, other, apart) > 0.95
    assert domain_auroc(one, other, together) < 0.75


def test_rows_of_a_study(base: Variant) -> None:
    rng = np.random.default_rng(2)

    def made(variant: Variant, split: str, clusters: int, **how: Any) -> Artifact:
        run = Run(variant, Ref("classify", task=Ref("toys"), split=split, features=True, **how))
        columns = {
            "features": rng.normal(size=(60, 4)),
            "cluster": np.array([f"{split} {at % clusters}" for at in range(60)]),
        }
        return Artifact(run, content_hash(run), "classification", columns)

    sizes = {"test": 60, "amazon": 60, "tweets": 1, "validation": 9, "amazon/validation": 9}
    variants = (base, base.replace(seed=1), base.replace(runtime="onnx"))
    artifacts = [made(v, split, size) for v in variants for split, size in sizes.items()]
    artifacts.append(made(base, "amazon", 60, corruption=Ref("typos", severity=3)))
    related = Related(artifacts, {})
    rows = distances([related.sample(each) for each in artifacts], base)
    assert [(row["variant"], row["seed"], row["split"]) for row in rows] == [
        (base.name, "0", "amazon"),
        (base.name, "0", "tweets"),
    ]
    assert [row["status"] for row in rows] == ["ok", "undefined"]
    assert 0.3 < rows[0]["value"] < 0.7 and rows[0]["n"] == 60 and "no interval" in rows[0]["note"]
    assert np.isnan(rows[1]["value"]) and "one cluster" in rows[1]["note"]
    with pytest.raises(Undefined, match="one cluster"):
        domain_auroc(np.eye(3), np.eye(3), (np.zeros(3), np.arange(3)))
    without = [replace(a, columns={"cluster": a.columns["cluster"]}) for a in artifacts]
    related = Related(without, {})
    assert distances([related.sample(each) for each in without], base) == []
