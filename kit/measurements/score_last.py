"""Log-likelihoods of the last words of long documents, read through what decoding keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from kit import tasks
from kit.build.runner import Runner
from kit.machine.progress import report
from kit.measurements.going_on import known_way
from kit.measurements.interface import Positive, Raw, Split, of_kind
from kit.measurements.limits import within_window
from kit.spec.checking import SpecError, Undefined
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import Rounding, TaskRef

if TYPE_CHECKING:
    from kit.architectures.tokenizers import Tokenizer

BETWEEN = "\n\n"
"""Stands between texts that are joined."""
NAME = "documents"
"""Of what an interrupted run had scored."""


@register_measurement(where="worker", artifacts=("tokens",), decodes=True, version=1, seconds=60.0)
def score_last(
    runner: Runner,
    *,
    task: Annotated[TaskRef, of_kind("language")],
    split: Split = "test",
    limit: Annotated[Positive | None, Preset(smoke=2, default=10, full=128)] = None,
    context: Positive = 512,
    last: Positive = 1024,
    chunk: Positive = 32,
    threads: Annotated[Positive, Rounding((2,))] = 1,
) -> Raw:
    """Log-likelihoods of the last bytes of documents, after so many tokens of context.

    The context is prefilled at once; the last bytes then go through the state, as when they are
    written: what a smaller cache has lost of the context is missing here, as it is nowhere in a
    plain forward. At every context the same bytes are scored, so that runs pair across contexts,
    schemes and tokenizers.

    A document that is shorter than its context stands after others of the same split, a blank line
    between them: what it says early on is then still its own, and what comes before is as far away
    as a long conversation's beginning. Items and clusters are those of the document that is scored.

    Args:
        runner: the variant, ready.
        task: documents without labels, such as `court_cases`.
        split: which part.
        limit: the first n documents by content hash; None for all.
        context: tokens before the scored ones, with the begin token (the end token where the
            tokenizer has none), up to the model's window less those.
        last: bytes scored at the end of each document, from the next white space on: the same text
            for every tokenizer.
        chunk: tokens that go through the state at once; 1 is what writing does, and slow.
        threads: of the worker; one, so that the number of workers never changes a table.

    Raises:
        SpecError: the variant is no language model.
        Undefined: what it keeps does not answer as a plain forward does; the context is beyond its
            window; or the split has not so much text.
    """
    texts, known = documents(runner, task, split, limit)
    had = runner.unfinished.find(NAME) or {}
    found = {name: [*had.get(name, ())] for name in ("nll", "tokens", "bytes", "words", "held")}
    left, count = range(len(found["nll"]), len(known["item"])), len(known["item"])
    for number, tail in zip(left, _tails(runner, texts, left, context, last), strict=True):
        report(f"{number} of {count} documents")
        for name, value in zip(found, _scored(runner.session, tail, chunk), strict=True):
            found[name].append(value)
        runner.unfinished.keep(NAME, lambda: {name: np.array(each) for name, each in found.items()})
    if not np.isfinite(found["nll"]).all():
        raise ValueError(f"{runner.variant.name} gave NaN or infinite logits")
    held = int(max(found.pop("held")))
    columns = {name: np.array(values) for name, values in found.items()}
    protocol = {"context": context, "last": last, "chunk": chunk}
    return Raw("tokens", {**known, **columns}, {"protocol": protocol, "state_bytes": held})


def documents(
    runner: Runner, task: Any, split: str, limit: int | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Returns the texts of a split, and id and cluster of the first `limit`, which are scored.

    Raises:
        SpecError: the variant is no language model.
        Undefined: it keeps no state that answers as a plain forward does.
    """
    if runner.model.kind != "causal":
        raise SpecError(f"{task.name} asks for a language model; {runner.variant.name} is none")
    if known_way(runner, 1).recomputes:
        raise Undefined(
            f"{runner.variant.name} keeps nothing of the tokens so far from which it goes on as "
            "from the whole text"
        )
    data = tasks.load(task)
    rows, scored = data.split(split), data.split(split, limit)
    texts = [text.replace("\0", "") for text in data.contents(rows)]
    return texts, {"item": np.asarray(scored["id"]), "cluster": np.asarray(scored["cluster"])}


class _Tail(NamedTuple):
    """What is scored of a document: tokens of its context, of its end, and that end's text."""

    context: list[int]
    scored: list[int]
    text: str


def _tails(
    runner: Runner, texts: Sequence[str], places: Iterable[int], context: int, last: int
) -> Iterator[_Tail]:
    """Yields the end of each text at some places, with what stands before it."""
    tokenizer = runner.model.tokenizer
    assert tokenizer is not None
    for place in places:
        head, text = parted(texts[place], last)
        others = (texts[(place + k) % len(texts)] for k in range(1, len(texts)))
        before = joined(tokenizer, head, others, context)
        whole, before = before + text, before.rstrip()
        ids = tokenizer.encode([before])[0]
        scored = tokenizer.encode([whole])[0][len(ids) :]
        within_window(runner, context, len(scored))
        if len(ids) < context - 1:
            raise Undefined(
                f"context={context}: the split holds {len(ids) + 1} tokens of context; expected a "
                "smaller context or a split with more text"
            )
        kept = ids[len(ids) - (context - 1) :]
        yield _Tail([tokenizer.separator_id, *kept], scored, whole[len(before) :])


def parted(text: str, last: int) -> tuple[str, str]:
    """Returns a text up to its last bytes, and these, from white space on; all of a short text."""
    data = text.encode("utf-8", errors="replace")
    end = data[max(len(data) - last, 0) :].decode("utf-8", errors="ignore")
    if space := re.search(r"\s", end if len(data) > last else ""):
        end = end[space.start() :]
    whole = data.decode()
    return whole[: len(whole) - len(end)], end


def joined(tokenizer: Tokenizer, head: str, others: Iterator[str], tokens: int) -> str:
    """Returns a text that ends with `head` and holds so many tokens, others before it where needed.

    It holds fewer where the others do not suffice.
    """
    while len(tokenizer.encode([head.rstrip()])[0]) < tokens:
        if (text := next(others, None)) is None:
            break
        head = text + BETWEEN + head
    return head


def _scored(session: Any, tail: _Tail, chunk: int) -> tuple[float, int, int, int, int]:
    """Returns of a tail its loss in nats, tokens, bytes and words, and the bytes of the state."""
    import torch

    scored = torch.tensor(tail.scored)
    logits, state = session.prefill(torch.tensor([tail.context]))
    loss = _nll(logits, scored[:1])
    for start in range(0, len(scored) - 1, chunk):
        given = scored[start : min(start + chunk, len(scored) - 1)]
        logits = session.step(state, given[None])[0]
        loss += _nll(logits, scored[start + 1 : start + 1 + len(given)])
    words = len(re.split(r"\s+", tail.text.strip()))
    return loss, len(scored), len(tail.text.encode()), words, session.bytes(state)


def _nll(logits: Any, targets: Any) -> float:
    """Returns the summed negative log-likelihood of tokens [t] by logits [t, v]."""
    import torch

    logprobs = torch.log_softmax(torch.as_tensor(logits).double(), -1)
    return float(-logprobs.gather(1, targets[:, None]).sum())
