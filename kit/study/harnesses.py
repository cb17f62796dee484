"""The functions a notebook calls: each names a composition and returns a Study."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from kit.build import build
from kit.build.traits import kind_of
from kit.corruptions import graded
from kit.measurements import Cost, Latency, Memory, Quality
from kit.spec import presets
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Run, Training, Variant
from kit.study.study import Study
from kit.study.variants import (
    Named,
    among,
    batches,
    combinations,
    each_seed,
    is_simulated,
    of_size,
    shifted_copies,
    tasks_of,
    variant_of,
    ways_again,
)
from kit.tasks import chosen_splits, splits_of

USUAL: Mapping[str, Any] = MappingProxyType({})
"""Arguments of a measurement: what it has by default."""
RATES = (1e-3, 3e-3, 1e-2)
NULL_MODEL_KINDS = ("predictor",)


def evaluate_shift(
    variants: Sequence[Variant | Named],
    tasks: Sequence[Named],
    baseline: Variant | Named,
    *,
    splits: Sequence[str] | None = None,
    corruptions: Sequence[Named] = (),
    severities: Sequence[int] = (1, 3, 5),
    templates: Sequence[str] = (),
    validation: bool = True,
    features: bool = False,
    noise_floor: bool = True,
    limit: int | None = None,
    seeds: int = 1,
    measurements: Sequence[Ref] = (),
    metrics: Sequence[str] | None = None,
    group_metrics: Sequence[str] | None = None,
    shifted_metrics: Sequence[str] | None = None,
    name: str = "shift",
) -> Study:
    """What a shift does: quality in distribution, near, far, by group and as the input gets worse.

    From predictions made once come quality, calibration, the detection of outliers and accuracy
    without labels, each paired with the baseline where it can be, and how far each shift is.

    Args:
        variants: what to compare; a name stands for a pretrained model or a null model.
        tasks: names or Refs.
        baseline: one of the variants; paired numbers are against it.
        splits: the test split and every shift's test part where not given.
        corruptions: of the test split, for the lowest seed, those of the task's kind of example.
        severities: of each corruption that has none, from 1 to 5.
        templates: other ways to put the questions of tasks of choices, for the lowest seed.
        validation: also predicts the validation parts, on which temperatures, conformal sets and
            detectors are fitted; without them these have no rows.
        features: keeps every variant's hidden vectors, not the baseline's alone, for the detectors
            `mahalanobis` and `knn`.
        noise_floor: predicts the first split again, by the baseline in all ways that change no
            more than rounding, by others in batches of one and in those that are timed.
        limit: items a split, the first by content hash; the preset's number where not given.
        seeds: seeds of each trained variant, from 0.
        measurements: asked of every variant that is no null model, such as `Latency(task)`.
        metrics: names; where not given, the headline ones of the kind of task.
        group_metrics: of these, for each group; `("accuracy",)` or the like where not given.
        shifted_metrics: of corrupted items and validation parts.
        name: of the study, in tables.

    Raises:
        SpecError: an unknown name or split, a wrong severity, or a baseline that is no variant.
    """
    base, compared = among(map(variant_of, variants), variant_of(baseline))
    refs = tasks_of(tasks)
    asked = chosen_splits(refs, splits)
    predict = partial(_predicted, limit, compared if features else [base])
    runs = [
        predict(seeded, task, split)
        for task in refs
        for seeded in each_seed(compared, seeds)
        for split in [*asked[task], *(splits_of(task, "validation") if validation else ())]
    ]
    copies, left_out = shifted_copies(refs, graded(corruptions, severities), templates)
    for task, how in copies:
        runs += [predict(variant, task, "test", **how) for variant in compared]
    real = [v for v in compared if kind_of(v) not in NULL_MODEL_KINDS]
    for task in refs if noise_floor else ():
        for variant, how in ways_again(task, base, real, batches({1}, measurements)):
            runs += [predict(variant, task, split, **how) for split in asked[task][:1]]
    runs += [Run(variant, measurement) for measurement in measurements for variant in real]
    return Study(name, runs, base, left_out, metrics, group_metrics, shifted_metrics)


def sweep_quantization(
    base: Variant | Named,
    tasks: Sequence[Named],
    schemes: Sequence[Named | Sequence[Named]] | None = None,
    runtimes: Sequence[Named] | None = None,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    seeds: int = 1,
    latency: Mapping[str, Any] | None = USUAL,
    metrics: Sequence[str] | None = None,
    group_metrics: Sequence[str] | None = None,
    name: str = "quantization",
) -> Study:
    """Every scheme on every runtime where it works: quality, time and memory against the base.

    The first split is predicted again in batches of the sizes that are timed, since a variant's
    answers may depend on them, as dynamic int8's do: `noise_flips` says how many.

    Simulated schemes run on eager alone and are not timed. Combinations that cannot work, and bf16
    where this machine multiplies it more slowly than fp32, are left out and listed by `plan()`;
    ask for such a variant by name and it becomes an `undefined` row with the reason.

    Args:
        base: the uncompressed variant on eager.
        tasks: names or Refs; the first one's texts are timed.
        schemes: each a name, a Ref, or several of these in order; fp32 is always there. The
            preset's where not given.
        runtimes: names or Refs; the preset's where not given.
        splits: the test split and every shift's test part where not given.
        limit: items a split; the preset's number where not given.
        seeds: seeds of a trained base, from 0.
        latency: arguments of `Latency`, such as `{"batch_sizes": (1,)}`; None: nothing is timed.
        metrics: names; where not given, the headline ones of the kind of task.
        group_metrics: of these, for each group.
        name: of the study, in tables.

    Raises:
        SpecError: an unknown name or split.
    """
    variants, left_out = combinations(variant_of(base), schemes, runtimes)
    refs = tasks_of(tasks)
    asked = chosen_splits(refs, splits)
    timed = [] if latency is None else [Latency(refs[0], **latency)]
    again = batches(set(), timed)
    runs = []
    for variant in variants:
        for task, seeded in itertools.product(refs, each_seed([variant], seeds)):
            runs += [Run(seeded, Quality(task, split, limit)) for split in asked[task]]
        runs.append(Run(variant, Memory(refs[0])))
        if not is_simulated(variant):
            runs += [Run(variant, each) for each in timed]
        for task, how in itertools.product(refs, again):
            if how.keys() <= Quality(task).args.keys():
                runs += [Run(variant, Quality(task, s, limit, **how)) for s in asked[task][:1]]
    return Study(name, runs, variants[0], left_out, metrics, group_metrics)


def compare_architectures(
    architectures: Sequence[Named],
    baseline: Named,
    budget: Budget,
    tasks: Sequence[Named],
    *,
    seeds: int = 1,
    null_models: Sequence[Named] = ("ngram",),
    limit: int | None = None,
    latency: Mapping[str, Any] | None = USUAL,
    metrics: Sequence[str] | None = None,
    name: str = "architectures",
    **training: Any,
) -> Study:
    """Small language models from scratch on the same text, at equal parameters and tokens.

    Equal: non-embedding parameters within 3% (the width, then the feed-forward size, is solved for
    them), the same bytes in the same order, batches and steps, rates tried. Not equal: FLOPs a
    token, seconds, bytes of state; these are measured.

    Args:
        architectures: causal architectures by name or Ref.
        baseline: one of them.
        budget: `parameters` and `tokens`.
        tasks: language tasks; each model is trained on the first.
        seeds: of each model, from 0.
        null_models: fitted on the same text and not timed.
        limit: documents a split; the preset's number where not given.
        latency: arguments of `Latency`; by default one batch of one window: prefill. None:
            nothing is timed.
        metrics: names; where not given, the headline ones of the kind of task.
        name: of the study, in tables.
        **training: fields of `Training` to set otherwise, such as `length`, tokens a window.

    Raises:
        SpecError: an unknown name, no such budget, or a baseline that is not compared.
    """
    refs = tasks_of(tasks)
    usual = {
        "rates": presets.of(smoke=(3e-3,), default=RATES, full=RATES),
        **{"batch_size": 4, "length": 256, "weight_decay": 0.1, "warmup": 0.1},
    }
    made = Training(refs[0], budget=budget, **{**usual, **training})
    sized = partial(of_size, budget=budget, training=made)
    base, compared = among(map(sized, architectures), sized(baseline))
    judged = [*each_seed(compared, seeds), *map(sized, null_models)]
    runs = [
        Run(variant, Quality(task, split, limit))
        for variant in judged
        for task in refs
        for split in splits_of(task, "test")
    ]
    runs += [Run(variant, Cost()) for variant in judged]
    if latency is not None:
        timing = {"batch_sizes": (1,), "lengths": (made.length,), **latency}
        runs += [Run(variant, Latency(refs[0], **timing)) for variant in compared]
    return Study(name, runs, base, metrics=metrics)


def _predicted(
    limit: int | None, seen: Sequence[Variant], variant: Variant, task: Ref, split: str, **how: Any
) -> Run:
    """Returns a run of predictions; those of some variants keep features where there are any."""
    ask = Quality(task, split, limit, **how)
    keeps = "features" in ask.args and any(variant.replace(seed=v.seed) == v for v in seen)
    if keeps and build.gives_features(variant):
        ask = ask.replace(features=True)
    return Run(variant, ask)
