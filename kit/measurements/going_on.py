"""Going on with several texts at once, token by token, each row as if it were alone.

By what a session keeps of the tokens so far. Rows of different lengths share a state where the
session can merge them; else it is one row at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.build.runner import Runner
from kit.build.traits import rounds_rows
from kit.runtimes.recomputing import Recomputing

if TYPE_CHECKING:
    from torch import Tensor

CLOSE = 1e-3
"""Largest difference of a log-probability from that of a plain forward."""
PREFIX = (*range(1, 31),)
TRIED = ((*PREFIX, 4, 5), (*PREFIX, 6), (*PREFIX, 7, 8, 9, 3))
"""Texts that are gone on with in every way before one is trusted; places in the vocabulary."""
STEPS = 3
AGAIN = "each token is written from the whole text: the runtime keeps no state"
ALONE = "answers are written one by one: beside others the model would say something else"
Ids = Sequence[int]


class State(NamedTuple):
    """A session's state of a number of rows."""

    held: Any
    rows: int


class Going:
    """Rows that are gone on with.

    Args:
        session: that decodes.
        shared: tokens that all rows will begin with, which are computed once.
    """

    def __init__(self, session: Any, shared: Ids = ()) -> None:
        import torch

        self.session = session
        self.shared = len(shared)
        self._before = self.session.prefill(torch.tensor([[*shared]]))[1] if shared else None
        self._live: list[tuple[State, int]] = []

    def begin(self, prompts: Sequence[Ids]) -> Tensor:
        """Adds rows; returns the logits [b, v] after each.

        Neighbours of one length are computed together, those that are equal once.
        """
        import torch

        found = []
        for _, group in itertools.groupby(prompts, len):
            given = [tuple(each)[self.shared :] for each in group]
            distinct = [*dict.fromkeys(given)]
            rows, ids = [*map(distinct.index, given)], torch.tensor(distinct)
            if self._before is None:
                logits, held = self.session.prefill(ids)
            else:
                held = self.session.fork(self._before, len(ids))
                logits = self.session.step(held, ids)[:, -1]
            state = State(held, len(ids))
            self._live += [(state, row) for row in rows]
            found.append(logits[rows])
        return torch.cat(found)

    def keep(self, places: Sequence[int]) -> None:
        """Keeps some rows, in this order."""
        self._live = [self._live[place] for place in places]

    def step(self, tokens: Ids) -> Tensor:
        """Adds a token to each row; returns the logits [b, v] after it."""
        import torch

        groups = itertools.groupby(self._live, lambda each: id(each[0]))
        parts = [[*group] for _, group in groups]
        state = parts[0][0][0]
        if len(parts) > 1 or [row for _, row in self._live] != [*range(state.rows)]:
            rows = [(part[0][0].held, [row for _, row in part]) for part in parts]
            state = State(self.session.merge(rows), len(tokens))
            self._live = [(state, row) for row in range(len(tokens))]
        found: Tensor = self.session.step(state.held, torch.tensor(tokens)[:, None])[:, -1]
        return found

    def bytes(self) -> int:
        """Returns what is kept of the rows."""
        states = {id(state): state.held for state, _ in self._live}
        return sum(map(self.session.bytes, states.values()))


class Way(NamedTuple):
    """How a model's texts are gone on with.

    Attributes:
        rows: at once at most.
        recomputes: whether the whole text is read again for each token.
        note: what a reader should know of it; '' where it is the usual way.
    """

    rows: int
    recomputes: bool = False
    note: str = ""

    def start(self, runner: Runner, shared: Ids = ()) -> Going:
        """Returns no rows yet, all of which will begin with the tokens `shared`."""
        return Going(recomputing(runner) if self.recomputes else runner.session, shared)


def recomputing(runner: Runner) -> Recomputing:
    """Returns what decodes by reading the whole text again, whatever the session can."""
    return Recomputing(runner.session, runner.model.preprocessor.collate)


def decoder(runner: Runner) -> Any:
    """Returns what decodes: the session where it keeps a state, else by recomputation."""
    return runner.session if hasattr(runner.session, "step") else recomputing(runner)


def known_way(runner: Runner, rows: int) -> Way:
    """Returns what `way` found out of a model, tried on the first call: it takes seconds."""
    found: Way = runner.once(f"way to write {rows}", lambda: way(runner, rows))
    return found


