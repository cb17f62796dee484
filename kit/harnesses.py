"""The functions a notebook calls: each names a composition and returns a Study."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit import build, presets, registry
from kit.corruptions import graded, mismatch
from kit.measurements import Cost, Features, Latency, Memory, Quality
from kit.ref import Ref
from kit.spec import Budget, Run, Training, Variant
from kit.study import Study
from kit.tasks import describe, modality
from kit.values import SpecError, suggest

Named = str | Ref
NULL_MODEL_KINDS = ("predictor",)
_ALWAYS: tuple[dict[str, Any], ...] = ({"batch_size": 1}, {"batch_size": 8}, {"threads": 2})
REPEATS = {"image": _ALWAYS, "text": (*_ALWAYS, {"padding": "length"})}
"""Of the baseline, by modality: what changes no more than rounding. The flips of such repeats are
the floor under all flips."""


def evaluate_shift(
    variants: Sequence[Variant | Named],
    tasks: Sequence[Named],
    baseline: Variant | Named,
    *,
    splits: Sequence[str] | None = None,
    corruptions: Sequence[Named] = (),
    severities: Sequence[int] = (1, 3, 5),
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
        corruptions: of the test split, names or Refs, for the lowest seed. Those of another kind
            of example than the task's are left out, as `plan()` says.
        severities: of each corruption that has none, from 1 to 5.
        validation: also predicts the validation parts, on which temperatures, conformal sets and
            detectors are fitted; without them these have no rows.
        features: also keeps hidden vectors, for the detectors `mahalanobis` and `knn`.
        noise_floor: predicts the first split again, with other batches, threads and padding by the
            baseline, so that flips which nothing but rounding makes are known; in batches of one,
            and in those that are timed, by every other variant, whose answers may depend on them.
        limit: items a split, the first by content hash; the preset's number where not given.
        seeds: seeds of each trained variant, from 0.
        measurements: asked of every variant that is no null model, such as `Latency(task)`.
        metrics: names; where not given, the headline ones of the kind of task.
        group_metrics: of these, for each group; `("accuracy",)` or the like where not given.
        shifted_metrics: of corrupted items and validation parts.
        name: of the study, in tables.

    Raises:
        SpecError: an unknown name or split, a wrong severity, or a baseline that is not among the
            variants.
    """
    base = _variant(baseline)
    found = [_variant(variant) for variant in variants]
    if base not in found:
        names = ", ".join(variant.name for variant in found)
        raise SpecError(f"baseline {base.name!r} is not among the variants: {names}")
    refs = [registry.tasks.canonical(task) for task in tasks]
    asked = _splits_of(refs, splits)
    keeping: dict[Variant, dict[str, Any]] = {
        v: {"features": True} if features and build.gives_features(v) else {} for v in found
    }
    runs = [
        Run(seeded, Quality(task, split, limit, **keeping[variant]))
        for task in refs
        for variant in found
        for seeded in _seeded([variant], seeds)
        for split in [*asked[task], *(_validation_splits(task) if validation else ())]
    ]
    left_out: dict[str, str] = {}
    for task, ref in itertools.product(refs, graded(corruptions, severities)):
        if reason := mismatch(ref, task):
            left_out[f"{ref.name} of {task.name}"] = reason
        else:
            runs += [Run(v, Quality(task, "test", limit, ref, **keeping[v])) for v in found]
    real = [v for v in found if build.kind_of(v) not in NULL_MODEL_KINDS]
    batches = _batches({1}, measurements)
    for task in refs:
        if noise_floor:
            ways = {v: batches for v in real} | {base: [*REPEATS[modality(task)], *batches]}
            runs += [
                Run(variant, Quality(task, split, limit, **keeping[variant] | how))
                for split in asked[task][:1]
                for variant, hows in ways.items()
                for how in hows
            ]
        if build.gives_features(base):
            size = limit or presets.preset()["items"] or 500
            runs += [Run(base, Features(task, s, size)) for s in _test_splits(task)]
    runs += [Run(variant, measurement) for measurement in measurements for variant in real]
    return Study(name, runs, base, left_out, metrics, group_metrics, shifted_metrics)


