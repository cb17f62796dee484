"""How fast a language model writes whole texts: with tokens guessed ahead, and many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from kit.measurements import pairs
from kit.measurements.decode import decoded
from kit.measurements.interface import AllCores, Driver, Positive, Raw, Split
from kit.measurements.latency import Against, Launches, Most, Seconds, Until, paired
from kit.measurements.writing_calls import Text, Writing
from kit.spec.checking import SpecError
from kit.spec.presets import Preset
from kit.spec.register_measures import register_measurement
from kit.spec.roles import TaskRef
from kit.spec.spec import Variant

Guesses = Literal["none", "lookup", "draft"]


def _guess(args: Mapping[str, Any]) -> float:
    """Returns about how many seconds a run takes."""
    calls = len(args["texts"]) * len(args["guesses"]) + 2 * len(args["requests"])
    return float(args["launches"] * (16 + 20 * calls))


@register_measurement(
    where="driver", artifacts=("writing",), decodes=True, version=1, seconds=_guess
)
def write(
    driver: Driver,
    *,
    task: TaskRef,
    split: Split = "test",
    context: Annotated[int, Field(ge=2), Preset(smoke=16, default=128, full=256)],
    tokens: Annotated[Positive, Preset(smoke=8, default=32, full=64)],
    texts: Annotated[tuple[Text, ...], Field(min_length=1)] = ("plain", "repeated"),
    guesses: tuple[Guesses, ...] = ("none", "lookup"),
    draft: SkipValidation[Variant] | None = None,
    requests: tuple[Annotated[int, Field(ge=2)], ...] = (),
    threads: Annotated[Positive, AllCores()],
    launches: Launches,
    seconds: Seconds,
    wait: pairs.Wait,
    until: Until = None,
    most: Most = 32,
    against: Against = None,
) -> Raw:
    """Seconds of writing whole texts, against a baseline that writes them one by one.

    The baseline never guesses and never writes several at once, so that a ratio is what all of it
    gains together. Guessed tokens are checked: what is written is what greedy decoding writes.

    Args:
        driver: opens the workers and keeps finished launches.
        task: whose texts are read, one joined to the next.
        split: which part of it.
        context: tokens of a prompt; those of several requests are longer by a few each.
        tokens: written after each prompt, whatever end it would have.
        texts: prompts of `plain` text, and `repeated` ones, whose second half says the first again,
            as where a model quotes, extracts or edits what it was given.
        guesses: `none`, `lookup` (what followed the same tokens before follows again), `draft`.
        draft: the smaller model whose guesses they are, of the same tokenizer.
        requests: so many texts, one by one and all at once.
        threads: of each process.
        launches, seconds, wait, until, most, against: as in `latency`.

    Raises:
        SpecError: no other side, nothing to write, or guesses of a draft that is not given.
        Undefined: as in `decode`; or what it keeps of a text cannot forget a wrong guess.
    """
    if ("draft" in guesses) != (draft is not None):
        raise SpecError("guesses=('draft',) and draft=Variant(...) go together")
    calls = [
        Writing(context, tokens, text, how, draft if how == "draft" else None)
        for text in texts
        for how in guesses
    ]
    calls += [
        Writing(context, tokens, requests=n, at_once=each) for n in requests for each in (1, n)
    ]
    if not calls:
        raise SpecError("nothing to write: expected guesses, such as ('none',), or requests")
    pairing = paired(
        driver, against, task, split, calls,
        launches=launches, until=until, most=most, threads=threads, seconds=seconds, wait=wait,
        baseline_calls=[call.plainly for call in calls],
    )  # fmt: skip
    return decoded(driver, pairing, "writing")
