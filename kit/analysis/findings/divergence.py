"""How far a language model's distributions are from the baseline's, token by token.

What a run keeps of each distribution (`score_text(top=k)`) are its k likeliest tokens and k of the
others, chosen by chance. What the run of a variant and that of the baseline both kept is what can
be said of the two: `Both`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kit.analysis.evaluate import Estimate
from kit.analysis.paired import Unpaired, shared_items
from kit.analysis.rows import Row, row_of
from kit.analysis.sample import Sample
from kit.analysis.statistics.clusters import Array
from kit.analysis.statistics.influence import Ratio
from kit.analysis.statistics.intervals import Interval, skewed
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.register_derived import register_derived
from kit.spec.registry import metrics
from kit.spec.roles import compared
from kit.spec.spec import Variant

Columns = Mapping[str, Array]
KEPT = ("token_ids", "top_ids", "top_logprobs", "tail_ids", "tail_logprobs", "tail_reach")
MOST_ERROR = 0.1
"""Share of an estimate that its standard deviation may be, and by which probabilities may miss 1.
Of two models that agree in little, as where a scheme broke one, few tokens are kept by both."""
LEAST = 1e-9
"""Probability of the rest below which it is rounding: log-probabilities are kept in float32."""


class Kept(NamedTuple):
    """What a run kept of the distributions at t places: see `kit.measurements.likeliest`."""

    ids: Array
    logprobs: Array
    chance: Array

    @classmethod
    def of(cls, columns: Mapping[str, Array]) -> Kept:
        """Reads the columns of places [t, ...]: the likeliest, and the sample after them."""
        ids, logprobs = (
            np.concatenate([columns[f"top_{name}"], columns[f"tail_{name}"]], axis=1)
            for name in ("ids", "logprobs")
        )
        chance = np.minimum(logprobs + columns["tail_reach"][:, None].astype(np.float64), 0.0)
        chance[:, : columns["top_ids"].shape[1]] = 0.0  # the likeliest are kept in any case
        return cls(ids, logprobs.astype(np.float64), np.exp(chance))


class Both(NamedTuple):
    """Tokens that two runs both kept, at the places where they did; their number is m.

    Attributes:
        place: of each [m], one of `places`.
        base: log-probability by the baseline [m], in nats.
        variant: and by the variant.
        chance: that both kept it [m].
        places: how many there are.
    """

    place: Array
    base: Array
    variant: Array
    chance: Array
    places: int

    @classmethod
    def of(cls, base: Kept, variant: Kept) -> Both:
        """Finds them. Random numbers were shared: the rarer of the two to keep it decides."""
        size = 1 + int(max(base.ids.max(initial=0), variant.ids.max(initial=0)))
        rows = np.arange(len(base.ids))[:, None] * size
        shared, ours, theirs = np.intersect1d(
            rows + base.ids, rows + variant.ids, assume_unique=True, return_indices=True
        )
        chance = np.minimum(base.chance.ravel()[ours], variant.chance.ravel()[theirs])
        logprobs = base.logprobs.ravel()[ours], variant.logprobs.ravel()[theirs]
        return cls(shared // size, *logprobs, chance, len(base.ids))

    def total(self, values: Array) -> Array:
        """Returns the sum of values [m] at each place."""
        return np.asarray(np.bincount(self.place, values, self.places))

    def terms(self) -> Array:
        """Returns what each token adds to the divergence [m]: p log(p/q) - p + q, never negative.

        Over the vocabulary p and q add up to 1, so that the sum is that of p log(p/q).
        """
        p, q = np.exp(self.base), np.exp(self.variant)
        return np.asarray(p * (self.base - self.variant) - p + q)

    def estimate(self) -> Array:
        """Returns KL(baseline || variant) at each place, in nats, without bias.

        A token that both keep with chance a stands for 1/a of its kind (Horvitz and Thompson 1952):
        the expectation of the sum of `terms` / a is the divergence over the whole vocabulary. For
        priority samples this holds with the chance that the thresholds found give (Duffield, Lund
        and Thorup 2007), and with shared random numbers the chance of both is the smaller one.
        """
        return self.total(self.terms() / self.chance)

    def variance(self) -> Array:
        """Returns the estimated variance of `estimate` that the samples account for."""
        return self.total((self.terms() / self.chance) ** 2 * (1 - self.chance))

    def masses(self) -> tuple[float, float]:
        """Returns the sums of the baseline's and of the variant's probabilities, estimated alike.

        They are 1. Estimates that are far off tell of tokens that weigh much and are hardly ever
        kept by both, which `variance` does not see where none was.
        """
        base, variant = (
            float(self.total(np.exp(each) / self.chance).mean())
            for each in (self.base, self.variant)
        )
        return base, variant

    def least(self) -> Array:
        """Returns what KL(baseline || variant) is at least, at each place, in nats.

        Each token that both kept by itself, and all others in one bucket of probability P and Q: by
        the log-sum inequality, sum over the others of p log(p/q) >= P log(P/Q). What is lost is
        P times the divergence of the two distributions inside the bucket, by the chain rule.
        """
        p, q = np.exp(self.base), np.exp(self.variant)
        rest = [np.maximum(1 - self.total(each), LEAST) for each in (p, q)]
        inside = self.total(p * (self.base - self.variant))
        return np.asarray(np.maximum(inside + rest[0] * np.log(rest[0] / rest[1]), 0.0))


@register_derived(unit="nats/token", higher_is_better=False, version=1)
def kl(samples: Sequence[Sample], baseline: Variant) -> list[Row]:
    """Kullback-Leibler divergence of a variant's next token from the baseline's, by token.

    KL(baseline || variant), of runs that kept their likeliest tokens: the estimate of
    `Both.estimate`; its note has the error that the samples add to it and `Both.least`. The
    interval, by documents, covers that error too. Undefined where that error is large
    (`MOST_ERROR`); then `Both.least` is all that is known.
    """
    return [_row(kl.__name__, _divergence, *pair, baseline) for pair in _pairs(samples, baseline)]


@register_derived(unit="share", higher_is_better=True, version=1)
def top1_agreement(samples: Sequence[Sample], baseline: Variant) -> list[Row]:
    """Share of tokens at which variant and baseline find the same next token likeliest."""
    pairs = _pairs(samples, baseline)
    return [_row(top1_agreement.__name__, _agreement, *pair, baseline) for pair in pairs]


def _divergence(base: Columns, variant: Columns) -> tuple[Array, str]:
    both = Both.of(Kept.of(base), Kept.of(variant))
    estimate, tail = both.estimate(), 1 - np.exp(base["top_logprobs"]).sum(axis=1).mean()
    error, least = np.sqrt(both.variance().sum()) / both.places, both.least().mean()
    off = max(abs(mass - 1) for mass in both.masses())
    if error > MOST_ERROR * estimate.mean() or off > MOST_ERROR:
        raise Undefined(
            "the baseline and the variant find too few of the same tokens likely: of an estimate "
            f"of {estimate.mean():.3g} the standard deviation is {error:.2g}, and probabilities "
            f"estimated alike add up to 1 but for {off:.2f}. It is at least {least:.3g}"
        )
    return estimate, (
        f"at least {least:.3g}; the samples add an error of {error:.2g} (standard deviation): "
        f"{tail:.1%} of the baseline's probability is beyond its {base['top_ids'].shape[1]} "
        "likeliest tokens"
    )


def _agreement(base: Columns, variant: Columns) -> tuple[Array, str]:
    return (base["top_ids"][:, 0] == variant["top_ids"][:, 0]).astype(np.float64), ""


def _pairs(samples: Sequence[Sample], baseline: Variant) -> Iterator[tuple[Sample, Sample | None]]:
    """Yields samples that kept likeliest tokens, each with the baseline's of the same question."""
    asked: dict[Ref, dict[int, Sample]] = {}
    for sample in samples:
        run = sample.artifact.run
        if run.variant.unseeded == baseline.unseeded:
            asked.setdefault(compared(run.measurement), {})[run.variant.seed] = sample
    for sample in samples:
        run = sample.artifact.run
        if run.variant.unseeded != baseline.unseeded and "top_ids" in sample.artifact.columns:
            seeds = asked.get(compared(run.measurement), {})
            yield sample, seeds.get(run.variant.seed, seeds[min(seeds)] if seeds else None)


