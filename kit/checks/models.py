"""Contract tests of architectures, schemes and runtimes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import tasks
from kit.architectures.tokenizers import HFTokenizer
from kit.checks.tiny import (
    IMAGES,
    REVIEWS,
    TEXTS,
    Broken,
    Test,
    batch,
    expect,
    outputs,
    tiny_models,
)
from kit.compression.stored import Compressed
from kit.runtimes.session import Session, as_array, open_session
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.entries import Entry, call, positional
from kit.spec.ref import Ref

if TYPE_CHECKING:
    from torch import Tensor

    from kit.architectures.model import Model
    from kit.tasks.task import Task

CLOSE = 1e-4
"""Share of the largest logit by which the shape of a batch may change the rounding."""
MOST_READ = 500
"""Items of a split that are read to tell how many are cut."""
AGREES = 1e-3
"""The same between runtimes, whose kernels differ."""
WIDTHS = (16, 32, 48, 64, 96, 128, 256)
SHAPES = ((3, 9), (1, 5))
"""Rows and tokens of the batches that a runtime is tried with, the first one first."""


def architecture(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of an architecture of any kind, built at its smallest width."""
    from kit.architectures.model import make_model

    kind = entry.traits["kind"]
    task = tasks.load({"causal": TEXTS, "vision": IMAGES}.get(kind, REVIEWS))
    make = partial(make_model, _sized(entry, ref, task), task)
    model = make(seed=0)
    if model.kind == "predictor":
        yield from _predictor(model)
        return
    yield "gives logits of the right shape", lambda: _right_shape(model)
    yield "gives the same under the same seed", lambda: _deterministic(make)
    if model.kind == "causal":
        yield "looks at no later token", lambda: _causal(model)
    if model.tokenizer is not None:
        yield "takes no notice of padding", lambda: _no_padding(model)
    yield "judges each row by itself", lambda: _row_by_row(model)
    if entry.traits.get("fitted"):
        yield "gives probabilities", lambda: _sums_to_one(outputs(model.module, batch(model)))
    else:
        yield "has a gradient in every parameter", lambda: _gradients(make(seed=0))
    yield "keeps its weights when saved", lambda: _round_trip(model, make)
    if model.kind == "causal":
        yield "tells the size of its state", lambda: _state(model)


def pretrained(ref: Ref, task: Ref | None) -> Iterator[Test]:
    """Yields the tests of a model that was trained elsewhere, before a study relies on it.

    Args:
        ref: its canonical Ref.
        task: whose texts and labels it is tried on; made-up texts where not given.
    """
    from kit.architectures.deployed import config_of, remarks
    from kit.architectures.folder import locate
    from kit.architectures.model import shell
    from kit.build.verify import verify
    from kit.spec.spec import Variant

    data = None if task is None else tasks.load(task)
    model = shell(ref, data)
    assert isinstance(model.tokenizer, HFTokenizer)
    tokenizer = model.tokenizer
    limit = "texts of any length" if model.window is None else f"{model.window:,} tokens"
    yield "can be read", lambda: f"{_loaded(ref, data)} that reads {limit}"
    if model.head is not None:
        yield "answers with", lambda: _answers(ref, model)
    if data is not None and model.texts is not None:
        yield "sees whole texts", lambda: _cut_share(model, data)
    yield (
        "agrees with its tokenizer, or it is said what counts",
        lambda: "; ".join(remarks(config_of(locate(ref.args["source"])), tokenizer)),
    )
    yield (
        "answers as transformers does, one text at a time",
        lambda: f"within {verify(Variant(ref), task):.2g} of the largest output",
    )


def _loaded(ref: Ref, data: Task | None) -> str:
    from kit.architectures.model import make_model

    return f"a {make_model(ref, data, seed=0).kind} model"


def _answers(ref: Ref, model: Model) -> str:
    """Says which of the model's outputs each answer is made of."""
    from kit.architectures.folder import locate, read_config
    from kit.architectures.head import label_names

    assert model.head is not None
    names = label_names(read_config(locate(ref.args["source"])))
    pairs = zip(model.labels, model.head.columns, strict=True)
    made = {label: " + ".join(names[k] for k in columns) for label, columns in pairs}
    return ", ".join(n if n in ("", to) else f"{n} as {to}" for to, n in made.items() if n)


