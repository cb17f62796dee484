"""The tree of sequences, against sets of prefixes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kit.measurements.trie import grow, parts

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=9), min_size=1, max_size=12)


@given(sequences=SEQUENCES, prefix=st.lists(st.integers(0, 3), max_size=12))
def test_every_prefix_stands_once(sequences: list[list[int]], prefix: list[int]) -> None:
    sequences = [prefix + each for each in sequences]
    trie = grow(sequences, [len(each) - 1 for each in sequences])
    prefixes = {tuple(each[:k]) for each in sequences for k in range(1, len(each) + 1)}
    assert len(trie.token) == len(prefixes)
    assert trie.inner.sum() == len({p[:-1] for p in prefixes} - {()})
    for sequence, last in zip(sequences, trie.last, strict=True):
        assert trie.token[trie.path(int(last), 0)].tolist() == sequence
    assert trie.wanted.sum() == len(set(map(tuple, sequences)))


@given(
    sequences=SEQUENCES,
    prefix=st.lists(st.integers(0, 3), max_size=12),
    most=st.integers(1, 40),
    keep=st.sampled_from([range(0), range(2, 99), range(6, 9)]),
)
def test_parts_follow_what_they_go_on_from(
    sequences: list[list[int]], prefix: list[int], most: int, keep: range
) -> None:
    sequences = [prefix + each for each in sequences]
    trie = grow(sequences, [1] * len(sequences))
    kept, done = {-1}, set()
    for part in parts(trie, most, keep):
        nodes = part.nodes.tolist()
        assert part.after in kept and nodes == sorted(set(nodes))
        assert all(int(trie.parent[node]) in {*nodes, part.after} for node in nodes)
        if part.grows:
            kept.add(nodes[-1])
            assert trie.depth[nodes[-1]] + 1 < keep.stop
        for row, node in zip(trie.attends(part.nodes), nodes, strict=True):
            seen = {nodes[k] for k in np.flatnonzero(row)}
            assert seen == set(trie.path(node, 0)) & set(nodes)
        done |= set(nodes)
    assert done == set(np.flatnonzero(trie.inner).tolist())
