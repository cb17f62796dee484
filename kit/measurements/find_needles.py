"""Facts told in a long text, asked for at its end: what a smaller cache has forgotten of them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.haystack import KEYS, TELLINGS, WORDS, Haystack, haystack
from kit.measurements.interface import Positive, Raw, Split, of_kind
from kit.measurements.limits import within_window
from kit.measurements.score_choices import answers_of, requests
from kit.measurements.score_last import documents
from kit.measurements.scoring import Scores, known_way, score
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef


def _few_enough(facts: int, info: ValidationInfo) -> int:
    depths = info.data.get("depths", ())
    if len(depths) * facts > len(KEYS):
        raise SpecError(
            f"facts={facts} at each of {len(depths)} depths: there are {len(KEYS)} to tell; "
            f"expected at most facts={len(KEYS) // len(depths)}"
        )
    return facts


Depths = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]


@register_measurement(where="worker", artifacts=("choices",), decodes=True, version=1, seconds=60.0)
def find_needles(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("language")],
    split: Split = "test",
    limit: Annotated[Positive, Preset(smoke=2, default=7, full=40)] = 7,
    context: Positive = 512,
    depths: Depths = (0.1, 0.3, 0.5, 0.7, 0.9),
    facts: Annotated[Positive, AfterValidator(_few_enough)] = 3,
    options: Annotated[int, Field(ge=2, le=len(WORDS))] = 4,
    told: Literal["text", "turns"] = "text",
    seed: int = 0,
    threads: Annotated[Positive, Rounding((2,))] = 1,
) -> Raw:
    """Log-likelihoods of words that a long text told, each asked for at its end.

    Real text holds facts ("The secret word of Paris is apple.") at several depths and ends in a
    question for one of them. The text is prefilled once and each question goes on from a branch of
    that state: what a cache has dropped or rounded away of the text is missing. These are the pass
    key of Mohtashami and Jaggi ("Landmark attention", NeurIPS 2023) and the needle of Kamradt
    (2023), with several keys as in RULER (Hsieh et al. 2024); `depths=(0.5,), facts=1` is one
    needle alone, and `told="turns"` the recall of what was said turns ago. Guessing gets one in
    `options`; `greedy_match` is whether the model by itself would have said the word.

    An item is a fact, and those of one text are a cluster: the same facts are asked of every
    variant and at every context. Group `depth` is the share of the text before it.

    Args:
        runner: the variant, ready.
        task: real text, documents without labels, of which some are joined.
        split: which part.
        limit: texts, the first by the content hash of the document that each begins with.
        context: tokens of a text and its question, at most; up to the model's window.
        depths: shares of the text after which facts are told, all of them in each text.
        facts: told at each depth, a piece of text between two of them.
        options: words on offer; the wrong ones are those of the text's other facts, where it has
            so many, so that to have seen a word is not enough.
        told: in a running `text`, or in the `turns` of a conversation.
        seed: with the item, of what is drawn: which facts, and which words are on offer.
        threads: of the worker; one, so that the number of workers never changes a table.

    Raises:
        SpecError: the variant is no language model, or there are more facts than words.
        Undefined: what the variant keeps does not answer as a plain forward does; the context is
            beyond its window, or leaves no room beside the facts; or the split has too little text.
    """
    texts, known = documents(runner, task, split, limit)
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    answer = max(map(len, tokenizer.encode([f" {word}" for word in WORDS])))
    within_window(runner, context, answer - 1)  # what comes after an answer is read nowhere
    made = [
        haystack(
            tokenizer,
            TELLINGS[told],
            [*texts[number:], *texts[:number]],
            f"{seed}/{name}",
            context=context,
            depths=depths,
            facts=facts,
            options=options,
        )
        for number, name in enumerate(known["item"])
    ]
    columns, about = _scored(runner, made, context)
    count = len(depths) * facts
    numbers = [f"{name}#{number}" for name in known["item"] for number in range(count)]
    known = {"item": np.array(numbers), "cluster": np.repeat(known["item"], count)}
    known["group:depth"] = np.array([f"{depth:.0%}" for each in made for depth in each.depths])
    items = [item for each in made for item in each.items]
    known["question"] = np.array([item.question.strip() for item in items])
    known["offered"] = np.array([item.choices for item in items])
    protocol = {"context": context, "facts": count, "told": told}
    return Raw("choices", {**known, **columns}, {"protocol": protocol, "scored": about})


def _scored(
    runner: Runner, made: list[Haystack], context: int
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Returns the columns of all answers, and how they were scored.

    Text by text: what several texts begin with would be a prefix of its own, and the rest of each
    no prefill any more.
    """
    by, found, asked = known_way(runner), [], []
    for number, each in enumerate(made):
        report(f"{number} of {len(made)} texts")
        wanted, _ = requests(runner, each.prompts)
        found.append(score(runner, wanted, max(context, 512), by))
        asked += wanted
    scores = Scores(
        np.concatenate([each.loglikelihood for each in found]),
        np.concatenate([each.greedy for each in found]),
        sum(each.asked for each in found),
        sum(each.computed for each in found),
        found[0].way,
    )
    items, prompts = ([one for each in made for one in getattr(each, name)]
                      for name in ("items", "prompts"))  # fmt: skip
    about = {"way": scores.way, "asked": scores.asked, "computed": scores.computed}
    return answers_of(items, prompts, asked, scores), about
