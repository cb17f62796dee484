"""Decorators for what a variant is made of: architectures, schemes, exporters, runtimes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from kit.spec.arguments import positional
from kit.spec.checking import SpecError, check_name, suggest
from kit.spec.entries import F
from kit.spec.registry import (
    KINDS,
    abilities,
    architectures,
    exporters,
    routes,
    runtimes,
    schemes,
    with_traits,
)

NOTHING: Mapping[str, str] = MappingProxyType({})


@with_traits(*("fitted", "width_multiple", "assets", "modality", "probabilities", "rate", "passes"))
def register_architecture(
    *,
    kind: str,
    version: int | None = None,
    aliases: Mapping[str, Mapping[str, Any]] | None = None,
    tokenizer: Callable[[], Any] | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a function that builds a model.

    Args:
        kind: `causal`, `encoder`, `vision`, `predictor` or `pretrained`; what it promises is in
            CONTRIBUTING.md.
        version: raise it when results change; notebook cells leave it out.
        aliases: short names and their arguments.
        tokenizer: makes the tokenizer; bytes by default.
        **traits: `fitted=True` (has `fit` instead of gradient training), `width_multiple=n`,
            `assets=("minilm",)` (names of the assets it reads), `modality="text"` (of a predictor
            that reads no other), `probabilities=True` (its scores are such), and what
            `kit.classifier` takes: `rate` (learning rate) and `passes` (epochs for each of the
            preset's).
    """
    if kind not in KINDS:
        raise SpecError(suggest(kind, KINDS, "kind of architecture"))
    return lambda function: architectures.register(
        function, version=version, aliases=aliases, kind=kind, tokenizer=tokenizer, **traits
    )


@with_traits("dtype", "rounds_rows")
def register_scheme(
    *,
    form: str,
    simulated: bool = False,
    version: int | None = None,
    aliases: Mapping[str, Mapping[str, Any]] | None = None,
    runtimes: Iterable[str] = (),
    tolerance: float = 1e-3,
    fit: Callable[..., Any] | None = None,
    packages: Mapping[str, str] = NOTHING,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a compression.

    Args:
        form: what it acts on: `module` (`model` in, a new module out), `state` (what decoding
            keeps; `kit.runtimes.keeping` says what is supplied and what it gives), or what an
            exporter gives, such as `onnx` (`path` of the file in, the file at `output` written).
        simulated: computes in fp32 with rounded weights: an error study, never a speed claim.
        version: raise it when results change.
        aliases: short names and their arguments.
        runtimes: the only runtimes it works on; empty is all that its form allows.
        tolerance: largest difference between a runtime's output and eager's of the same model, as
            a share of the largest logit, above which it may not be timed.
        fit: what takes minutes and data: a function of the `model` and of `batches`, the inputs of
            the calibration task's training items one by one, and of those arguments of the scheme
            that it names. The dict of tensors that it returns is kept, and is the scheme's
            parameter `fitted`; the argument `calibration` of the scheme names the task.
        packages: what has to be installed, and what pip installs then: `{"nncf": "kit[openvino]"}`.
        **traits: `dtype="bfloat16"` (refused where the machine is slow in it), `rounds_rows=True`
            (rounds the activations of each row by themselves, in kernels that a call's shape
            chooses: answers to a row differ with it, by that rounding and no more).
    """
    return lambda function: schemes.register(
        _fits(_takes(form, function), fit),
        version=version,
        aliases=aliases,
        form=form,
        fit=fit,
        simulated=simulated,
        runtimes=tuple(runtimes),
        tolerance=tolerance,
        packages=packages,
        **traits,
    )


def _fits(function: F, fit: Callable[..., Any] | None) -> F:
    """Returns a scheme's function; one with a fit takes what it gives, and says on which data."""
    asked = {"model", "fitted", "calibration"} & inspect.signature(function).parameters.keys()
    if len(asked) < 3 if fit else "fitted" in asked:
        raise SpecError(
            f"{function.__name__}: with fit= a scheme on a module is expected to be of the form "
            "`(model, fitted, *, calibration: kit.TaskRef | None = None)`, without it to take none"
        )
    return function


def register_exporter(
    *,
    source: str,
    target: str,
    version: int | None = None,
    stored: Callable[..., Any] | None = None,
    packages: Mapping[str, str] = NOTHING,
) -> Callable[[F], F]:
    """Registers what turns a model of one form into another: `f(model, inputs, output)`.

    It writes the model to `output`, a file or a folder; of a `source` that lies on disk itself it
    gets the `path` in place of `model` and of `inputs`, an example batch. One that takes none of
    these may take the `checkpoint`: the one file that a model without schemes was read from, a
    GGUF, or None.

    Args:
        source: the form that it takes: `module`, or what another exporter gives.
        target: the form that it gives: a name of its own, or that of a known one.
        version: raise it when it writes something else.
        stored: says what the weights of that form take: of the path, and of `compressed` (whether a
            scheme made it), a `kit.compression.stored.Stored`; else the files alone are counted.
        packages: as a scheme has them.
    """
    check_name(target, "a form")
    traits: dict[str, Any] = {"source": source, "target": target, "packages": packages}
    return lambda function: exporters.register(
        _takes(source, function, *(("checkpoint",) if source == "module" else ())),
        version=version,
        stored=stored,
        **traits,
    )


def _takes(form: str, function: F, *others: str) -> F:
    """Returns a function that takes a model of a form, which has to be known, or of `others`."""
    if form not in (known := routes()):
        raise SpecError(suggest(form, known, "form"))
    asked = (*SUPPLIED.get(form, ("path",)), *others)
    if not {*asked} & {*(takes := positional(function))}:
        raise SpecError(
            f"{function.__name__} takes {', '.join(takes) or 'nothing'}; of the form {form} the "
            f"kit supplies {' or '.join(f'`{each}`' for each in asked)}"
        )
    return function


SUPPLIED = {"module": ("model",), "state": ("keys", "values", "layer")}
"""What the kit supplies of a form, of which a function takes one; of all others the `path`."""


@with_traits("compiles", "exact", "rounds_rows")
def register_runtime(
    *,
    form: str = "module",
    gives: Iterable[str] = ("forward",),
    version: int | None = None,
    tolerance: float = 1e-3,
    packages: Mapping[str, str] = NOTHING,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers what executes a model: `f(model)`, or `f(path)`, gives a session.

    A session is a function `forward(inputs)`, or an object that can do more: see
    `kit.runtimes.session`.

    Args:
        form: what it runs: a `module` (`model`), or what an exporter gives (its `path`).
        gives: what its sessions can do: `forward`, `decode`.
        version: raise it when results change.
        tolerance: as a scheme has it, of one that rounds more than fp32 does.
        packages: as a scheme has them.
        **traits: `compiles=True` (its first call takes long, for it compiles), `rounds_rows=True`
            (as a scheme has it), `exact={"kv_cache": "f32"}` (arguments that at other values keep
            less than the text while it decodes, which going forward alone does not see).

    A function that also takes `kept` (`kit.runtimes.keeping.Keeping`, or None) gives sessions
    whose state schemes may compress: it runs the form `state` too.
    """
    able = abilities(gives)

    def register(function: F) -> F:
        runs = (form, "state") if "kept" in positional(function) else (form,)
        able_to: dict[str, Any] = {"form": form, "runs": runs, "gives": able}
        known: dict[str, Any] = {"tolerance": tolerance, "packages": packages}
        return runtimes.register(
            _takes(form, function), version=version, **able_to, **known, **traits
        )

    return register
