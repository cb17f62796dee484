"""The calls of decoding that are timed: reading a prompt, and writing the next token."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from kit.build.runner import Runner
from kit.measurements.going_on import decoder
from kit.measurements.timer import Ready

PROMPTS = 4
"""Different prompts that are gone through, so that nothing is remembered of the last one."""
MOST_STEPS = 128
"""Tokens that are written from one context before it is gone back to."""


def prompts(runner: Runner, examples: Sequence[Any], size: int) -> list[list[int]]:
    """Returns different prompts of so many tokens each: real texts, one joined to the next.

    Args:
        runner: of a causal model.
        examples: texts; repeated where they are too short together.
        size: tokens of each.
    """
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    rows = tokenizer.encode([*map(_text, examples)])
    stream = itertools.cycle(itertools.chain([tokenizer.separator_id], *rows))
    return [[*itertools.islice(stream, size)] for _ in range(PROMPTS)]


def _text(example: Any) -> str:
    return example if isinstance(example, str) else " ".join(example)


class Prefill(NamedTuple):
    """Reading a prompt up to its first new token.

    Attributes:
        context: tokens of the prompt.
        shared: of these that were read before, with another prompt that begins alike.
    """

    context: int
    shared: int = 0

    def condition(self) -> dict[str, Any]:
        """Returns what tells it from the other calls of a launch, as rows have it."""
        shared = self.shared or None
        return {"stage": "prefill", "batch_size": 1, "context": self.context, "shared": shared}

    def ready(self, runner: Runner, examples: Sequence[Any]) -> Ready:
        """Returns a call for each of several prompts."""
        import torch

        session = decoder(runner)

        def call(ids: Any, state: Any) -> int:
            if state is None:
                return int(session.prefill(ids)[0].argmax())
            return int(session.step(session.fork(state, 1), ids)[:, -1].argmax())

        calls = []
        for prompt in prompts(runner, examples, self.context):
            ids, shared = torch.tensor([prompt]), self.shared
            state = session.prefill(ids[:, :shared])[1] if shared else None
            calls.append(lambda ids=ids[:, shared:], state=state: call(ids, state))
        return Ready(calls)


class Step(NamedTuple):
    """Writing the next token of several texts at once.

    All of them begin with the same context, which is read once, and go on with different tokens.

    Attributes:
        context: tokens before the first that is written in a turn; later ones have more.
        batch_size: texts.
    """

    context: int
    batch_size: int = 1

    def condition(self) -> dict[str, Any]:
        """Returns what tells it from the other calls of a launch, as rows have it."""
        return {"stage": "step", "batch_size": self.batch_size, "context": self.context}

    def ready(self, runner: Runner, examples: Sequence[Any]) -> Ready:
        """Returns a call that writes a token a text, from the context anew in each turn."""
        import torch

        session = decoder(runner)
        first = prompts(runner, examples, self.context + self.batch_size)[0]
        before = session.prefill(torch.tensor([first[: self.context]]))[1]
        now: dict[str, Any] = {}

        def begin() -> None:
            now["state"] = session.fork(before, self.batch_size)
            now["ids"], now["left"] = torch.tensor(first[self.context :])[:, None], MOST_STEPS

        def call() -> None:
            if not now["left"]:
                begin()
            now["left"] -= 1
            now["ids"] = session.step(now["state"], now["ids"])[:, -1].argmax(-1, keepdim=True)

        return Ready([call], begin, now.clear)
