"""Ways over a tree of tokens that read what comes after each node.

- `plain`: each sequence by itself, some in a batch, for whatever goes forward.
- `alone`: each in a call of its own, for what answers otherwise beside others.

Those that share what sequences begin with are in `kit.measurements.sharing`.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.trie import Ints, Trie
from kit.store.unfinished import Unfinished

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 8
"""Rows of logits that are summed together: few enough to stay in the processor's cache."""


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

    def run(self, kept: Unfinished | None = None) -> None:
        """Reads all that is asked for.

        Args:
            kept: what an interrupted run had read, which is not computed again.
        """
        kept = kept or Unfinished()
        asked = (self.trie.token, self.trie.parent, self.trie.wanted)
        digest = hashlib.sha256(b"".join(each.tobytes() for each in asked)).hexdigest()
        name = f"tree-{digest[:16]}"
        if (had := kept.find(name)) is not None:
            self.likelihood, self.greedy = had["likelihood"], had["greedy"]
            self.computed = int(had["computed"][0])
        for _ in self._walk():
            kept.keep(name, self._so_far)

    def _so_far(self) -> dict[str, np.ndarray]:
        computed = np.full(len(self.greedy), self.computed)
        return {"likelihood": self.likelihood, "greedy": self.greedy, "computed": computed}

    def _walk(self) -> Iterator[None]:
        """Computes each sequence that is no beginning of another, the short ones first.

        Yields where the walk could be interrupted.
        """
        yield from self._together(self.paths())

    def needed(self, nodes: Ints | Sequence[int], *, below: bool = False) -> bool:
        """Says whether a likelihood after some nodes, or all that is below, is not known yet."""
        trie, places = self.trie, np.asarray(nodes)
        asked = np.arange(places[0], trie.end[places[0]]) if below else trie.asked(places)[0]
        return bool((trie.wanted[asked] & np.isnan(self.likelihood[asked])).any())

    def paths(self) -> list[list[int]]:
        """Returns what has to be computed of each sequence that is no beginning of another."""
        ends = np.flatnonzero(~self.trie.inner)
        paths = [self.trie.path(int(end), 0)[:-1] for end in ends]
        return sorted((path for path in paths if path), key=len)

    def _together(self, paths: Sequence[list[int]]) -> Iterator[None]:
        for batch in batches(paths, self.most):
            if not any(map(self.needed, batch)):
                continue
            self._tell(batch[0][0])
            width = max(map(len, batch))
            ids = [self.trie.token[path].tolist() for path in batch]
            inputs = self.runner.model.preprocessor.collate(ids)
            self.computed += width * len(batch)
            self._read_rows(self.runner.session.forward(inputs), batch)
            yield

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
