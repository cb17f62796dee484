"""What lm-evaluation-harness makes of a model's answers to a task of its own, item by item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from kit import tasks
from kit.build.runner import Runner
from kit.measurements.interface import Positive, Raw, Split, item_columns, of_kind
from kit.measurements.score_choices import placed
from kit.spec import registry
from kit.spec.artifact_kinds import EXPONENTIAL, WHOLE
from kit.spec.checking import SpecError, tidy
from kit.spec.kinds import TASKS
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef
from kit.store.results import condition

if TYPE_CHECKING:
    from kit.measurements.lm_eval import KitLM

Samples = Mapping[str, Sequence[Mapping[str, Any]]]
"""By filter, what the library logs of each item, in the items' order."""


@register_measurement(
    where="worker", artifacts=("lm_eval", "choices"), decodes=True, version=1, seconds=60.0
)
def score_lm_eval(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("lm_eval", "lm_eval_choices")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=24, default=500, full=None)] = None,
    threads: Annotated[Positive, Rounding((2,))] = 1,
    tokens: Annotated[Positive, Rounding((64,))] = 512,
) -> Raw:
    """Answers to a task of lm-evaluation-harness, with its own measures of each.

    The library puts its prompts, filters what the model says and computes its metrics; the model
    is the kit's scorer (`kit.measurements.lm_eval.KitLM`).

    Args:
        runner: the variant, ready.
        task: that `kit.tasks.lm_eval` made.
        split: which part; there is but `test`.
        limit: the first n items by content hash; None for all. Which examples stand before an item
            depends on it where the task draws them: the library draws them item after item.
        threads: of the worker; one, so that the number of workers never changes a table.
        tokens: computed at once; memory goes with it, and answers change by rounding alone.

    Raises:
        SpecError: the variant is no language model, or the task samples its answers.
    """
    if runner.model.kind != "causal":
        raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
    from kit.measurements.lm_eval import KitLM, run_task  # which needs the library

    data = tasks.load(task)
    rows = data.split(split, limit)
    asked = registry.tasks.get(task.name).traits["harness"]()
    model = KitLM(runner, tokens=tokens)
    results, logged = run_task(model, asked, rows["place"])
    by_filter: dict[str, dict[int, Mapping[str, Any]]] = {}
    for sample in logged:
        by_filter.setdefault(sample["filter"], {})[sample["doc_id"]] = sample
    samples = {name: [found[k] for k in rows["place"]] for name, found in by_filter.items()}
    columns = {**item_columns(data, rows), **measures(asked, results, samples)}
    if "choices" in rows.column_names:
        columns |= answers(model, rows["choices"], rows["label"], next(iter(samples.values())))
    shots = asked.get_config("num_fewshot")
    about = {
        "protocol": {"shots": shots} if shots else {},
        "scored": {"way": model.way, "asked": model.asked, "computed": model.computed},
    }
    return Raw(TASKS[data.kind].artifact, columns, about)


def measures(task: Any, results: Mapping[str, Any], samples: Samples) -> dict[str, np.ndarray]:
    """Returns what each item adds to each of the library's measures, [n, measures].

    Args:
        task: the library's.
        results: `metric,filter` -> the library's number.
        samples: of the items.
    """
    keys = [key for key in results if "," in key and not key.rpartition(",")[0].endswith("_stderr")]
    if not keys:
        raise SpecError(f"the task {task.task_name} has no metric")
    found: dict[str, list[Any]] = {
        name: [] for name in ("measure", "score", "weight", "pooled", "form", "better")
    }
    higher = task.higher_is_better()
    for key in keys:
        metric, _, by = key.rpartition(",")
        values = [sample.get(metric) for sample in samples[by]]
        form, score, weight = _parts(task.aggregation().get(metric), values)
        there = isinstance(results[key], Real) and math.isfinite(results[key])
        parts = {"measure": _told(metric), "filter": None if by == "none" else _told(by)}
        found["measure"].append([condition(**parts)] * len(values))
        found["score"].append(score)
        found["weight"].append(weight)
        found["pooled"].append([float(results[key]) if there else 0.0] * len(values))
        found["form"].append([form if there else -1] * len(values))
        better = higher.get(metric)
        found["better"].append([0 if better is None else 1 if better else -1] * len(values))
    return {name: np.array(each).T for name, each in found.items()}


