"""The calls of decoding that are timed: reading a prompt, and writing the next token."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from kit.architectures.budget import flops_per_token
from kit.architectures.matrices import embeddings
from kit.architectures.states import state_bytes
from kit.build.runner import Runner, TorchRunner
from kit.measurements.going_on import decoder
from kit.measurements.limits import within_memory
from kit.measurements.timer import Ready
from kit.spec.checking import Undefined

if TYPE_CHECKING:
    from torch import Tensor

PROMPTS = 4
"""Different prompts that are gone through, so that nothing is remembered of the last one."""
MOST_STEPS = 128
"""Tokens that are written from one context before it is gone back to."""


class Cost(NamedTuple):
    """What a call has to do at least; 0 where that is not known.

    Attributes:
        moved_bytes: that it reads: weights once, and states.
        flops: of its products.
        guessed: tokens that are guessed ahead.
        right: of these, those that are right.
        gap: by how much the first token that another kernel's rounding changed is the less likely
            one, as a share of the largest logit.
    """

    moved_bytes: float = 0.0
    flops: float = 0.0
    guessed: int = 0
    right: int = 0
    gap: float = 0.0


def prompts(runner: Runner, examples: Sequence[Any], size: int) -> list[list[int]]:
    """Returns different prompts of so many tokens each: real texts, one joined to the next.

    Args:
        runner: of a causal model.
        examples: texts; repeated where they are too short together.
        size: tokens of each.
    """
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    rows = (tokenizer.encode([_text(each)])[0] for each in examples)  # no more than are needed
    tokens = itertools.chain([tokenizer.separator_id], itertools.chain.from_iterable(rows))
    stream = itertools.cycle(tokens)
    return [[*itertools.islice(stream, size)] for _ in range(PROMPTS)]


def _text(example: Any) -> str:
    return example if isinstance(example, str) else " ".join(example)


@dataclass(frozen=True)
class Prefill:
    """Reading a prompt up to its first new token.

    Attributes:
        context: tokens of the prompt.
        shared: of these that were read before, with another prompt that begins alike.
    """

    context: int
    shared: int = 0

    writes: ClassVar = False
    tokens: ClassVar = 1

    @property
    def longest(self) -> int:
        """Tokens that the model's window has to hold."""
        return self.context + 1

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

    def cost(self, runner: Runner, eager: Runner, examples: Sequence[Any]) -> Cost:
        """Returns what it has to do at least: operations are counted in the eager module."""
        import torch

        ids = torch.tensor([prompts(runner, examples, self.context)[0]])
        flops = _flops(eager.model.module, ids) * (1 - self.shared / self.context)
        return Cost(weight_bytes(runner), flops)


@dataclass(frozen=True)
class Step:
    """Writing the next token of several texts at once.

    All of them begin with the same context, which is read once, and go on with different tokens.

    Attributes:
        context: tokens before the first that is written in a turn; later ones have more.
        batch_size: texts.
    """

    context: int
    batch_size: int = 1

    writes: ClassVar = True

    @property
    def tokens(self) -> int:
        """Tokens that a call writes."""
        return self.batch_size

    @property
    def longest(self) -> int:
        """Tokens that the model's window has to hold."""
        return self.context + MOST_STEPS

    def condition(self) -> dict[str, Any]:
        """Returns what tells it from the other calls of a launch, as rows have it."""
        return {"stage": "step", "batch_size": self.batch_size, "context": self.context}

    def ready(self, runner: Runner, examples: Sequence[Any]) -> Ready:
        """Returns a call that writes a token a text, from the context anew in each turn."""
        import torch

        session = decoder(runner)
        first = prompts(runner, examples, self.context + self.batch_size)[0]
        before = self._before(runner, first)
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

    def cost(self, runner: Runner, eager: Runner, examples: Sequence[Any]) -> Cost:
        """Returns what it has to do at least.

        Raises:
            Undefined: the states of the batch, and a copy of one, do not fit into memory.
        """
        text = prompts(runner, examples, self.context)[0]
        state = float(decoder(runner).bytes(self._before(runner, text)))
        with contextlib.suppress(Undefined):  # room for further tokens is held, and not read
            state = min(state, state_bytes(eager.model.module, self.context))
        within_memory(runner, self.batch_size, self.context, state, others=1)
        return Cost(weight_bytes(runner) + self.batch_size * state)

    def _before(self, runner: Runner, text: Sequence[int]) -> Any:
        """Returns the state after the context, read once a model."""
        import torch

        ids = torch.tensor([text[: self.context]])
        name = f"state of {self.context} tokens"
        return runner.once(name, lambda: decoder(runner).prefill(ids)[1])


def weight_bytes(runner: Runner) -> float:
    """Returns the bytes of weights that a token reads: all but embeddings that are looked up alone.

    Of a mixture of experts a token reads fewer.
    """
    total: float = runner.once("stored", runner.stored).nominal_bytes
    if not isinstance(runner, TorchRunner):
        return total
    module: Any = runner.model.module
    output = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    read = {id(each) for each in output.parameters()} if output is not None else set()
    return total - sum(each.nbytes for key, each in embeddings(module).items() if key not in read)


def _flops(module: Any, ids: Tensor) -> float:
    """Returns the operations of reading a prompt [1, t], with the logits of its last token alone.

    Of an architecture that always gives all logits, those of all.
    """
    takes = inspect.signature(module.forward).parameters
    last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
    try:
        return flops_per_token(module, {"input_ids": ids, **last}) * ids.shape[1]
    except Undefined:
        return 0.0
