"""The kinds of artifact that the kit's measurements save, each with its tiny example."""

from __future__ import annotations

import numpy as np

from kit.spec import timing_kinds  # noqa: F401 (registers those of timings)
from kit.spec.kinds import Columns, register_artifact
from kit.spec.probabilities import CLASSES, LABELS, log_softmax


@register_artifact(record="quantity", columns=("condition",))
def quantities() -> Columns:
    """Numbers that a measurement counted, each a row: which of its quantities, under what."""
    names = np.array(["parameters", "state_bytes"])
    return {"quantity": names, "condition": np.array(["", "context=8"]), "value": np.full(2, 8.0)}


ITEMS = 40


def _items() -> Columns:
    count = np.arange(ITEMS)
    return {"item": np.char.mod("%03d", count), "cluster": np.char.mod("%d", count // 2)}


def _predictions() -> Columns:
    return {**_items(), "cut": np.arange(ITEMS) % 5 == 0}


def _scores() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ITEMS, 2)).astype(np.float32)


@register_artifact(
    record="item",
    columns=("label", "logits"),
    optional=("features", "valence", "cut"),
    derived=CLASSES,
    metrics=(
        *("accuracy", "balanced_accuracy", "accuracy_retained", "nll", "ece", "ece_temperature"),
        *("conformal_coverage", "conformal_size", "estimated_accuracy_error", "ood_auroc"),
        "texts_cut",
    ),
    group_metrics=("accuracy",),
    shifted_metrics=("accuracy", "accuracy_retained"),
)
def classification() -> Columns:
    """Scores of each class [n, classes], which may be log-probabilities, and the item's own."""
    scores, label = _scores(), np.arange(ITEMS) % 2
    logits = scores + 0.5 * np.eye(2, dtype=np.float32)[label]
    more = {"features": scores, "valence": label + scores[:, 0]}
    return {**_predictions(), "label": label, "logits": logits, **more}


@register_artifact(
    record="item",
    columns=("label", "logits"),
    optional=("features", "cut"),
    derived=LABELS,
    metrics=(
        *("subset_accuracy", "hamming_loss", "micro_f1", "macro_f1", "macro_auroc", "label_auroc"),
        *("label_nll", "label_ece", "texts_cut"),
    ),
    group_metrics=("subset_accuracy",),
)
def multi_label() -> Columns:
    """A score of each label [n, labels], and whether the item has it (0 or 1)."""
    scores, rng = _scores(), np.random.default_rng(1)
    label = (scores > rng.normal(size=scores.shape)) + 0
    return {**_predictions(), "label": label, "logits": scores}


@register_artifact(
    record="item",
    columns=("label", "prediction"),
    optional=("features", "cut"),
    metrics=("rmse", "mae", "r2", "pearson", "spearman", "texts_cut"),
    group_metrics=("mae",),
)
def regression() -> Columns:
    """A number for each item, and the true one."""
    near = np.arange(ITEMS) % 7
    prediction = near + _scores()[:, 0].astype(np.float64)
    return {**_predictions(), "label": near / 2, "prediction": prediction}