def _cut_share(model: Model, data: Task) -> str:
    assert model.texts is not None
    splits = [split for split, rows in data.data.items() if len(rows)]
    examples = [each for split in splits for each in data.examples(data.split(split, MOST_READ))]
    cut = [row.cut for row in model.texts.encode(examples, model.window)]
    return f"{sum(cut):,} of {len(cut):,} are cut at {model.window} tokens"


def _sized(entry: Entry, ref: Ref, task: Task | None) -> Ref:
    """Returns the Ref with the first of a few widths that can be built, where it is open."""
    from kit.architectures.model import make_model

    if "width" not in positional(entry.function) or "width" in ref.args:
        return ref
    step = int(entry.traits.get("width_multiple", 1))
    refusal: SpecError | None = None
    for width in WIDTHS:
        sized = ref.replace(width=-(-width // step) * step)
        try:
            make_model(sized, task, seed=0, fit=False)
        except SpecError as error:
            refusal = refusal or error
        else:
            return sized
    raise refusal or SpecError(f"{ref.name} cannot be built")


def _right_shape(model: Model) -> str:
    inputs = batch(model)
    found = outputs(model.module, inputs)
    expected: tuple[int, ...] = (3, len(model.labels))
    if model.kind == "causal":
        assert model.tokenizer is not None
        expected = (*inputs["input_ids"].shape, model.tokenizer.vocab_size)
    shape = tuple(found.shape)
    expect(shape == expected, f"it returned logits of shape {shape}; expected {expected}")
    expect(found.isfinite().all(), "its logits are not all finite numbers")
    return f"{sum(p.numel() for p in model.module.parameters()):,} parameters"


def _deterministic(make: Callable[..., Model]) -> None:
    first, again = make(seed=1), make(seed=1)
    inputs = batch(first)
    found = outputs(first.module, inputs)
    expect((found == outputs(first.module, inputs)).all(), "the same input gave two outputs")
    same = (found == outputs(again.module, inputs)).all()
    expect(same, "it was built twice with one seed and gave two outputs: draw by torch's generator")


def _causal(model: Model) -> None:
    from kit.training.causality import peeks_ahead

    assert model.tokenizer is not None
    if fault := peeks_ahead(model.module, model.tokenizer.vocab_size):
        raise Broken(fault)


def _no_padding(model: Model) -> None:
    """Appends tokens that the mask hides, or that come later, and looks at what was before."""
    import torch

    inputs = {name: values[:1, :5] for name, values in batch(model).items()}
    more = {name: torch.nn.functional.pad(v, (0, 4)) for name, v in inputs.items()}
    more["input_ids"][:, 5:] = 7
    found, padded = outputs(model.module, inputs), outputs(model.module, more)
    gap = _gap(padded[:, :5] if model.kind == "causal" else padded, found)
    expect(gap < CLOSE, f"padding on the right changed its logits by {gap:.2g} of the largest")


def _row_by_row(model: Model) -> None:
    inputs = batch(model)
    first = {name: values[:1] for name, values in inputs.items()}
    gap = _gap(outputs(model.module, first), outputs(model.module, inputs)[:1])
    expect(gap < CLOSE, f"the rest of a batch changed a row's logits by {gap:.2g} of the largest")


def _gradients(model: Model) -> None:
    """Looks for a gradient at slightly disturbed weights, so that no zero at the start hides it."""
    import torch

    from kit.architectures.model import seeded
    from kit.architectures.outputs import logits

    probe = model.module.eval()
    with seeded(0), torch.no_grad():
        for parameter in probe.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    scores = logits(probe(**batch(model)))
    loss = (scores.logsumexp(-1) - scores[..., 0]).mean()
    torch.autograd.backward(loss)
    silent = [
        name
        for name, parameter in probe.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    expect(not silent, f"no gradient reaches {', '.join(silent[:5])}")


def _round_trip(model: Model, make: Callable[..., Model]) -> None:
    from kit.architectures.model import load_weights, save_model

    other = make(seed=1, fit=False)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder))
        load_weights(other, Path(folder))
    inputs = batch(model)
    same = (outputs(model.module, inputs) == outputs(other.module, inputs)).all()
    expect(same, "its output differs after state_dict was saved and loaded: is all state in it?")


def _state(model: Model) -> str:
    from kit.architectures.budget import state_bytes

    if not hasattr(model.module, "state_bytes"):
        return "skipped: without a method state_bytes(context) its state is not known"
    sizes = [state_bytes(model.module, context) for context in (1, 64, 128)]
    expect(0 <= sizes[0] <= sizes[1] <= sizes[2], f"bytes at contexts 1, 64, 128: {sizes}")
    return f"{sizes[2]:,} bytes at a context of 128"


def _sums_to_one(scores: Any) -> None:
    sums = np.exp(np.asarray(scores, np.float64)).sum(-1)
    expect(np.allclose(sums, 1, atol=1e-3), f"exp(scores) sum to {sums.flat[0]:.4g}; expected 1")


def _predictor(model: Model) -> Iterator[Test]:
    texts = ["a good one", "", "bad " * 500, "\U0001f642 \u0645\u0631\u062d\u0628\u0627"]

    def scores() -> np.ndarray:
        found = np.asarray(model.module(texts))
        expected = (len(texts), len(model.labels))
        expect(found.shape == expected, f"scores of shape {found.shape}; expected {expected}")
        return found

    def finite() -> None:
        expect(np.isfinite(scores()).all(), "its scores are not all finite numbers")

    def one_by_one() -> None:
        alone = np.concatenate([np.asarray(model.module([text])) for text in texts])
        expect(np.allclose(alone, scores()), "a text's scores depend on the others of its batch")

    yield "gives finite scores of the right shape", finite
    yield "judges each text by itself, and the same again", one_by_one
    if model.probabilities:
        yield "gives probabilities, as it says", lambda: _sums_to_one(scores())


def scheme(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a compression on a tiny model of each kind."""
    test = _module_scheme if entry.traits["form"] == "module" else _written_scheme
    for what, model in tiny_models().items():
        yield f"compresses a {what} and leaves the old one", partial(test, entry, ref, model)


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
    for what, model in tiny_models().items():
        yield f"writes a {what} that answers alike", partial(_agrees, runs, model, entry)


def _runtime_of(form: str) -> Ref:
    """Returns a runtime that runs a form."""
    known = [registry.runtimes.get(name) for name in registry.runtimes.names()]
    able = [each.name for each in known if each.traits["form"] == form]
    expect(able, f"no runtime runs {form}, so that what is written cannot be tried")
    return registry.runtimes.canonical(able[0])


def runtime(entry: Entry, ref: Ref) -> Iterator[Test]:
    """Yields the tests of a runtime on a tiny model of each kind."""
    models = tiny_models()
    for what, model in models.items():
        yield f"agrees with eager on a {what}", partial(_agrees, ref, model)
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
            gap = _gap(found, expected)
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
    expected = outputs(model.module, {"input_ids": ids})[:, 4:]
    for what, found in (
        ("prefill and steps", torch.cat([first[:, None], *steps], 1)),
        ("a fork", torch.cat([first[:, None], branched[::2]], 1)),
    ):
        shapes = f"{what} gave logits of shape {tuple(found.shape)}, not {tuple(expected.shape)}"
        expect(found.shape == expected.shape, shapes)
        gap = _gap(as_array(found), expected)
        expect(gap < AGREES, f"{what} differ from eager by {gap:.2g} of the largest logit")
    expect(size >= 0, f"a state of {size} bytes")
    return f"{size:,} bytes of state for 2 rows of 5 tokens"


def _gap(found: Any, expected: Tensor) -> float:
    """Returns the largest difference as a share of the largest expected value; NaN is infinite."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    gap = float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-9))
    return gap if np.isfinite(gap) else float("inf")
