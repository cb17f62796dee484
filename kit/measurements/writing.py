"""What a language model writes after prompts: batches that are filled up as answers end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.going_on import Going, Way, known_way, shared
from kit.spec.checking import Undefined
from kit.spec.ref import content_hash
from kit.tasks.templates import Template

if TYPE_CHECKING:
    from torch import Tensor

Choose = Callable[["Tensor"], int]
"""Gives the next token by its logits [v]."""
ROWS, TOKENS = 16, 8192
TOGETHER = 4
"""A batch is filled up when this part of its rows is free, a quarter."""
LONG = 24
"""Tokens from which on a shared beginning is kept: going on from it costs about as much."""


class Written(NamedTuple):
    """What came of a prompt.

    Attributes:
        text: up to what ended it.
        tokens: that were written.
        finish: why it ended: a `stop` text, the model's `end` token, or its `length`.
        seconds: it took, of each batch its share.
    """

    text: str
    tokens: int
    finish: str
    seconds: float


class Room(NamedTuple):
    """How much is written at once; memory goes with it.

    Attributes:
        rows: prompts at once.
        tokens: that the rows may hold together when all are as long as the longest may get. A
            prompt that is longer is written alone.
    """

    rows: int = ROWS
    tokens: int = TOKENS

    def fits(self, rows: int, longest: int) -> bool:
        """Says whether so many rows fit, the longest of which may get so long."""
        return rows == 1 or (rows <= self.rows and rows * longest <= self.tokens)


@dataclass
class _Row:
    """An answer in the making."""

    place: int
    prompt: list[int]
    choose: Choose
    written: list[int] = field(default_factory=list)
    text: str = ""
    finish: str = ""
    seconds: float = 0.0

    def done(self) -> Written:
        return Written(self.text, len(self.written), self.finish, self.seconds)


def write(
    runner: Runner,
    prompts: Sequence[Sequence[int]],
    how: Template,
    choose: Sequence[Choose],
    room: Room | None = None,
    by: Way | None = None,
) -> list[Written]:
    """Goes on with each prompt.

    Args:
        runner: of a causal model.
        prompts: tokens, at least one each; cut on the left to what the window holds.
        how: says what ends an answer, and how many tokens it may have.
        choose: gives each item's next token by its logits [v].
        room: how much at once; rows one by one where the model gives a row another answer beside
            others.
        by: the way, where it was found out before.

    Raises:
        Undefined: the model's window leaves no room for an answer.
        ValueError: the model gives NaN or infinite logits.
    """
    kept = runner.unfinished
    name = f"written-{content_hash([[*each] for each in prompts], how.stops, how.longest)}"
    had = kept.find(name)
    found = {} if had is None else dict(_written(had))
    left = [place for place in range(len(prompts)) if place not in found]
    each = each_written(
        runner, [prompts[k] for k in left], how, [choose[k] for k in left], room, by
    )
    for place, answer in each if left else ():
        found[left[place]] = answer
        kept.keep(name, lambda: _columns(found))
    return [found[place] for place in range(len(prompts))]


def _columns(found: Mapping[int, Written]) -> dict[str, np.ndarray]:
    fields = {n: np.array([getattr(each, n) for each in found.values()]) for n in Written._fields}
    return {"place": np.array([*found]), **fields}


def _written(columns: Mapping[str, np.ndarray]) -> Iterator[tuple[int, Written]]:
    for place, *answer in zip(
        *(columns[name].tolist() for name in ("place", *Written._fields)), strict=True
    ):
        yield place, Written(*answer)


def each_written(
    runner: Runner,
    prompts: Sequence[Sequence[int]],
    how: Template,
    choose: Sequence[Choose],
    room: Room | None = None,
    by: Way | None = None,
) -> Iterator[tuple[int, Written]]:
    """Yields the place of each prompt with what came of it, as the answers end: see `write`."""
    room = room or Room()
    by = by or known_way(runner, room.rows)
    room = room._replace(rows=by.rows)
    given = fitted(runner, prompts, how)
    # The longest come first, which need most memory; those of one length begin together.
    order = sorted(range(len(given)), key=lambda k: (-len(given[k]), given[k]))
    queue = [_Row(place, given[place], choose[place]) for place in order]
    common = shared(given)
    going = by.start(runner, given[0][:common] if common >= LONG else ())
    live: list[_Row] = []
    logits: list[Tensor] = []
    ended = 0
    while queue or live:
        report(f"{ended} of {len(given)} items")
        keep = []
        for k, (row, found) in enumerate(zip(live, logits, strict=True)):
            _take(runner, row, found, how)
            if not row.finish:
                keep.append(k)
                continue
            ended += 1
            yield row.place, row.done()
        live = [live[k] for k in keep]
        going.keep(keep)
        logits = _on(going, live)
        fresh = _next(queue, live, how, room)
        live, logits = live + fresh, logits + _begun(going, fresh)


def _next(queue: list[_Row], live: Sequence[_Row], how: Template, room: Room) -> list[_Row]:
    """Takes those from the queue for which there is room beside the others.

    A few wait for each other: prompts that begin together cost less.
    """
    fresh: list[_Row] = []
    if live and (room.rows - len(live)) * TOGETHER < room.rows:
        return fresh
    while queue:
        both = [*live, *fresh, queue[0]]
        if not room.fits(len(both), max(len(row.prompt) for row in both) + how.longest):
            break
        fresh.append(queue.pop(0))
    return fresh


def _on(going: Going, live: Sequence[_Row]) -> list[Tensor]:
    """Returns what comes after the last token of each row."""
    if not live:
        return []
    start = time.perf_counter()
    found = [*going.step([row.written[-1] for row in live])]
    _spent(live, start)
    return found


def _begun(going: Going, fresh: Sequence[_Row]) -> list[Tensor]:
    """Returns what comes after each prompt."""
    if not fresh:
        return []
    start = time.perf_counter()
    found = [*going.begin([row.prompt for row in fresh])]
    _spent(fresh, start)
    return found


def _spent(rows: Sequence[_Row], start: float) -> None:
    share = (time.perf_counter() - start) / len(rows)
    for row in rows:
        row.seconds += share


def _take(runner: Runner, row: _Row, logits: Tensor, how: Template) -> None:
    """Adds the next token to an answer, and says so where it ends there."""
    import torch

    if not torch.isfinite(logits.max()):
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits")
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    token = row.choose(logits)
    if token in tokenizer.ends:
        row.finish = "end"
        return
    row.written.append(token)
    row.text = tokenizer.decode(row.written)
    if at := [place for place in map(row.text.find, how.stops) if place >= 0]:
        row.text, row.finish = row.text[: min(at)], "stop"
    elif len(row.written) >= how.longest:
        row.finish = "length"


def fitted(runner: Runner, prompts: Sequence[Sequence[int]], how: Template) -> list[list[int]]:
    """Returns the prompts, cut on the left so that the longest answer fits the model's window.

    Raises:
        Undefined: it leaves no room for a prompt.
    """
    window = runner.model.window
    if window is None:
        return [[*each] for each in prompts]
    if how.longest >= window:
        raise Undefined(
            f"answers of up to {how.longest} tokens leave no room for a prompt in the window of "
            f"{runner.variant.name}, {window} tokens; expected longest={window - 1} or less"
        )
    return [[*each[-(window - how.longest) :]] for each in prompts]