def _choice_probabilities(loglikelihood: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """Returns the probabilities [n, most] of the answers on offer, which add up to 1."""
    there = np.arange(loglikelihood.shape[1]) < choices[:, None]
    return np.asarray(np.exp(log_softmax(np.where(there, loglikelihood, -np.inf))))


MEASURES = ("measure", "score", "weight", "pooled", "form", "better")
MEASURED = ("lm_eval_score", "lm_eval_loss", "lm_eval_other")
EXPONENTIAL, WHOLE = 1, 2
"""How lm-evaluation-harness makes one number of a measure, `form`: else it is a weighted mean."""


def _measures() -> Columns:
    """Returns what items add to three measures, [n, 3]."""
    count, ones = np.arange(ITEMS)[:, None], np.ones((ITEMS, 1))
    score = np.concatenate([count % 3 == 0, 1 + count % 4, 0 * count], axis=1).astype(float)
    found: Columns = {"score": score, "weight": np.concatenate([ones, 2 * ones, 0 * ones], axis=1)}
    known = {
        "measure": np.array(["measure=acc", "measure=byte_perplexity", "filter=best;measure=f1"]),
        "pooled": np.array([0.35, 3.5, 0.5]),
        "form": np.array([0, EXPONENTIAL, WHOLE]),
        "better": np.array([1, -1, 0]),
    }
    return found | {name: np.tile(each, (ITEMS, 1)) for name, each in known.items()}


@register_artifact(record="item", columns=MEASURES, metrics=MEASURED)
def lm_eval() -> Columns:
    """Of each measure of a task of lm-evaluation-harness [n, measures]: its name and filter, what
    the item adds (`score`, of `weight`), the number that they make together there (`pooled`), how,
    and whether more is better (1), less (-1) or neither.
    """
    return {**_items(), **_measures()}


@register_artifact(
    record="item",
    columns=("label", "loglikelihood", "choices", "tokens", "bytes", "greedy"),
    optional=("unconditional", "cut", "question", "offered", *MEASURES),
    derived={"choice_probabilities": _choice_probabilities},
    metrics=(
        *("acc", "acc_norm", "acc_mutual_info", "choice_margin", "choice_brier", "choice_ece"),
        *("chance", "favourite_place", "texts_cut", *MEASURED),
    ),
    group_metrics=("acc",),
    shifted_metrics=("acc", "acc_norm"),
)
def choices() -> Columns:
    """Of each answer on offer [n, most] whether it is right, its log-likelihood (a sum, in nats),
    tokens, bytes, and whether the model would have said it; `choices` of them count in an item.

    Where the task does not hold what was asked, its text (`question`) and the answers (`offered`).
    """
    rng, most = np.random.default_rng(0), 4
    count = 2 + np.arange(ITEMS) % (most - 1)
    size = 1 + rng.integers(0, 5, (ITEMS, most))
    found: Columns = {"loglikelihood": -3 * size * rng.random((ITEMS, most)), "tokens": size}
    found |= {"bytes": 4 * size, "greedy": rng.random((ITEMS, most)) < 0.2, "choices": count}
    label = (np.arange(most) == (np.arange(ITEMS) % count)[:, None]) + 0
    found |= {"unconditional": -2.0 * size, **_measures()}
    found |= {
        "question": np.char.mod("which is %d?", np.arange(ITEMS)),
        "offered": size.astype(str),
    }
    return {**_predictions(), "label": label, **found}


@register_artifact(
    record="item",
    columns=("text", "answers", "tokens", "finish"),
    optional=("question", "seconds", "cut"),
    metrics=(
        *("exact_match", "token_f1", "rouge_l", "contains_answer", "answer_tokens", "cut_short"),
        "texts_cut",
    ),
    group_metrics=("exact_match",),
    shifted_metrics=("exact_match", "token_f1"),
)
def generations() -> Columns:
    """Of each item the question, the right answers [n, most], what a model wrote and how it ended.

    Where several answers were drawn, each is an item, and those to one question are a cluster.
    """
    count = np.arange(ITEMS)
    answers = np.stack([np.char.mod("number %d", count), np.where(count % 2, "", "none")], axis=1)
    text = np.where(count % 3, answers[:, 0], "it is none of them")
    finish = np.where(count % 5, "stop", "length")
    size = 2 + count % 4
    return {**_items(), "text": text, "answers": answers, "tokens": size, "finish": finish,
            "question": np.char.mod("which is %d?", count), "cut": count % 7 == 0,
            "seconds": size / 10}  # fmt: skip


@register_artifact(
    record="item",
    columns=("nll", "tokens", "bytes"),
    optional=(
        *("words", "token_ids", "top_ids", "top_logprobs"),
        *("tail_ids", "tail_logprobs", "tail_reach"),
    ),
    metrics=("bits_per_byte", "perplexity"),
)
def tokens() -> Columns:
    """Of each document the negative log-likelihood (nats), tokens scored, bytes and words of text;
    and, where they were asked for, the likeliest tokens (`kit.measurements.likeliest`).
    """
    rng, size = np.random.default_rng(0), 3 + np.arange(ITEMS) % 9
    counts = {"tokens": size, "bytes": 5 * size, "words": size - 1}
    return {**_items(), "nll": rng.random(ITEMS) * 9, **counts}
