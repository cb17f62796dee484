"""Speculative decoding: several tokens are guessed, and one step says how many of them are right.

What is written is what greedy decoding writes (Leviathan et al. 2023, with the likeliest token in
place of samples): a wrong guess costs time, never a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from kit.spec.checking import Undefined

GUESSES = 10
"""Tokens that are guessed at once."""
LONGEST, SHORTEST = 4, 2
"""Tokens at the end of a text whose like is looked for in it."""


class Guesser(Protocol):
    """Guesses what comes next; of each text a new one."""

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """Returns at most so many tokens that may follow a text, which only grows."""


class Lookup:
    """Guesses that what followed the same few tokens before follows them again.

    Prompt look-up (Saxena 2023): the longest of the text's ends that occurred before, where it did
    last. A single token is no reason to guess.
    """

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}
        self._read = 0

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """Returns at most so many tokens that may follow a text, which only grows."""
        for end in range(self._read, len(text)):
            for size in range(SHORTEST, LONGEST + 1):
                if size <= end:
                    self._after[tuple(text[end - size : end])] = end
        self._read = len(text)
        for size in range(LONGEST, SHORTEST - 1, -1):
            if (place := self._after.get(tuple(text[-size:]))) is not None:
                return [*text[place : place + most]]
        return []


class Draft:
    """Guesses what a smaller model writes.

    Args:
        decoder: its session, of the same tokens.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder, self._state, self._seen = decoder, None, list[int]()

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """Returns at most so many tokens that may follow a text, which only grows."""
        import torch

        if not most:
            return []
        common = next(
            (k for k, (a, b) in enumerate(zip(self._seen, text, strict=False)) if a != b),
            min(len(self._seen), len(text) - 1),
        )
        fresh = torch.tensor([[*text[common:]]])
        if self._state is None:
            logits, self._state = self._decoder.prefill(fresh)
        else:
            if common < len(self._seen):
                self._decoder.crop(self._state, len(self._seen) - common)
            logits = self._decoder.step(self._state, fresh)[:, -1]
        found = [int(logits.argmax())]
        while len(found) < most:
            logits = self._decoder.step(self._state, torch.tensor([[found[-1]]]))[:, -1]
            found.append(int(logits.argmax()))
        self._seen = [*text, *found[:-1]]
        return found


class Guessed(NamedTuple):
    """A text that was written with guesses.

    Attributes:
        tokens: what was written.
        guessed: tokens that were guessed.
        right: of these, those that greedy decoding writes.
    """

    tokens: list[int]
    guessed: int
    right: int


def speculative(decoder: Any, prompt: Sequence[int], tokens: int, guesser: Guesser) -> Guessed:
    """Writes so many tokens after a prompt.

    Args:
        decoder: a session that decodes and can forget tokens (`crop`).
        prompt: tokens, at least one.
        tokens: to write.
        guesser: a new one.

    Raises:
        Undefined: the session cannot forget a wrong guess.
    """
    import torch

    if not hasattr(decoder, "crop"):
        raise Undefined("speculative decoding: what this model keeps cannot forget a wrong guess")
    logits, state = decoder.prefill(torch.tensor([[*prompt]]))
    text = [*prompt, int(logits[0].argmax())]
    guessed = right = 0
    while (left := len(prompt) + tokens - len(text)) > 0:
        guess = guesser.guess(text, min(GUESSES, left - 1))
        likeliest = decoder.step(state, torch.tensor([[text[-1], *guess]]))[0].argmax(-1).tolist()
        same = next((k for k, each in enumerate(guess) if each != likeliest[k]), len(guess))
        if same < len(guess):
            decoder.crop(state, len(guess) - same)
        text += likeliest[: same + 1]
        guessed, right = guessed + len(guess), right + same
    return Guessed(text[len(prompt) :], guessed, right)