def way(runner: Runner, rows: int) -> Way:
    """Returns the quickest way that gives each row what a plain forward gives it alone.

    Tried on made-up tokens: rows of different lengths, of which one joins and one leaves. A session
    that is `lossy`, whose state holds less than the text, is not tried: it goes by its state. Nor
    is a variant that rounds the activations of its rows, whose ways agree to that rounding alone.

    Args:
        runner: of a causal model.
        rows: at once at most.
    """
    import torch

    if getattr(runner.session, "lossy", False) or rounds_rows(runner.variant):
        return next(_ways(runner, rows))
    size = runner.model.tokenizer.vocab_size if runner.model.tokenizer else 2
    texts = [[place % size for place in each] for each in TRIED]
    tokens = [[(3 * step + row) % size for row in range(len(texts))] for step in range(STEPS)]
    plain = torch.cat([*_plain(runner, texts, tokens)])
    module = runner.model.module
    numbers = module.parameters() if module else ()
    dtype = next((each.dtype for each in numbers if each.is_floating_point()), torch.float32)
    close = max(CLOSE, 32 * torch.finfo(dtype).eps)
    for candidate in _ways(runner, rows):
        tried = _alone if candidate.rows == 1 else _together
        try:
            found = torch.cat([*tried(runner, candidate, texts, tokens)])
        except Exception:  # whatever a model raises that cannot do what others of its kind can
            continue
        if torch.allclose(found, plain, rtol=0, atol=close, equal_nan=True):
            return candidate
    return Way(1, True, f"each token is written from the whole text, and {ALONE}")


def _ways(runner: Runner, rows: int) -> Iterator[Way]:
    if not hasattr(runner.session, "step"):
        yield Way(rows, True, AGAIN)
        return
    if rows > 1 and hasattr(runner.session, "merge"):
        yield Way(rows)
    yield Way(1, note=ALONE if rows > 1 else "")


def _plain(runner: Runner, texts: Sequence[Ids], tokens: Sequence[Ids]) -> Iterator[Tensor]:
    """Yields the log-probabilities after each text and its further tokens, by one forward."""
    import torch

    for row, text in enumerate(texts):
        whole = [*text, *(each[row] for each in tokens)]
        inputs = runner.model.preprocessor.collate([whole])
        logits = torch.as_tensor(runner.session.forward(inputs))
        yield _scores(logits[0, len(text) - 1 : len(whole)])


def _alone(
    runner: Runner, by: Way, texts: Sequence[Ids], tokens: Sequence[Ids]
) -> Iterator[Tensor]:
    """Yields the same, of one row after the other."""
    for row, text in enumerate(texts):
        going = by.start(runner)
        yield _scores(going.begin([text]))
        for each in tokens:
            yield _scores(going.step([each[row]]))


def _together(
    runner: Runner, by: Way, texts: Sequence[Ids], tokens: Sequence[Ids]
) -> Iterator[Tensor]:
    """Yields the same, of rows that share a batch; the last joins late and stays longest."""
    *first, late = range(len(texts))
    going, live = by.start(runner, texts[0][: len(PREFIX)]), first
    found: dict[int, list[Tensor]] = {row: [] for row in range(len(texts))}
    for row, each in zip(first, going.begin([texts[row] for row in first]), strict=True):
        found[row].append(each)
    while live:
        keep = [k for k, row in enumerate(live) if len(found[row]) <= STEPS]
        live = [live[k] for k in keep]
        going.keep(keep)
        if live:
            given = [tokens[len(found[row]) - 1][row] for row in live]
            for row, each in zip(live, going.step(given), strict=True):
                found[row].append(each)
        if not found[late]:
            live = [*live, late]
            found[late].append(going.begin([texts[late]])[0])
    yield from (_scores(each[None]) for row in found.values() for each in row)


def _scores(logits: Tensor) -> Tensor:
    import torch

    return torch.log_softmax(logits.float(), -1)


def shared(prompts: Sequence[Ids]) -> int:
    """Returns how many tokens all prompts begin with, but for the last of each; 0 for one alone."""
    if len(prompts) < 2:
        return 0
    given = [tuple(each) for each in prompts]
    first, last = min(given), max(given)
    most = min(map(len, prompts)) - 1
    return next((k for k in range(most) if first[k] != last[k]), most)