def _row(
    name: str,
    measure: Callable[[Columns, Columns], tuple[Array, str]],
    sample: Sample,
    other: Sample | None,
    baseline: Variant,
) -> Row:
    """Returns the mean over tokens of what `measure` gives of each, or why there is none."""
    interval, run_id = Interval(), sample.artifact.run_id
    try:
        theirs, ours, tokens, kept = _aligned(sample, other)
        values, said = measure(theirs, ours)
        ratio = Ratio(np.bincount(ours["document"], values, len(tokens)), tokens)
        interval = skewed(ratio, sample.clusters.of(kept))
        estimate = Estimate(sample.protocol, ratio.value, len(tokens), note=said)
        run_id += f" {other.artifact.run_id}" if other else ""
    except (Undefined, Unpaired) as error:
        estimate = Estimate(sample.protocol, status="undefined", note=str(error))
    named = {"baseline": baseline.name, "run_id": run_id}
    return row_of(sample, metrics.get(name), estimate, interval, **named)


def _aligned(sample: Sample, other: Sample | None) -> tuple[Columns, Columns, Array, Array | None]:
    """Returns what baseline and variant kept, token by token, of the documents that both have.

    Returns:
        Columns of the baseline and of the variant, by token; how many each document has; where the
        variant has the documents (None: it has no others).

    Raises:
        Undefined: one of the runs kept nothing, or their tokens are not the same.
        Unpaired: a document stands twice in a run.
    """
    if other is None:
        raise Undefined("the baseline was not measured here")
    if "top_ids" not in other.artifact.columns:
        raise Undefined("the baseline's run kept no likeliest tokens: ask it for top= as well")
    if problem := other.problem or sample.problem:
        raise Undefined(str(problem))
    both = [other.artifact.columns, sample.artifact.columns]
    shared, picks = shared_items([both[1]["item"], both[0]["item"]])
    if not len(shared):
        raise Undefined("the variant and the baseline share no item")
    theirs, ours = (
        _by_token(columns if pick is None else {n: v[pick] for n, v in columns.items()})
        for columns, pick in zip(both, reversed(picks), strict=True)
    )
    tokens = both[1]["tokens"] if picks[0] is None else both[1]["tokens"][picks[0]]
    if not all(np.array_equal(theirs[name], ours[name]) for name in ("document", "token_ids")):
        raise Undefined("another tokenizer: the variant's tokens are not those of the baseline")
    return theirs, ours, tokens, picks[0]


def _by_token(columns: Columns) -> Columns:
    """Returns what was kept of each scored token, and the number of its `document`."""
    there = np.arange(columns["token_ids"].shape[1]) < columns["tokens"][:, None]
    return {"document": np.nonzero(there)[0], **{name: columns[name][there] for name in KEPT}}
