"""Answers that a language model writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from kit.build.runner import Runner
from kit.corruptions import CorruptionRef
from kit.machine.progress import report
from kit.measurements.interface import Positive, Raw, Split, item_columns, of_kind
from kit.measurements.prompts import Examples, Shots, WhichTemplate, questions_of
from kit.spec.presets import Preset
from kit.spec.ref import content_hash
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef
from kit.tasks.templates import OWN, Template

if TYPE_CHECKING:
    from torch import Tensor


class Written(NamedTuple):
    """What came of a prompt.

    Attributes:
        text: up to what ended it.
        tokens: that were written.
        finish: why it ended: a `stop` text, the model's `end` token, or its `length`.
        seconds: it took, what prompts share left out.
    """

    text: str
    tokens: int
    finish: str
    seconds: float


@register_measurement(where="worker", artifacts=("generations",), version=1, seconds=120.0)
def generate(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("generation")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=8, default=200, full=None)] = None,
    shots: Shots = 0,
    examples: Examples = "shared",
    threads: Annotated[Positive, Rounding((2,))] = 1,
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0,
    draw: Annotated[int, Field(ge=0)] = 0,
    template: WhichTemplate = OWN,
    corruption: CorruptionRef = None,
) -> Raw:
    """Answers that are written token by token, item by item.

    Args:
        runner: the variant, ready.
        task: prompts with right answers.
        split: which part.
        limit: the first n items by content hash; None for all.
        shots, examples: as in `score_choices`.
        threads: of the worker; one, so that the number of workers never changes a table.
        temperature: 0 takes the likeliest token; above, tokens are drawn by their probability at
            that temperature, each item by itself.
        draw: of the random numbers; a metric over draws is a mean over runs that differ in it.
        template: how the prompt is put; the task's own where not given. It makes a shifted copy.
        corruption: of prompt and passage.

    Raises:
        SpecError: the variant is no language model, or there are fewer examples than `shots`.
    """
    asked = questions_of(runner, task, split, limit, shots, examples, template, corruption)
    data, rows, how, items = asked.data, asked.rows, asked.how, asked.items
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    texts = [context.rstrip() for context, _ in asked.prompts]
    prompts = [[*tokenizer.opening, *ids] for ids in tokenizer.encode(texts)]
    prompts = [ids or [tokenizer.separator_id] for ids in prompts]
    choose = [chooser(temperature, content_hash(item, draw)) for item in rows["id"]]
    found = write(runner, prompts, how, choose)
    most = max(len(item.choices) for item in items)
    answers = [[*item.choices, *[""] * (most - len(item.choices))] for item in items]
    columns = {
        **item_columns(data, rows),
        "answers": np.asarray(answers),
        "text": np.asarray([each.text.strip() for each in found]),
        "tokens": np.asarray([each.tokens for each in found]),
        "finish": np.asarray([each.finish for each in found]),
        "seconds": np.asarray([each.seconds for each in found]),
    }
    drawn = {"temperature": temperature} if temperature else {}
    return Raw("generations", columns, {"protocol": asked.protocol | drawn})


def chooser(temperature: float = 0.0, seed: str = "0") -> Callable[[Tensor], int]:
    """Returns what picks the next token by its logits [v]."""
    import torch

    if not temperature:
        return lambda logits: int(logits.argmax())
    generator = torch.Generator().manual_seed(int(seed, 16) % 2**63)

    def drawn(logits: Tensor) -> int:
        share = torch.softmax(logits.double() / temperature, -1)
        return int(torch.multinomial(share, 1, generator=generator))

    return drawn


def write(
    runner: Runner,
    prompts: Sequence[Sequence[int]],
    how: Template,
    choose: Sequence[Callable[[Tensor], int]],
) -> list[Written]:
    """Goes on with each prompt; what all of them begin with is computed once.

    Args:
        runner: of a causal model; its state is kept from token to token where it has one.
        prompts: tokens, at least one each; the beginning of one beyond the window is left out.
        how: says what ends an answer, and how many tokens it may have.
        choose: gives each item's next token by its logits [v].
    """
    import torch

    most = None if runner.model.window is None else max(runner.model.window - how.longest, 1)
    given = [list(each if most is None else each[-most:]) for each in prompts]
    shared = _shared(given)
    session: Any = runner.session
    keeps, state = hasattr(session, "step"), None
    if keeps and shared:
        state = session.prefill(torch.tensor([given[0][:shared]]))[1]
    found = []
    for k, (ids, chosen) in enumerate(zip(given, choose, strict=True)):
        report(f"{k} of {len(given)} items")
        start = time.perf_counter()
        if not keeps:
            logits, branch = _forward(runner, ids), None
        elif state is None:
            logits, branch = session.prefill(torch.tensor([ids]))
        else:
            branch = session.fork(state, 1)
            logits = session.step(branch, torch.tensor([ids[shared:]]))[:, -1]
        text, written, finish = _written(runner, ids, logits, branch, how, chosen)
        found.append(Written(text, written, finish, time.perf_counter() - start))
    return found


def _written(
    runner: Runner,
    ids: Sequence[int],
    logits: Tensor,
    state: Any,
    how: Template,
    choose: Callable[[Tensor], int],
) -> tuple[str, int, str]:
    """Writes one answer from the logits after its prompt; returns text, tokens, why it ended."""
    import torch

    session: Any = runner.session
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    written: list[int] = []
    text = ""
    while True:
        token = choose(logits[0])
        if token in tokenizer.ends:
            return text, len(written), "end"
        written.append(token)
        text = tokenizer.decode(written)
        if at := [place for place in map(text.find, how.stops) if place >= 0]:
            return text[: min(at)], len(written), "stop"
        if len(written) >= how.longest:
            return text, len(written), "length"
        if state is None:
            logits = _forward(runner, [*ids, *written])
        else:
            logits = session.step(state, torch.tensor([[token]]))[:, -1]


def _forward(runner: Runner, ids: Sequence[int]) -> Tensor:
    import torch

    inputs = runner.model.preprocessor.collate([list(ids)])
    return torch.as_tensor(runner.session.forward(inputs))[:, len(ids) - 1]


def _shared(prompts: Sequence[list[int]]) -> int:
    """Returns how many tokens all prompts begin with, but for the last of each; 0 for one alone."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((k for k in range(most) if first[k] != last[k]), most)
