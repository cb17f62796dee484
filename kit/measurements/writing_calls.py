"""Whole texts that are written in a call: several at once, or with tokens guessed ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal

from kit.build.runner import Runner
from kit.build.traits import tolerance
from kit.measurements.decoding_calls import Cost, prompts
from kit.measurements.going_on import Way, decoder, known_way
from kit.measurements.greedy import greedy
from kit.measurements.speculation import Draft, Guesser, Lookup, speculative
from kit.measurements.timer import Ready
from kit.spec.checking import SpecError, Undefined
from kit.spec.spec import Variant

LONGER = 8
"""Tokens by which each request's prompt is longer than the one before: they end alike nowhere."""
Text = Literal["plain", "repeated"]


@dataclass(frozen=True)
class Writing:
    """Writing texts of so many tokens, whatever ends they would have.

    Attributes:
        context: tokens of the prompt.
        tokens_each: written after each prompt.
        text: of the prompt: `plain`, or `repeated`, whose second half says the first again, as
            where a model quotes, extracts or edits what it was given.
        guesses: `lookup`, `draft`, or none: a token a step.
        draft: of whom the guesses are.
        requests: texts.
        at_once: of these.
    """

    context: int
    tokens_each: int
    text: Text = "plain"
    guesses: str = "none"
    draft: Variant | None = None
    requests: int = 1
    at_once: int = 1

    writes: ClassVar = True

    @property
    def tokens(self) -> int:
        """Tokens that a call writes."""
        return self.requests * self.tokens_each

    @property
    def longest(self) -> int:
        """Tokens that the model's window has to hold."""
        return self.context + LONGER * (self.requests - 1) + self.tokens_each

    @property
    def plainly(self) -> Writing:
        """What the other side does: the same texts, one by one, a token a step."""
        return replace(self, guesses="none", draft=None, at_once=1)

    def condition(self) -> dict[str, Any]:
        """Returns what tells it from the other calls of a launch, as rows have it."""
        told = {"context": self.context, "text": self.text, "guesses": self.guesses}
        return {"stage": "write", **told, "requests": self.requests, "at_once": self.at_once}

    def ready(self, runner: Runner, examples: Sequence[Any]) -> Ready:
        """Returns a call for each of several prompts, or one that writes all requests."""
        given = self._prompts(runner, examples)
        if self.requests > 1:
            way = known_way(runner, self.at_once)
            return Ready([lambda: self._requests(runner, way, given)])
        guesser = self._guesser(runner)
        return Ready([partial(self._write, runner, each, guesser) for each in given])

    def cost(self, runner: Runner, eager: Runner, examples: Sequence[Any]) -> Cost:
        """Returns how many guesses are right.

        Raises:
            Undefined: what is written is not what greedy decoding writes.
        """
        del eager
        guesser, total = self._guesser(runner), Cost()
        if guesser is None:
            return total
        for prompt in self._prompts(runner, examples):
            found = speculative(decoder(runner), prompt, self.tokens_each, guesser())
            gap = max(total.gap, self._gap(runner, prompt, found.tokens))
            guessed, right = total.guessed + found.guessed, total.right + found.right
            total = Cost(guessed=guessed, right=right, gap=gap)
        return total

    def _prompts(self, runner: Runner, examples: Sequence[Any]) -> list[list[int]]:
        if self.requests > 1:
            sizes = [self.context + LONGER * k for k in range(self.requests)]
            given = prompts(runner, examples, sizes[-1])
            return [given[k % len(given)][: sizes[k]] for k in range(self.requests)]
        given = prompts(runner, examples, self.context)
        if self.text == "plain":
            return given
        half = (self.context + 1) // 2
        return [[*each[:half], *each[: self.context - half]] for each in given]

    def _guesser(self, runner: Runner) -> Callable[[], Guesser] | None:
        if self.guesses == "none":
            return None
        if self.draft is None:
            return Lookup
        draft = Runner(self.draft, runner.threads, runner.task)
        sample = "Who reads this, and in how many tokens?"
        ours, theirs = runner.model.tokenizer, draft.model.tokenizer
        if ours is None or theirs is None or ours.encode([sample]) != theirs.encode([sample]):
            raise SpecError(
                f"the draft {self.draft.name} reads other tokens than {runner.variant.name}; "
                "expected a model with the same tokenizer"
            )
        return lambda: Draft(decoder(draft))

    def _write(
        self, runner: Runner, prompt: list[int], guesser: Callable[[], Guesser] | None
    ) -> list[int]:
        if guesser is None:
            return [token for token, _ in islice(greedy(decoder(runner), prompt), self.tokens_each)]
        return speculative(decoder(runner), prompt, self.tokens_each, guesser()).tokens

    def _requests(self, runner: Runner, way: Way, given: Sequence[list[int]]) -> None:
        for first in range(0, len(given), way.rows):
            going = way.start(runner)
            logits = going.begin(given[first : first + way.rows])
            for _ in range(self.tokens_each - 1):
                logits = going.step(logits.argmax(-1).tolist())

    def _gap(self, runner: Runner, prompt: list[int], written: list[int]) -> float:
        """Returns by how much the first token that is not greedy decoding's is the less likely one.

        As a share of the largest logit; 0 where there is none. A tie may be broken the other way
        where several tokens go through other kernels than one.

        Raises:
            Undefined: no rounding of the variant explains it.
        """
        for place, (token, logits) in zip(
            range(len(written)), greedy(decoder(runner), prompt), strict=False
        ):
            if token == written[place]:
                continue
            gap = float((logits[token] - logits[written[place]]) / logits.abs().max())
            if gap > tolerance(runner.variant):
                raise Undefined(
                    f"{runner.variant.name} with guesses={self.guesses} writes another token than "
                    f"without after {place}, by {gap:.2g} of the largest logit: not timed"
                )
            return gap
        return 0.0
