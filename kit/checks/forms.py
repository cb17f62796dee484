"""Contract tests of what leads from a model to what runs: schemes, exporters, runtimes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.checks.tiny import (
    Test,
    batch,
    expect,
    outputs,
    tiny_models,
)
from kit.compression.stored import Compressed
from kit.runtimes.session import Session, as_array, open_session
from kit.spec import registry
from kit.spec.arguments import call
from kit.spec.checking import SpecError, Undefined
from kit.spec.entry import Entry
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import Tensor

    from kit.architectures.model import Model
from kit.checks.models import AGREES, SHAPES, relative_gap


def scheme(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a compression on a tiny model of each kind: not all may refuse it."""
    if entry.traits["form"] == "state":
        yield "compresses what a language model keeps", partial(_state_scheme, entry, ref)
        return
    test = _module_scheme if entry.traits["form"] == "module" else _written_scheme
    models, refused = tiny_models(), list[str]()
    for what, model in models.items():
        tried = partial(_or_refused, refused, len(models), partial(test, entry, ref, model))
        yield f"compresses a {what} and leaves the old one", tried


def _or_refused(refused: list[str], most: int, test: Callable[[], str | None]) -> str | None:
    """Runs a test; that something says clearly which models it does not take is no fault."""
    try:
        return test()
    except (SpecError, Undefined) as error:
        refused.append(str(error))
        expect(len(refused) < most, f"it refuses every model: {error}")
        return f"refused: {error}"


def _module_scheme(entry: Entry, ref: Ref, model: Model) -> None:
    import torch

    module, inputs = model.module.eval(), batch(model)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    expected = outputs(module, inputs)
    fitted = None
    if entry.traits["fit"]:
        batches = iter([batch(model, 1, length) for length in (3, 9, 5, 7) * 4])
        fitted = call(entry.traits["fit"], ref, model=module, batches=batches)
        tensors = isinstance(fitted, dict) and all(map(torch.is_tensor, fitted.values()))
        expect(tensors, f"its fit returned a {type(fitted).__name__}; expected a dict of tensors")
    result = call(entry.function, ref, model=module, fitted=fitted)
    made = result.module if isinstance(result, Compressed) else result
    what = f"it returned a {type(made).__name__}; expected a module, or kit.Compressed"
    expect(isinstance(made, torch.nn.Module), what)
    expect(made is not module, "it returned the module it was given; expected a new one")
    found = outputs(made, inputs)
    expect(found.shape == expected.shape, f"logits of shape {tuple(found.shape)} after it")
    expect(found.isfinite().all(), "its model's logits are not all finite numbers")
    after = module.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    expect(not changed, f"it changed {', '.join(changed[:3])} of the module it was given")
    expect(torch.equal(outputs(module, inputs), expected), "it changed the module it was given")
    expect(
        type(made) is type(module), f"it made a {type(made).__name__} of {type(module).__name__}"
    )


LONG = 300
"""Tokens after which a scheme on the state has something to do, with its usual arguments."""


def _state_scheme(entry: Entry, ref: Ref) -> str:
    """Reads a long text in one call, goes on from it, and looks at the logits and the bytes."""
    import torch

    from kit.runtimes.keeping import Keeping

    model = tiny_models()["language model"]
    ids = batch(model, 2, LONG + 8)["input_ids"]
    session = Keeping(entry.function, ref).session(model.module.eval())
    first, state = session.prefill(ids[:, :LONG])
    size, whole = session.bytes(state), outputs(model.module, {"input_ids": ids})
    gap = relative_gap(as_array(first), whole[:, LONG - 1])
    expect(gap < AGREES, f"a call does not read its own tokens as they are: {gap:.2g} away")
    said = 2 * session.state_bytes(LONG)
    expect(size == said, f"it keeps {size} bytes of {LONG} tokens; of zeros it would be {said}")
    branches = session.fork(state, 2)
    steps = [session.step(state, part) for part in torch.split(ids[:, LONG:], 1, 1)]
    expect(session.bytes(branches) == 2 * size, "going on from a state changed a fork of it")
    alike = [session.step(branches, part.repeat_interleave(2, 0))[::2]
             for part in torch.split(ids[:, LONG:], 1, 1)]  # fmt: skip
    found, forked = torch.cat(steps, 1), torch.cat(alike, 1)
    expect(found.isfinite().all(), "the logits after it are not all finite numbers")
    gap = relative_gap(as_array(forked), found)
    expect(gap < AGREES, f"a fork goes on {gap:.2g} away from the state it was made of")
    if session.untouched(state):
        return f"a text of {LONG} tokens is too short for it: nothing was tried"
    away = relative_gap(as_array(found), whole[:, LONG:])
    return f"{size:,} bytes of 2 rows of {LONG} tokens; the logits after it are {away:.2g} away"


