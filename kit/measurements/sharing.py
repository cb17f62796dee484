"""Ways over a tree of tokens that compute once what sequences begin with.

- `tree`: whole branches packed in one row, each token seeing what stands above it alone; a long
  shared prefix is kept and gone on from. For models of attention.
- `state`: a shared prefix once, then its branches from forks of the state. For recurrent models.
- `kept`: the same of every sequence, shared or not. For what keeps less than the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kit.measurements.trie import Part, parts
from kit.measurements.walks import Walk, batches, vocabulary

KEEP = 24
"""Tokens from which on a shared prefix is kept: going on from it costs about as much."""


class Step(NamedTuple):
    """Paths computed at once from forks of a state.

    Attributes:
        after: the node whose state they go on from; -1: they begin.
        paths: of nodes.
        grows: there is one path, and the state after it is kept for the steps that come next.
    """

    after: int
    paths: list[list[int]]
    grows: bool


class StateWalk(Walk):
    """Goes on from forks of the state after what branches share."""

    name = "state"

    def _walk(self) -> Iterator[None]:
        session = self.runner.session
        states: dict[int, Any] = {-1: None}

        def size(node: int) -> float:
            return session.bytes(states[node]) if node in states else 0.0

        for after, paths, grows in self.steps(size):
            if not any(self.needed(path, below=grows) for path in paths):
                continue
            for done in [node for node in states if not self.trie.under(after, node)]:
                del states[done]
            if after < 0 and not grows:
                yield from self._together(paths)
                continue
            state = self._go_on(states[after], paths)
            if grows:
                states[paths[0][-1]] = state
            yield

    def steps(self, state_bytes: Callable[[int], float]) -> Iterator[Step]:
        """Yields what to compute, each step after the one whose state it goes on from.

        Forks of a state take no more than logits may: a hundred short answers after a long prompt
        would be a hundred copies of what the prompt left.

        Args:
            state_bytes: of the state after a node, asked for once it is there.
        """
        yield from self._below(-1, state_bytes)

    def _below(self, node: int, state_bytes: Callable[[int], float]) -> Iterator[Step]:
        ends: list[list[int]] = []
        for child in self.trie.children(node):
            path = [child]
            while len(only := self.trie.children(path[-1])) == 1:
                path += only
            if not only:
                ends.append(path)
                continue
            yield Step(node, [path], grows=True)
            yield from self._below(path[-1], state_bytes)
        ends.sort(key=len)
        if node < 0:
            if ends:
                yield Step(node, ends, grows=False)
            return
        room = 4 * self.most * vocabulary(self.runner)
        rows = max(1, int(room // max(state_bytes(node), 1))) if ends else 0
        for batch in batches(ends, self.most, rows):
            yield Step(node, batch, grows=False)

    def _go_on(self, state: Any, paths: Sequence[list[int]]) -> Any:
        """Computes paths after a state, each in a row; returns the state after them."""
        import torch

        self._tell(paths[0][0])
        session, width = self.runner.session, max(map(len, paths))
        ids = torch.zeros(len(paths), width, dtype=torch.int64)
        for row, path in enumerate(paths):
            ids[row, : len(path)] = torch.from_numpy(self.trie.token[path])
        self.computed += ids.numel()
        first = 0
        if state is not None:
            branch = session.fork(state, len(paths))
        else:
            (path,) = paths  # of several from the beginning no state is wanted
            places = self.trie.asked(np.array(path, np.int64))[1]
            first = min([int(places.min()) + 1 if len(places) else len(path), self.most])
            logits, branch = session.prefill(ids[:, :first])
            self.read(logits, np.array(path[first - 1 : first]))
            del logits  # the last row of many
        for start in range(first, width, self.most):  # logits of a long path take memory too
            end = start + self.most
            self._read_rows(session.step(branch, ids[:, start:end]), [p[start:end] for p in paths])
        return branch


class KeptWalk(StateWalk):
    """Has all that is asked for read what was kept of its context: for lossy states."""

    name = "kept"

    def _together(self, paths: Sequence[list[int]]) -> Iterator[None]:
        for path in paths:
            if self.needed(path):
                self._go_on(None, [path])
                yield


class TreeWalk(Walk):
    """Packs branches into one row."""

    name = "tree"

    def _walk(self) -> Iterator[None]:
        import torch

        session: Any = self.runner.session
        trie, states = self.trie, {-1: None}
        for part in self.parts():
            nodes, after = part.nodes, part.after
            if not self.needed(nodes, below=part.grows):
                continue
            self._tell(int(nodes[0]))
            asked = np.unique(trie.asked(nodes)[1])
            states = {n: each for n, each in states.items() if trie.under(after, n)}
            logits, state = session.tree(
                states[after],
                torch.from_numpy(trie.token[nodes]),
                torch.from_numpy(trie.depth[nodes]),
                torch.from_numpy(trie.attends(nodes)),
                torch.from_numpy(asked),
                grows=part.grows,
            )
            self.computed += len(nodes)
            self.read(logits, nodes[asked])
            del logits  # the next part's take their place
            if part.grows:
                states[int(nodes[-1])] = state
            yield

    def parts(self) -> Iterator[Part]:
        """Yields what to compute, as long as a state can be."""
        session: Any = self.runner.session
        return parts(self.trie, self.most, range(KEEP, session.longest + 1))
