"""Ways over a tree of tokens that read what comes after each node.

- `tree`: whole branches packed in one row, each token seeing what stands above it alone; a long
  shared prefix is kept and gone on from. For models of attention.
- `state`: a shared prefix once, then its branches from forks of the state. For recurrent models.
- `plain`: each sequence by itself, some in a batch, for whatever goes forward.
- `alone`: each in a call of its own, for what answers otherwise beside others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.trie import Ints, Part, Trie, parts

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 8
"""Rows of logits that are summed together: few enough to stay in the processor's cache."""
KEEP = 24
"""Tokens from which on a shared prefix is kept: going on from it costs about as much."""


class Walk:
    """Goes over a tree; what comes after each node is read once.

    Attributes:
        likelihood: [nodes] of each wanted token after those above it.
        greedy: [nodes] whether it was the likeliest.
        computed: tokens, those computed twice and fillings included.
    """

    name = "plain"

    def __init__(self, runner: Runner, trie: Trie, most: int) -> None:
        self.runner, self.trie, self.most = runner, trie, most
        self.likelihood = np.full(len(trie.token), np.nan)
        self.greedy = np.zeros(len(trie.token), bool)
        self.computed = 0

    def run(self) -> None:
        """Computes each sequence that is no beginning of another, the short ones first."""
        self._together(self.paths())

    def paths(self) -> list[list[int]]:
        """Returns what has to be computed of each sequence that is no beginning of another."""
        ends = np.flatnonzero(~self.trie.inner)
        paths = [self.trie.path(int(end), 0)[:-1] for end in ends]
        return sorted((path for path in paths if path), key=len)

    def _together(self, paths: Sequence[list[int]]) -> None:
        for batch in batches(paths, self.most):
            self._tell(batch[0][0])
            width = max(map(len, batch))
            ids = [self.trie.token[path].tolist() for path in batch]
            inputs = self.runner.model.preprocessor.collate(ids)
            self.computed += width * len(batch)
            self._read_rows(self.runner.session.forward(inputs), batch)

    def _read_rows(self, logits: Any, rows: Sequence[list[int]]) -> None:
        """Reads logits [b, t, v] of paths, one a row."""
        import torch

        found = torch.as_tensor(logits)
        for row, path in zip(found, rows, strict=True):
            self.read(row[: len(path)], np.array(path))

    def read(self, logits: Tensor, nodes: Ints) -> None:
        """Reads what comes after some nodes from their logits [k, v]."""
        import torch

        children, at = self.trie.asked(nodes)
        if not len(children):
            return
        tokens = torch.from_numpy(self.trie.token[children])
        places = torch.from_numpy(at)
        each = [
            (some.argmax(-1), some.float().logsumexp(-1)) for some in torch.split(logits, AT_ONCE)
        ]
        best, total = (torch.cat(parts) for parts in zip(*each, strict=True))
        found = logits[places, tokens].float() - total[places]
        self.likelihood[children] = found.double().numpy()
        self.greedy[children] = (best[places] == tokens).numpy()

    def _tell(self, node: int) -> None:
        report(f"{node} of {len(self.trie.token)} tokens")


class AloneWalk(Walk):
    """Leaves a sequence without neighbours: experts that take so many tokens a call ask for it."""

    name = "alone"

    def __init__(self, runner: Runner, trie: Trie, most: int) -> None:
        del most
        super().__init__(runner, trie, 1)


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

    def run(self) -> None:
        session = self.runner.session
        states: dict[int, Any] = {-1: None}
        for after, paths, grows in self.steps(lambda node: session.bytes(states[node])):
            for done in [node for node in states if not self.trie.under(after, node)]:
                del states[done]
            if after < 0 and not grows:
                self._together(paths)
                continue
            state = self._go_on(states[after], paths)
            if grows:
                states[paths[0][-1]] = state

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
            wanted = len(self.trie.asked(np.array(path[:-1], np.int64))[0])
            first = 1 if wanted else min(len(path), self.most)
            logits, branch = session.prefill(ids[:, :first])
            self.read(logits, np.array(path[first - 1 : first]))
            del logits  # the last row of many
        for start in range(first, width, self.most):  # logits of a long path take memory too
            end = start + self.most
            self._read_rows(session.step(branch, ids[:, start:end]), [p[start:end] for p in paths])
        return branch


class TreeWalk(Walk):
    """Packs branches into one row."""

    name = "tree"

    def run(self) -> None:
        import torch

        session: Any = self.runner.session
        trie, states = self.trie, {-1: None}
        for part in self.parts():
            nodes, after = part.nodes, part.after
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

    def parts(self) -> Iterator[Part]:
        """Yields what to compute, as long as a state can be."""
        session: Any = self.runner.session
        return parts(self.trie, self.most, range(KEEP, session.longest + 1))


def batches(
    paths: Sequence[list[int]], most: int, rows: int = sys.maxsize
) -> Iterator[list[list[int]]]:
    """Yields paths, sorted by length, in batches of at most so many tokens and rows, or of one."""
    batch: list[list[int]] = []
    for path in paths:
        if batch and (len(path) * (len(batch) + 1) > most or len(batch) == rows):
            yield batch
            batch = []
        batch.append(path)
    if batch:
        yield batch


def vocabulary(runner: Runner) -> int:
    """Returns how many tokens a model knows; 2 where it has no tokenizer to say."""
    return runner.model.tokenizer.vocab_size if runner.model.tokenizer else 2
