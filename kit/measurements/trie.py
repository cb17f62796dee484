"""Sequences of tokens as a tree in which every shared prefix stands, and is computed, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Trie:
    """A tree of tokens. Nodes come in depth-first order, each before its children.

    A node asks for an answer where it has children: what comes next is read there. The last token
    of a sequence is read nowhere, so that it is never computed.

    Attributes:
        token: [n].
        parent: [n]; -1 of the first token of a sequence.
        depth: [n] tokens before it.
        end: [n] one beyond its last descendant: these are `k + 1 .. end[k] - 1`.
        last: [sequences] the node at which each sequence ends, in the order given.
        wanted: [n] whether its own likelihood is asked for: it is part of a continuation.
    """

    token: Ints
    parent: Ints
    depth: Ints
    end: Ints
    last: Ints
    wanted: NDArray[np.bool_]

    @cached_property
    def inner(self) -> NDArray[np.bool_]:
        """Which nodes have children, [n]: those that have to be computed."""
        return self.end > np.arange(len(self.end)) + 1

    @cached_property
    def _inner_before(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.inner)])

    def size(self, node: int) -> int:
        """Returns how many nodes have to be computed from a node downwards."""
        return int(self._inner_before[self.end[node]] - self._inner_before[node])

    def below(self, node: int) -> Ints:
        """Returns what has to be computed from a node downwards, in order."""
        places = np.arange(node, self.end[node])
        return places[self.inner[node : self.end[node]]]

    def children(self, node: int) -> list[int]:
        """Returns the children of a node that have to be computed; of -1 the roots."""
        found, at = [], node + 1
        stop = len(self.token) if node < 0 else int(self.end[node])
        while at < stop:
            if self.inner[at]:
                found.append(at)
            at = int(self.end[at])
        return found

    def under(self, node: int, top: int) -> bool:
        """Says whether a node is another or below it; all are below -1."""
        return top < 0 or top <= node < self.end[top]

    def path(self, node: int, start: int) -> list[int]:
        """Returns the nodes from the one at depth `start` down to a node."""
        found = []
        while node >= 0 and self.depth[node] >= start:
            found.append(node)
            node = int(self.parent[node])
        return found[::-1]

    def asked(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Returns the wanted children of some nodes, and where among these the parent is."""
        place = np.full(len(self.token) + 1, -1)
        place[nodes] = np.arange(len(nodes))
        above = place[self.parent]  # of roots the last, which is none
        children = np.flatnonzero(self.wanted & (above >= 0))
        return children, above[children]

    def attends(self, nodes: Ints) -> NDArray[np.bool_]:
        """Returns which of the nodes each may look at, [n, n]: itself and those above it."""
        rows, columns = nodes[:, None], nodes[None, :]
        return (columns <= rows) & (rows < self.end[nodes][None, :])


def grow(sequences: Sequence[Sequence[int]], known: Sequence[int]) -> Trie:
    """Returns the tree of some sequences.

    Args:
        sequences: none of them empty.
        known: how many of its first tokens nobody asks about, at least one.
    """
    token: list[int] = []
    parent: list[int] = []
    depth: list[int] = []
    last = np.zeros(len(sequences), np.int64)
    wanted: list[bool] = []
    path: list[int] = []
    before: Sequence[int] = ()
    for index in sorted(range(len(sequences)), key=lambda k: tuple(sequences[k])):
        sequence = sequences[index]
        shared, most = 0, min(len(before), len(sequence))
        while shared < most and before[shared] == sequence[shared]:
            shared += 1
        del path[shared:]
        for each in sequence[shared:]:
            parent.append(path[-1] if path else -1)
            depth.append(len(path))
            path.append(len(token))
            token.append(each)
            wanted.append(False)
        for node in path[known[index] :]:
            wanted[node] = True
        last[index] = path[-1]
        before = sequence
    end = np.arange(1, len(token) + 1)
    for node in range(len(token) - 1, -1, -1):
        if parent[node] >= 0:
            end[parent[node]] = max(end[parent[node]], end[node])
    return Trie(np.array(token), np.array(parent), np.array(depth), end, last, np.array(wanted))


@dataclass(frozen=True)
class Part:
    """Nodes that are computed at once.

    Attributes:
        nodes: in order, with all that lies between them and `after`.
        after: the node up to which everything is kept already; -1: nothing is.
        grows: they are one path, up to whose last node all is kept for the parts that come next.
    """

    nodes: Ints
    after: int
    grows: bool


def parts(trie: Trie, most: int, keep: range, *, after: int = -1) -> Iterator[Part]:
    """Yields what to compute, each part after those that it follows, depth first.

    Branches share a part as long as it is small; a branch too large for one is taken apart. What
    lies above its pieces is computed again for each part, where it is short, and kept where it is
    long: to go on from what is kept costs about as much as some tokens do.

    Args:
        trie: of all sequences.
        most: nodes of a part; one with a long path above it has as many again.
        keep: how long a path is that is kept: from a length that is worth it to the longest that
            can be.
        after: the node below which to begin.
    """
    start = int(trie.depth[after]) + 1 if after >= 0 else 0
    together: set[int] = set()

    def flushed() -> Iterator[Part]:
        if together:
            yield Part(np.array(sorted(together)), after, grows=False)
            together.clear()

    def visit(node: int) -> Iterator[Part]:
        above = trie.path(int(trie.parent[node]), start)
        limit = max(most, 2 * len(above))
        if len(above) + trie.size(node) <= limit:
            new = {*above, *trie.below(node).tolist()}
            if together and len(together | new) > limit:
                yield from flushed()
            together.update(new)
            return
        trunk = [*above, node]
        while len(trunk) < limit and len(only := trie.children(trunk[-1])) == 1:
            trunk += only
        if len(trunk) >= keep.start and start + len(trunk) < keep.stop:
            yield Part(np.array(trunk), after, grows=True)
            yield from parts(trie, most, keep, after=trunk[-1])
            return
        for child in trie.children(trunk[-1]):
            yield from visit(child)

    for child in trie.children(after):
        yield from visit(child)
    yield from flushed()
