"""Bytes that scoring and writing will hold beside the model, known before they begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kit.build.runner import Runner
from kit.measurements.scoring import Request, parameters, tree_of
from kit.measurements.sharing import StateWalk, TreeWalk
from kit.measurements.walks import AT_ONCE, Walk, batches, vocabulary
from kit.measurements.writing import Room
from kit.tasks.templates import Template

if TYPE_CHECKING:
    from kit.measurements.going_on import Way
    from kit.measurements.trie import Trie

VECTORS = 4
"""Vectors of its widest layer that a model holds at once for each token."""
StateBytes = Callable[[int], float]


def bytes_needed(runner: Runner, requests: Sequence[Request], most: int, by: type[Walk]) -> int:
    """Returns about how many bytes scoring will hold at once beside the model.

    They are logits, at most `most` rows of the vocabulary's size; states: those of the shared
    prefixes above what is being computed, and that of what is; masks; and a few vectors a token.
    A module that holds more for itself, as n-grams do with tables of the logits' size, takes that
    beside.

    Args:
        runner: of a causal model.
        requests: what will be scored.
        most: tokens computed at once.
        by: the way, as `kit.measurements.scoring.way` gives it.
    """
    walk = by(runner, tree_of(requests), most)
    size = state_bytes(runner) if isinstance(walk, TreeWalk | StateWalk) else lambda tokens: 0.0
    row = _itemsize(runner) * vocabulary(runner)
    token = VECTORS * _itemsize(runner) * _widest(runner)
    if isinstance(walk, TreeWalk):
        held = _tree(walk, size, row, token)
    elif isinstance(walk, StateWalk):
        held = _state(walk, size, row, token)
    else:
        held = _plain(walk.paths(), walk.most, row, token)
    return int(held) + 2 * AT_ONCE * 4 * vocabulary(runner)


def state_bytes(runner: Runner) -> StateBytes:
    """Returns what a state takes after so many tokens, told from those after one and two.

    A sliding window or a recurrence takes less than that after many.
    """
    import torch

    session = runner.session
    one, two = (session.bytes(session.prefill(torch.zeros(1, n).long())[1]) for n in (1, 2))
    return lambda tokens: one + (two - one) * max(tokens - 1, 0)


def _plain(paths: Sequence[list[int]], most: int, row: float, token: float) -> float:
    """Returns what a batch of paths by themselves takes: logits of every place."""
    sizes = (len(batch) * max(map(len, batch)) for batch in batches(paths, most))
    return max(sizes, default=0) * max(row, token)


def _tree(walk: TreeWalk, size: StateBytes, row: float, token: float) -> float:
    """Returns what the largest part takes: its logits or its layers, its masks, its states."""
    import numpy as np

    trie, most, kept = walk.trie, 0.0, {-1}
    item = _itemsize(walk.runner)
    for nodes, after, grows in ((p.nodes, p.after, p.grows) for p in walk.parts()):
        kept = {n for n in kept if trie.under(after, n)}
        past = _past(trie, after)
        states = sum(size(_past(trie, n)) for n in kept if n >= 0) + size(past + len(nodes))
        asked = len(np.unique(trie.asked(nodes)[1]))
        masks = len(nodes) ** 2 + len(nodes) * (past + len(nodes)) * (item + 1)
        most = max(most, states + masks + max(asked * row, len(nodes) * token))
        if grows:
            kept.add(int(nodes[-1]))
    return most


def _state(walk: StateWalk, size: StateBytes, row: float, token: float) -> float:
    """Returns what the largest step takes: logits of every place, states, forks of the last."""
    trie, most, kept = walk.trie, 0.0, {-1}
    for after, paths, grows in walk.steps(lambda node: size(_past(trie, node))):
        if after < 0 and not grows:
            most = max(most, _plain(paths, walk.most, row, token))
            continue
        kept = {n for n in kept if trie.under(after, n)}
        width = max(map(len, paths))
        states = sum(size(_past(trie, n)) for n in kept if n >= 0)
        states += len(paths) * size(_past(trie, after) + width)
        places = len(paths) * min(width, walk.most)
        most = max(most, states + places * max(row, token))
        if grows:
            kept.add(paths[0][-1])
    return most


def _past(trie: Trie, node: int) -> int:
    """Returns how many tokens there are up to a node, it included."""
    return int(trie.depth[node]) + 1 if node >= 0 else 0


def _itemsize(runner: Runner) -> int:
    """Returns the bytes of a number that the model computes with."""
    return next((each.element_size() for each in parameters(runner)), 4)


def _widest(runner: Runner) -> int:
    """Returns how many numbers the widest matrix gives for a token, that of the logits aside."""
    found = (size for each in parameters(runner) if each.ndim == 2 for size in each.shape)
    return max((size for size in found if size != vocabulary(runner)), default=0)


def written_bytes(
    runner: Runner, prompts: Sequence[Sequence[int]], how: Template, room: Room, by: Way
) -> int:
    """Returns the most that the state of a batch takes, from what states of few tokens take.

    It grows by the token, or less where a layer forgets. While rows are exchanged, the old state
    and the new one are there for a moment.

    Args:
        runner: of a causal model.
        prompts: that are to be written.
        how: says how long answers may get.
        room: how much at once.
        by: the way.
    """
    few = []
    for length in (1, 2):
        going = by.start(runner)
        going.begin([[0] * length])
        few.append(going.bytes())
    a_token, fixed = few[1] - few[0], 2 * few[0] - few[1]
    most = 0
    for longest in {len(each) + how.longest for each in prompts}:
        rows = next(k for k in range(min(by.rows, len(prompts)), 0, -1) if room.fits(k, longest))
        most = max(most, rows * (fixed + a_token * longest))
    return most
