"""Log-likelihoods of continuations: each token that several requests share is computed once.

Requests become a tree. How it is walked (`kit.measurements.walks`) is chosen by what the session
can do, and tried before it is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kit.build.runner import Runner
from kit.build.traits import rounds_rows
from kit.measurements.sharing import KeptWalk, StateWalk, TreeWalk
from kit.measurements.trie import Trie, grow
from kit.measurements.walks import AloneWalk, Walk, vocabulary

if TYPE_CHECKING:
    from torch import Tensor

CLOSE = 1e-3
"""Largest difference of a log-likelihood from that of a plain forward."""
SHARED = tuple(range(1, 31))
TRIED = ((*SHARED, 4, 5), (*SHARED, 6), (*SHARED[:9], 8, 7), (2, 3, 1))
"""Sequences that are scored both ways before a way is trusted; places in the vocabulary. The first
two share what a way keeps."""


class Request(NamedTuple):
    """What is to be scored: how likely the continuation is after the context, neither empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Scores:
    """What came of requests.

    Attributes:
        loglikelihood: [n], the sum over each continuation's tokens, in nats.
        greedy: [n], whether each of its tokens was the likeliest.
        asked: tokens that scoring each request by itself would compute.
        computed: tokens that were.
        way: how: `tree`, `state`, `kept`, `plain` or `alone`.
    """

    loglikelihood: np.ndarray
    greedy: np.ndarray
    asked: int
    computed: int
    way: str


def score(
    runner: Runner, requests: Sequence[Request], most: int = 512, by: type[Walk] | None = None
) -> Scores:
    """Scores continuations by a language model.

    Args:
        runner: of a causal model.
        requests: what to score.
        most: tokens computed at once; memory goes with it: `most` times the vocabulary numbers.
        by: the way; where not given the quickest, tried once a model.

    Raises:
        ValueError: the model gives NaN or infinite logits.
    """
    trie = tree_of(requests)
    walk = (by or known_way(runner))(runner, trie, most)
    walk.run(runner.unfinished)
    likelihood, greedy = np.zeros(len(requests)), np.zeros(len(requests), bool)
    for k, (request, last) in enumerate(zip(requests, trie.last, strict=True)):
        nodes = trie.path(int(last), len(request.context))
        likelihood[k], greedy[k] = walk.likelihood[nodes].sum(), walk.greedy[nodes].all()
    if not np.isfinite(likelihood).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits")
    asked = sum(len(each.context) + len(each.continuation) - 1 for each in requests)
    return Scores(likelihood, greedy, asked, walk.computed, walk.name)


def tree_of(requests: Sequence[Request]) -> Trie:
    """Returns the tree of what requests ask for."""
    sequences = [(*each.context, *each.continuation) for each in requests]
    return grow(sequences, [len(each.context) for each in requests])


def known_way(runner: Runner) -> type[Walk]:
    """Returns what `way` found out of a model, tried on the first call: it takes seconds."""
    found: type[Walk] = runner.once("way to score", lambda: way(runner))
    return found


def way(runner: Runner) -> type[Walk]:
    """Returns the quickest way to score by a model: what its session can, tried on made-up tokens.

    A model whose answer to a row depends on what else is in the call, as with experts that take so
    many tokens and leave out the others, gets each request alone. A session that is `lossy`, whose
    state holds less than the text, answers otherwise than by going forward: it goes by its state.
    A variant that rounds the activations of its rows is not tried: ways agree to that rounding.
    """
    import torch

    if getattr(runner.session, "lossy", False):
        return KeptWalk
    if rounds_rows(runner.variant):
        return StateWalk if hasattr(runner.session, "step") else Walk
    tokens = vocabulary(runner)
    made_up = [tuple(7 * place % tokens for place in each) for each in TRIED]
    trie = grow(made_up, [1] * len(TRIED))
    expected = AloneWalk(runner, trie, 1)
    expected.run()
    dtype = next((each.dtype for each in parameters(runner)), torch.float32)
    close = max(CLOSE, 32 * torch.finfo(dtype).eps)

    def same(walk: Walk) -> bool:
        walk.run()
        gap = np.abs(walk.likelihood - expected.likelihood)[trie.wanted]
        return bool(gap.max() <= close)

    if not same(Walk(runner, trie, 512)):
        return AloneWalk
    for ability, each in (("tree", TreeWalk), ("step", StateWalk)):
        if not hasattr(runner.session, ability):
            continue
        try:
            if same(each(runner, trie, 16)):
                return each
        except Exception:  # whatever a model raises that cannot do what others of its kind can
            continue
    return Walk


def parameters(runner: Runner) -> Iterator[Tensor]:
    """Yields the numbers of a module that are no whole ones."""
    module = runner.model.module
    yield from (each for each in module.parameters() if each.is_floating_point()) if module else ()
