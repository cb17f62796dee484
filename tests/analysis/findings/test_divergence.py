"""Divergence from the baseline, estimated from what each run kept, against the whole vocabulary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from kit.analysis.findings.divergence import Both, Kept, kl, top1_agreement
from kit.analysis.sample import Sample
from kit.measurements.likeliest import Likeliest
from kit.spec.ref import Ref, content_hash
from kit.spec.spec import Run, Variant
from kit.store.store import Artifact

SIZES = np.array([9, 3, 14, 6, 11, 5] * 5)
VOCABULARY = 400


def distributions(noise: float, seed: int = 0) -> torch.Tensor:
    """Log-probabilities [tokens, vocabulary]: the baseline's, and moved by some noise."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.5, size=(SIZES.sum(), VOCABULARY))
    logits += noise * np.random.default_rng(1 + seed).normal(size=logits.shape)
    return torch.log_softmax(torch.from_numpy(logits), -1)


def artifact(variant: Variant, logprobs: torch.Tensor, top: int, **ask: Any) -> Artifact:
    items = [f"d{at}" for at in range(len(SIZES))]
    documents = [[0, *np.arange(size) % 7] for size in SIZES]
    kept = Likeliest(items, documents, top, VOCABULARY)
    for at, part in enumerate(torch.split(logprobs, SIZES.tolist())):
        kept.keep(at, 0, part)
    run = Run(variant, Ref("score_text", task=Ref("texts"), top=top, **ask))
    columns = {"item": np.array(items), "cluster": np.array([f"c{at // 2}" for at in range(30)])}
    columns |= {"nll": SIZES * 1.0, "tokens": SIZES, "bytes": SIZES, **kept.columns}
    return Artifact(run, content_hash(run), "tokens", columns, {"protocol": {"context": 16}})


@pytest.fixture(autouse=True)
def texts(world: None) -> None:
    import kit

    def texts() -> None: ...

    kit.register_task(kind="language", version=1)(texts)


def row(found: list[dict[str, Any]]) -> dict[str, Any]:
    (one,) = found
    return one


def of(base: Artifact, ours: Artifact, baseline: Variant) -> dict[str, Any]:
    return row(kl([Sample(base), Sample(ours)], baseline))


def exact(base: torch.Tensor, ours: torch.Tensor) -> np.ndarray:
    return np.asarray(rel_entr(base.exp().numpy(), ours.exp().numpy()).sum(axis=1))


@pytest.mark.parametrize("noise", [0.01, 0.5, 2.0])
def test_all_of_a_small_vocabulary_is_exact(noise: float, base: Variant, small: Variant) -> None:
    whole, moved = distributions(0), distributions(noise)
    found = of(artifact(base, whole, 200), artifact(small, moved, 200), base)
    expected = exact(whole, moved)
    assert found["value"] == pytest.approx(expected.mean(), rel=1e-3)
    assert (found["metric"], found["unit"], found["n"]) == ("kl", "nats/token", 30)
    assert (found["baseline"], found["condition"], found["interval"]) == (
        *("base", "context=16", "clusters"),
    )
    assert found["ci_low"] < expected.mean() < found["ci_high"]
    assert "error of 0 " in found["note"]
    agree = row(
        top1_agreement([*map(Sample, (artifact(base, whole, 2), artifact(small, moved, 2)))], base)
    )
    same = (whole.argmax(1) == moved.argmax(1)).double().mean()
    assert agree["value"] == pytest.approx(float(same)) and agree["unit"] == "share"