def _told(name: str) -> str:
    """Returns a name of the library's as the value of a condition."""
    return tidy(name.replace(";", ",").replace("=", ":"))


def _parts(
    aggregation: Any, values: Sequence[Any]
) -> tuple[int, np.ndarray | list[float], np.ndarray | list[float]]:
    """Returns how items make one number, and what each adds: a score [n] of some weight [n].

    A mean over the items that have a value, or a ratio of sums, or the exponential of such a one;
    or else something of all items together.
    """
    from lm_eval.api import metrics

    ratio, exponential = 0, EXPONENTIAL
    known = {
        None: (ratio, 1.0),  # as there, where a metric does not say
        metrics.mean: (ratio, 1.0),
        metrics.weighted_mean: (ratio, 1.0),
        metrics.bits_per_byte: (ratio, -1 / math.log(2)),
        metrics.perplexity: (exponential, -1.0),
        metrics.weighted_perplexity: (exponential, -1.0),
    }
    pairs = [(0.0, 0.0) if value is None else _pair(value) for value in values]
    found = np.array([(math.nan, 0.0) if pair is None else pair for pair in pairs], np.float64)
    if aggregation not in known or not np.isfinite(found).all() or not found[:, 1].any():
        return WHOLE, np.zeros(len(values)), np.zeros(len(values))
    form, factor = known[aggregation]
    return form, factor * found[:, 0], found[:, 1]


def _pair(value: Any) -> tuple[float, float] | None:
    """Returns a number and its weight; None for what is no number."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return (float(value[0]), float(value[1])) if all(map(_is_number, value)) else None
    return (float(value), 1.0) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_)


def answers(
    model: KitLM,
    choices: Sequence[Sequence[str]],
    label: Sequence[Sequence[int]],
    samples: Sequence[Mapping[str, Any]],
) -> dict[str, np.ndarray]:
    """Returns of each answer on offer what `score_choices` saves, [n, most]; see there.

    Args:
        model: that scored them.
        choices: of each item.
        label: places of the right ones.
        samples: with the requests, and the responses to them; where there are twice as many as
            answers, the rest is each answer after nothing.
    """
    count = np.array([len(offer) for offer in choices])
    said = [(sample["arguments"][k], sample["resps"][k][0]) for sample, most in
            zip(samples, count, strict=True) for k in range(most)]  # fmt: skip
    read = [model.read[tuple(arguments)] for arguments, _ in said]
    right = [k in marked for offer, marked in zip(choices, label, strict=True)
             for k in range(len(offer))]  # fmt: skip
    each = {
        "label": np.array(right, int),
        "loglikelihood": np.array([found[0] for _, found in said], np.float64),
        "greedy": np.array([found[1] for _, found in said], bool),
        "tokens": np.array([known.tokens for known in read]),
        "bytes": np.array([len(text.encode()) for offer in choices for text in offer]),
    }
    columns = {"choices": count, **{name: placed(count, found) for name, found in each.items()}}
    cut = placed(count, np.array([known.cut for known in read]))
    columns["cut"] = np.asarray(cut.any(axis=1))
    if all(len(sample["resps"]) == 2 * most for sample, most in zip(samples, count, strict=True)):
        bare = [sample["resps"][most + k][0][0] for sample, most in
                zip(samples, count, strict=True) for k in range(most)]  # fmt: skip
        columns["unconditional"] = placed(count, np.array(bare, np.float64))
    return columns