def sweep_quantization(
    base: Variant,
    tasks: Sequence[Named],
    schemes: Sequence[Named | Sequence[Named]] | None = None,
    runtimes: Sequence[Named] | None = None,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    seeds: int = 1,
    latency: Mapping[str, Any] | None = None,
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
        latency: arguments of `Latency`, such as `{"batch_sizes": (1,)}`.
        metrics: names; where not given, the headline ones of the kind of task.
        group_metrics: of these, for each group.
        name: of the study, in tables.

    Raises:
        SpecError: an unknown name or split.
    """
    variants, left_out = [base], {}
    preset = presets.preset()
    schemes = preset["schemes"] if schemes is None else schemes
    runtimes = preset["runtimes"] if runtimes is None else runtimes
    for given in ((), *schemes):
        chain = (given,) if isinstance(given, str | Ref) else tuple(given)
        for runtime in runtimes:
            variant = base.replace(schemes=chain, runtime=runtime)
            simulated = any(_trait(ref, "simulated") for ref in variant.schemes)
            if simulated and variant.runtime.name != "eager":
                left_out[variant.name] = "simulated: an error study, on eager alone"
            elif reason := build.conflict(variant):
                left_out[variant.name] = reason
            else:
                variants.append(variant)
    refs = [registry.tasks.canonical(task) for task in tasks]
    asked = _splits_of(refs, splits)
    timed = Latency(refs[0], **(latency or {}))
    batches = _batches(set(), [timed])
    runs = []
    for variant in dict.fromkeys(variants):
        for task in refs:
            for seeded in _seeded([variant], seeds):
                runs += [Run(seeded, Quality(task, split, limit)) for split in asked[task]]
        runs.append(Run(variant, Memory(refs[0])))
        if not any(_trait(ref, "simulated") for ref in variant.schemes):
            runs.append(Run(variant, timed))
        for task, how in itertools.product(refs, batches):
            runs += [Run(variant, Quality(task, s, limit, **how)) for s in asked[task][:1]]
    return Study(name, runs, base, left_out, metrics, group_metrics)


def compare_architectures(
    architectures: Sequence[Named],
    baseline: Named,
    budget: Budget,
    tasks: Sequence[Named],
    *,
    seeds: int = 1,
    rates: Sequence[float] | None = None,
    batch_size: int = 4,
    length: int = 256,
    trial_steps: int = 64,
    null_models: Sequence[Named] = ("ngram",),
    limit: int | None = None,
    latency: Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    name: str = "architectures",
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
        rates: learning rates tried in short trials on validation; the preset's where not given.
        batch_size: windows an optimizer step.
        length: tokens a window.
        trial_steps: optimizer steps of a trial.
        null_models: fitted on the same text and not timed.
        limit: documents a split; the preset's number where not given.
        latency: arguments of `Latency`; by default one batch of one window: prefill.
        metrics: names; where not given, the headline ones of the kind of task.
        name: of the study, in tables.

    Raises:
        SpecError: an unknown name, no such budget, or a baseline that is not compared.
    """
    from kit.architectures.budget import solve_width

    refs = [registry.tasks.canonical(task) for task in tasks]
    training = Training(
        refs[0],
        budget=budget,
        rates=tuple(rates or presets.preset()["rates"]),
        batch_size=batch_size,
        length=length,
        trial_steps=trial_steps,
        weight_decay=0.1,
        warmup=0.1,
    )

    def variant(named: Named) -> Variant:
        entry = registry.architectures.get(registry.architectures.canonical(named).name)
        make = entry.traits.get("tokenizer")
        size = make().vocab_size if make else 256
        return Variant(solve_width(registry.architectures.canonical(named), budget, size), training)

    base = variant(baseline)
    found = [variant(named) for named in architectures]
    if base not in found:
        raise SpecError(f"baseline {base.name!r} is not among: {', '.join(v.name for v in found)}")
    nulls = [variant(named) for named in null_models]
    runs = [
        Run(seeded, Quality(task, split, limit))
        for seeded in [*_seeded(found, seeds), *nulls]
        for task in refs
        for split in _test_splits(task)
    ]
    runs += [Run(seeded, Cost()) for seeded in [*_seeded(found, seeds), *nulls]]
    timing = {"batch_sizes": (1,), "lengths": (length,), **(latency or {})}
    runs += [Run(v, Latency(refs[0], **timing)) for v in found]
    return Study(name, runs, base, metrics=metrics)


def classifier(
    architecture: Named = "minilm", task: Named = "sentiment", **training: Any
) -> Variant:
    """Returns an encoder or a network for images trained end to end, at the preset's size.

    An architecture that starts from random weights says what that takes: its `rate`, and its
    `passes` over the examples for each of the preset's epochs (at most the preset's).

    Args:
        architecture: an encoder or a network for images, by name or Ref.
        task: a classification task.
        **training: fields of `Training` to set otherwise.
    """
    preset = presets.preset()
    ref = registry.architectures.canonical(architecture)
    traits = registry.architectures.get(ref.name).traits
    epochs = preset["epochs"] * min(traits.get("passes", 1), preset["passes"] or math.inf)
    usual = {
        "budget": Budget(epochs=epochs, examples=preset["training_examples"]),
        "rates": (traits.get("rate", 1e-4),),
    }
    return Variant(ref, Training(registry.tasks.canonical(task), **{**usual, **training}))


def _variant(given: Variant | Named) -> Variant:
    return given if isinstance(given, Variant) else Variant(registry.architectures.canonical(given))


def _seeded(variants: Iterable[Variant], seeds: int) -> list[Variant]:
    """Returns each trained variant once a seed; what is not trained has no seed to vary."""
    return [
        variant.replace(seed=variant.seed + extra)
        for variant in variants
        for extra in range(seeds if build.is_trained(variant) else 1)
    ]


def _batches(sizes: set[int], measurements: Iterable[Ref]) -> list[dict[str, Any]]:
    """Returns the arguments of repeats in batches of these sizes and of those that are timed."""
    asked = map(registry.measurements.canonical, measurements)
    timed = [each.args.get("batch_sizes", ()) for each in asked]
    return [{"batch_size": size} for size in sorted(sizes.union(*timed))]


def _splits_of(tasks: Sequence[Ref], splits: Sequence[str] | None) -> dict[Ref, list[str]]:
    """Returns the splits of each task: those asked for that it has, or else its test splits.

    Raises:
        SpecError: no task has such a split.
    """
    if splits is None:
        return {task: _test_splits(task) for task in tasks}
    wanted = [splits] if isinstance(splits, str) else list(splits)
    known = {task: _filled(task) for task in tasks}
    there = list(dict.fromkeys(itertools.chain(*known.values())))
    for split in wanted:
        if split not in there:
            raise SpecError(suggest(split, there, "split"))
    return {task: [split for split in wanted if split in known[task]] for task in tasks}


def _test_splits(task: Ref) -> list[str]:
    named = _filled(task)
    return [s for s in named if s not in ("train", "validation") and not s.endswith("/validation")]


def _validation_splits(task: Ref) -> list[str]:
    return [s for s in _filled(task) if s.split("/")[-1] == "validation"]


def _filled(task: Ref) -> list[str]:
    """Returns the splits that hold items: a task for finished models may have but a test split."""
    return [split for split, size in describe(task)["sizes"].items() if size]


def _trait(scheme: Ref, trait: str) -> Any:
    return registry.schemes.get(scheme.name).traits[trait]