@pytest.mark.parametrize("noise", [0.02, 0.7])
def test_estimates_have_no_bias_and_know_their_error(
    noise: float, base: Variant, small: Variant
) -> None:
    """Over many places: the mean error is within its own standard error, which is as told."""
    whole = distributions(0).repeat(20, 1)
    drawn = torch.Generator().manual_seed(3)
    moved = whole + noise * torch.randn(whole.shape, dtype=torch.float64, generator=drawn)
    moved = torch.log_softmax(moved, -1)
    made = []
    for each in (whole, moved):
        kept = Likeliest(["a"], [[0] * (len(each) + 1)], 8, VOCABULARY)
        kept.keep(0, 0, each)
        made.append(Kept.of({name: values[0] for name, values in kept.columns.items()}))
    both = Both.of(*made)
    expected = exact(whole, moved)
    errors = both.estimate() - expected
    assert abs(errors.mean()) < 3.5 * errors.std() / np.sqrt(len(errors))
    assert both.variance().mean() == pytest.approx(errors.var(), rel=0.15)
    assert errors.std() / np.sqrt(len(errors)) < 0.03 * expected.mean()
    assert (both.least() < expected + 1e-6).all()
    assert 0.2 < both.least().mean() / expected.mean() < 0.95


def test_models_that_agree_in_little_have_a_bound(base: Variant, small: Variant) -> None:
    whole, moved = distributions(0), distributions(30.0)
    found = of(artifact(base, whole, 4), artifact(small, moved, 4), base)
    assert found["status"] == "undefined" and "too few of the same tokens likely" in found["note"]
    least = float(found["note"].rpartition("at least ")[2])
    assert 0 < least < exact(whole, moved).mean()


def test_the_same_model_has_none(base: Variant, small: Variant) -> None:
    whole = distributions(0)
    found = of(artifact(base, whole, 8), artifact(small, whole, 8), base)
    assert found["value"] == 0 and "at least 0;" in found["note"]


def test_documents_are_paired_by_id(base: Variant, small: Variant) -> None:
    whole, moved = distributions(0), distributions(0.5)
    theirs, ours = artifact(base, whole, 200), artifact(small, moved, 200)
    order = np.random.default_rng(0).permutation(30)[:20]
    fewer = replace(ours, columns={name: v[order] for name, v in ours.columns.items()})
    documents = np.split(exact(whole, moved), np.cumsum(SIZES)[:-1])
    expected = np.concatenate([documents[at] for at in order]).mean()
    found = of(theirs, fewer, base)
    assert found["value"] == pytest.approx(expected, rel=1e-3) and found["n"] == 20


def test_what_has_none_says_why(base: Variant, small: Variant) -> None:
    whole = distributions(0)
    theirs, ours = artifact(base, whole, 8), artifact(small, whole, 8)
    plain = {n: v for n, v in theirs.columns.items() if not n.startswith(("top_", "tail_"))}
    other = dict(ours.columns) | {"token_ids": 1 - ours.columns["token_ids"]}
    short = dict(ours.columns) | {"tokens": ours.columns["tokens"] - 1}
    strange = dict(ours.columns) | {"item": np.char.add("x", ours.columns["item"])}
    for base_of, variant, says in (
        (replace(theirs, columns=plain), ours, "kept no likeliest tokens: ask it for top="),
        (theirs, replace(ours, columns=other), "another tokenizer"),
        (theirs, replace(ours, columns=short), "another tokenizer"),
        (theirs, replace(ours, columns=strange), "share no item"),
        (artifact(base, whole, 8, split="validation"), ours, "baseline was not measured here"),
    ):
        found = of(base_of, variant, base)
        assert found["status"] == "undefined" and says in found["note"], says
        assert np.isnan(found["value"])
    assert kl([Sample(replace(each, columns=plain)) for each in (theirs, ours)], base) == []
    assert kl([Sample(theirs)], base) == []


def test_seeds_are_paired_as_elsewhere(base: Variant, small: Variant) -> None:
    whole, near, far = distributions(0), distributions(0.1), distributions(1.0)
    theirs = [artifact(base.replace(seed=s), each, 200) for s, each in ((0, whole), (1, near))]
    ours = [artifact(small.replace(seed=s), far, 200) for s in (0, 1, 2)]
    rows = kl([*map(Sample, [*theirs, *ours])], base)
    assert [each["seed"] for each in rows] == ["0", "1", "2"]
    expected = [exact(each, far).mean() for each in (whole, near, whole)]
    assert [each["value"] for each in rows] == pytest.approx(expected, rel=1e-3)
