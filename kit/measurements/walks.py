"""Ways over a tree of tokens that read what comes after each node.

- `tree`: whole branches packed in one row, each token seeing what stands above it alone; a long
  shared prefix is kept and gone on from. For models of attention.
- `state`: a shared prefix once, then its branches from forks of the state. For recurrent models.
- `plain`: each sequence by itself, for whatever goes forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.trie import Ints, Trie, parts

if TYPE_CHECKING:
    from torch import Tensor

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
        ends = np.flatnonzero(~self.trie.inner)
        paths = [self.trie.path(int(end), 0)[:-1] for end in ends]
        self._together(sorted((path for path in paths if path), key=len))

    def _together(self, paths: Sequence[list[int]]) -> None:
        for batch in _batches(paths, self.most):
            self._tell(batch[0][0])
            width = max(map(len, batch))
            ids = [self.trie.token[path].tolist() for path in batch]
            inputs = self.runner.model.preprocessor.collate(ids)
            logits = self.runner.session.forward(inputs)
            self.computed += width * len(batch)
            self._read_rows(logits, batch)

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
        scores = logits.float()
        best, total = scores.argmax(-1), torch.logsumexp(scores, -1)
        found = scores[places, tokens] - total[places]
        self.likelihood[children] = found.double().numpy()
        self.greedy[children] = (best[places] == tokens).numpy()

    def _tell(self, node: int) -> None:
        report(f"{node} of {len(self.trie.token)} tokens")


class StateWalk(Walk):
    """Goes on from forks of the state after what branches share."""

    name = "state"

    def run(self) -> None:
        self._below(-1, None)

    def _below(self, node: int, state: Any) -> None:
        """Computes what is below a node, the state after which is given."""
        ends: list[list[int]] = []
        for child in self.trie.children(node):
            path = [child]
            while len(only := self.trie.children(path[-1])) == 1:
                path += only
            if not only:
                ends.append(path)
                continue
            self._below(path[-1], self._go_on(state, [path]))
        ends.sort(key=len)
        if state is None:
            self._together(ends)
            return
        for batch in _batches(ends, self.most):
            self._go_on(state, batch)

    def _go_on(self, state: Any, paths: Sequence[list[int]]) -> Any:
        """Computes paths after a state, each in a row; returns the state after them."""
        import torch

        self._tell(paths[0][0])
        session, width = self.runner.session, max(map(len, paths))
        ids = torch.zeros(len(paths), width, dtype=torch.int64)
        for row, path in enumerate(paths):
            ids[row, : len(path)] = torch.from_numpy(self.trie.token[path])
        self.computed += ids.numel()
        if state is not None:
            branch = session.fork(state, len(paths))
            self._read_rows(session.step(branch, ids), paths)
            return branch
        (path,) = paths  # of several from the beginning no state is wanted
        last = 1 if len(self.trie.asked(np.array(path[:-1], np.int64))[0]) else len(path)
        logits, branch = session.prefill(ids[:, :last])
        self.read(logits, np.array(path[last - 1 : last]))
        if last < len(path):
            self._read_rows(session.step(branch, ids[:, last:]), [path[last:]])
        return branch


class TreeWalk(Walk):
    """Packs branches into one row."""

    name = "tree"

    def run(self) -> None:
        import torch

        session: Any = self.runner.session
        trie, states = self.trie, {-1: None}
        for part in parts(trie, self.most, range(KEEP, session.longest + 1)):
            nodes, after = part.nodes, part.after
            self._tell(int(nodes[0]))
            asked = np.unique(trie.asked(nodes)[1])
            states = {n: each for n, each in states.items() if n < 0 or n <= after < trie.end[n]}
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
            if part.grows:
                states[int(nodes[-1])] = state


def _batches(paths: Sequence[list[int]], most: int) -> Iterator[list[list[int]]]:
    """Yields paths, sorted by length, in batches of at most so many tokens, or of one."""
    batch: list[list[int]] = []
    for path in paths:
        if batch and len(path) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(path)
    if batch:
        yield batch
