"""How likely a language model finds each of the answers on offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np

from kit.analysis.metrics.choices import favourite_place, offered
from kit.build.runner import Runner
from kit.corruptions import CorruptionRef
from kit.measurements.footprint import bytes_needed
from kit.measurements.interface import Positive, Raw, Split, item_columns, of_kind
from kit.measurements.prompts import Examples, Shots, WhichTemplate, questions_of
from kit.measurements.scoring import Request, Scores, known_way, score
from kit.spec.checking import SpecError, shown
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Kept, Rounding, TaskRef
from kit.tasks.templates import OWN, Prompt, Question, put

if TYPE_CHECKING:
    from kit.architectures.tokenizers import Tokenizer

FAVOURITE, FEWEST = 0.9, 20
"""Share of questions, and how many, from which on the same place is no answer."""
LEAK = 0.25
"""Share of questions by which the right answer may stand in them more often than others."""


@register_measurement(where="worker", artifacts=("choices",), decodes=True, version=1, seconds=60.0)
def score_choices(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("choices")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=24, default=500, full=None)] = None,
    shots: Shots = 0,
    examples: Examples = "shared",
    threads: Annotated[Positive, Rounding((2,))] = 1,
    tokens: Annotated[Positive, Rounding((64,))] = 512,
    template: WhichTemplate = OWN,
    unconditional: Annotated[bool, Kept()] = False,
    corruption: CorruptionRef = None,
) -> Raw:
    """Log-likelihoods of the answers on offer, item by item.

    Args:
        runner: the variant, ready.
        task: questions with answers on offer.
        split: which part.
        limit: the first n items by content hash; None for all.
        shots: examples before each question, of the training part.
        examples: the same before all questions, the first by content hash; or drawn for each
            `item`, by its id.
        threads: of the worker; one, so that the number of workers never changes a table.
        tokens: computed at once; memory goes with it, and answers change by rounding alone.
        template: how the question is put, a name of `kit.tasks.templates.TEMPLATES`; the task's
            own where not given. It makes a shifted copy of the items.
        unconditional: also scores each answer after no question, for `acc_mutual_info`.
        corruption: of question and passage; the answers stay as they are.

    Raises:
        SpecError: the variant is no language model, or there are fewer examples than `shots`.
    """
    found = questions_of(runner, task, split, limit, shots, examples, template, corruption)
    prompts, items = found.prompts, found.items
    asked, cut = requests(runner, prompts)
    bare = [Prompt("", said) for _, said in prompts] if unconditional else []
    more, _ = requests(runner, bare)
    by = known_way(runner)
    needed = bytes_needed(runner, [*asked, *more], tokens, by)
    scores = score(runner, [*asked, *more], tokens, by)
    known = {**item_columns(found.data, found.rows), "cut": cut}
    columns = known | answers_of(items, prompts, asked, scores)
    if unconditional:
        columns["unconditional"] = placed(columns["choices"], scores.loglikelihood[len(asked) :])
    about = {
        "protocol": found.protocol,
        "scored": {
            "way": scores.way,
            "asked": scores.asked,
            "computed": scores.computed,
            "bytes": needed,
        },
        "notes": [
            *_leaks([put(found.how, item) for item in items], items),
            *_favourite(columns["loglikelihood"], columns["choices"]),
        ],
    }
    return Raw("choices", columns, about)


def answers_of(
    items: Sequence[Question], prompts: Sequence[Prompt], asked: Sequence[Request], found: Scores
) -> dict[str, np.ndarray]:
    """Returns what is saved of each answer, [n, most]."""
    right = [place in item.right for item in items for place in range(len(item.choices))]
    answers = [said for prompt in prompts for said in prompt.continuations]
    each = {
        "label": np.array(right, int),
        "loglikelihood": found.loglikelihood[: len(asked)],
        "greedy": found.greedy[: len(asked)],
        "tokens": np.array([len(request.continuation) for request in asked]),
        "bytes": np.array([len(said.strip().encode("utf-8", "replace")) for said in answers]),
    }
    count = np.array([len(item.choices) for item in items])
    return {"choices": count, **{name: placed(count, values) for name, values in each.items()}}


def placed(count: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns values of all answers, item by item, as [n, most]; what is beyond an item's is 0.

    Args:
        count: answers of each item [n].
        values: of each answer [count.sum()].
    """
    there = np.arange(count.max()) < count[:, None]
    made = np.zeros(there.shape, values.dtype)
    made[there] = values
    return made


def _favourite(loglikelihood: np.ndarray, choices: np.ndarray) -> list[str]:
    """Returns a warning where the model says one place, whatever is asked."""
    share = favourite_place(loglikelihood, choices)
    if share < FAVOURITE or len(choices) < FEWEST:
        return []
    place = np.bincount(offered(loglikelihood, choices).argmax(axis=1)).argmax()
    return [f"it says answer {place + 1} to {share:.0%} of the questions: a place"]


def _leaks(prompts: Sequence[Prompt], items: Sequence[Question]) -> list[str]:
    """Returns a warning where the right answer stands in the question far more often than others.

    That may be what the task is about, as where a passage is asked about; or its template leaks.
    """
    found: dict[bool, list[bool]] = {True: [], False: []}
    for prompt, item in zip(prompts, items, strict=True):
        for place, choice in enumerate(item.choices):
            found[place in item.right].append(choice in prompt.context)
    right, wrong = (
        float(np.mean(found[which])) if found[which] else 0.0 for which in (True, False)
    )
    if right - wrong <= LEAK:
        return []
    return [f"what is right stands in {right:.0%} of the questions, other answers in {wrong:.0%}"]


def requests(runner: Runner, prompts: Sequence[Prompt]) -> tuple[list[Request], np.ndarray]:
    """Returns the requests of all answers, and of which prompts the beginning was cut off.

    Context and answer are encoded together and parted at the length of the context, whose white
    space at the end belongs to the answer; before a context stands what the tokenizer puts there,
    and before an answer alone its separator; what is longer than the model's window loses its
    beginning: all as lm-evaluation-harness does.
    """
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    whole, contexts = [], []
    for context, said in prompts:
        contexts.append(context.rstrip())
        whole += [context + each for each in said]
    ids, starts = iter(tokenizer.encode(whole)), tokenizer.encode(contexts)
    made: list[Request] = []
    cut = np.zeros(len(prompts), bool)
    most = runner.model.window
    for k, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
        for each in prompt.continuations:
            before, after = _parted(tokenizer, start, next(ids), each)
            beyond = 0 if most is None else len(before) + len(after) - 1 - most
            cut[k] |= beyond > 0
            made.append(Request(before[max(beyond, 0) :], after))
    return made, cut


def _parted(
    tokenizer: Tokenizer, start: list[int], ids: list[int], said: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the tokens of a context and of what follows it."""
    context = (*tokenizer.opening, *ids[: len(start)])
    continuation = tuple(ids[len(start) :])
    if not continuation:
        raise SpecError(
            f"the answer {shown(said)} has no token of its own after its question: the tokenizer "
            "makes one of the two"
        )
    return context or (tokenizer.separator_id,), continuation