def _written_scheme(entry: Entry, ref: Ref, model: Model) -> None:
    form = entry.traits["form"]
    with tempfile.TemporaryDirectory() as folder:
        path, output = _exported(model, form, Path(folder)), Path(folder) / "out" / f"model.{form}"
        output.parent.mkdir()
        before = _content(path.parent)
        call(entry.function, ref, path=path, output=output)
        expect(before == _content(path.parent), f"it changed the {form} that it was given")
        expect(output.exists(), f"it wrote no {form} to `output`")
        session = open_session(_runtime_of(form), path=output, threads=1)
        found = as_array(session.forward(batch(model)))
        expected = tuple(outputs(model.module, batch(model)).shape)
        expect(found.shape == expected, f"logits of shape {found.shape} after it, not {expected}")
        expect(np.isfinite(found).all(), f"the logits of its {form} are not all finite numbers")


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _exported(model: Model, form: str, folder: Path, last: Entry | None = None) -> Path:
    """Writes a model in a form, by the exporters that lead there, and by a last one."""
    route = registry.routes()[last.traits["source"] if last else form]
    given: dict[str, Any] = {"model": model.module, "inputs": batch(model)}
    for each in [*route, last] if last else route:
        target = each.traits["target"]
        output = folder / target / f"model.{target}"
        output.parent.mkdir()
        call(each.function, Ref(each.name), output=output, **given)
        expect(output.exists(), f"{each.name} wrote no {target} to `output`")
        given = {"path": output}
    return Path(given["path"])


def exporter(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of an exporter: what it writes answers as the module does."""
    del ref
    runs = _runtime_of(entry.traits["target"])
    models, refused = tiny_models(), list[str]()
    for what, model in models.items():
        tried = partial(_or_refused, refused, len(models), partial(_agrees, runs, model, entry))
        yield f"writes a {what} that answers alike", tried


def _runtime_of(form: str) -> Ref:
    """Returns a runtime that runs a form."""
    known = [registry.runtimes.get(name) for name in registry.runtimes.names()]
    able = [each.name for each in known if each.traits["form"] == form]
    expect(able, f"no runtime runs {form}, so that what is written cannot be tried")
    return registry.runtimes.canonical(able[0])


def runtime(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a runtime on a tiny model of each kind."""
    models, refused = tiny_models(), list[str]()
    for what, model in models.items():
        tried = partial(_or_refused, refused, len(models), partial(_agrees, ref, model))
        yield f"agrees with eager on a {what}", tried
    if "decode" in entry.traits["gives"]:
        yield "decodes as it goes forward", lambda: _decodes(ref, models["language model"])


@contextlib.contextmanager
def _session(ref: Ref, model: Model, exporter: Entry | None = None) -> Iterator[Session]:
    """Gives a runtime's session of a model, which comes there by an exporter or the usual way."""
    import copy

    form = registry.runtimes.get(ref.name).traits["form"]
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {"model": copy.deepcopy(model.module)}
        if form != "module":
            given = {"path": _exported(model, form, Path(folder), exporter)}
        yield open_session(ref, **given, threads=1)


def _agrees(ref: Ref, model: Model, exporter: Entry | None = None) -> str:
    worst = 0.0
    with _session(ref, model, exporter) as session:
        for rows, length in SHAPES:
            inputs = batch(model, rows, length)
            expected = outputs(model.module, inputs)
            found = as_array(session.forward(inputs))
            where = f"at batch_size={rows}, length={length}"
            shapes = f"logits of shape {found.shape} {where}; eager's are {tuple(expected.shape)}"
            expect(found.shape == tuple(expected.shape), shapes)
            gap = relative_gap(found, expected)
            expect(gap < AGREES, f"differs from eager by {gap:.2g} of the largest logit {where}")
            worst = max(worst, gap)
    return f"within {worst:.1g} of the largest logit"


def _decodes(ref: Ref, model: Model) -> str:
    """Goes on from a prefix in one state, and in two branches of it, and looks at the logits."""
    import torch

    with _session(ref, model) as session:
        ids = batch(model, 2, 9)["input_ids"]
        first, state = session.prefill(ids[:, :5])
        branches = session.fork(state, 2)
        size = session.bytes(state)
        steps = [session.step(state, part) for part in (ids[:, 5:6], ids[:, 6:])]
        branched = session.step(branches, ids[:, 5:].repeat_interleave(2, 0))
        mixed = _merged(session, ids) if hasattr(session, "merge") else None
    whole = outputs(model.module, {"input_ids": ids})
    tried = [
        ("prefill and steps", torch.cat([first[:, None], *steps], 1), whole[:, 4:]),
        ("a fork", torch.cat([first[:, None], branched[::2]], 1), whole[:, 4:]),
    ]
    if mixed is not None:
        tried.append(("merged rows", mixed[:, 0], torch.stack([whole[1, 5], whole[0, 3]])))
    for what, found, expected in tried:
        shapes = f"{what} gave logits of shape {tuple(found.shape)}, not {tuple(expected.shape)}"
        expect(found.shape == expected.shape, shapes)
        gap = relative_gap(as_array(found), expected)
        expect(gap < AGREES, f"{what} differ from eager by {gap:.2g} of the largest logit")
    expect(size >= 0, f"a state of {size} bytes")
    return f"{size:,} bytes of state for 2 rows of 5 tokens"


def _merged(session: Any, ids: Tensor) -> Tensor:
    """Goes on with a row of one state and a shorter one of another, put together."""
    import torch

    long, short = session.prefill(ids[:, :5])[1], session.prefill(ids[:1, :3])[1]
    both = session.merge([(long, [1]), (short, [0])])
    found: Tensor = session.step(both, torch.stack([ids[1, 5:6], ids[0, 3:4]]))
    return found
