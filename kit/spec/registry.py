"""The registries, and a decorator for each: the one mechanism for what can be added.

The registries fill themselves on the first look-up, so that importing the kit stays cheap.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from kit.spec.asking import asking
from kit.spec.checking import SpecError, check_name, check_text, suggest
from kit.spec.entries import Entry, F, Registry, positional
from kit.spec.kinds import ROLES, TASKS, Quantity, artifacts
from kit.spec.ref import Ref

GIVES = ("forward", "decode")
"""What a session may do (`kit.runtimes.session`)."""
ROWS = ("rows",)
"""What a derived metric reads, in the place of kinds of artifact."""
KINDS = ("causal", "encoder", "vision", "predictor", "pretrained")
MODALITIES = ("text", "image")

__all__ = ["Entry", "Registry", "artifacts"]

architectures = Registry(
    "architecture",
    "kit.architectures",
    ("vocab_size", "train", "classes", "image_shape"),
    ("width", "feed_forward"),
    {"hf:": ("pretrained", "source")},
)
tasks = Registry("task", "kit.tasks", ())
schemes = Registry("scheme", "kit.compression", ("model", "path", "output", "fitted"))
exporters = Registry("exporter", "kit.runtimes", ("model", "inputs", "path", "output"))
runtimes = Registry("runtime", "kit.runtimes", ("model", "path", "threads"))
measurements = Registry("measurement", "kit.measurements", ("runner", "driver"))
metrics = Registry("metric", "kit.analysis.metrics", None)
corruptions = Registry("corruption", "kit.corruptions", ("text", "pixels", "rng"))
REGISTRIES = {
    "architectures": architectures,
    "schemes": schemes,
    "exporters": exporters,
    "runtimes": runtimes,
    "tasks": tasks,
    "measurements": measurements,
    "metrics": metrics,
    "corruptions": corruptions,
    "artifacts": artifacts,
}


def saves(ask: Ref) -> str:
    """Returns the kind of artifact that a measurement saves: of quality, that of its task."""
    task = ask.args.get("task")
    if isinstance(task, Ref):
        kind = TASKS[tasks.get(task.name).traits["kind"]]
        if ask.name == kind.quality:
            return kind.artifact
    kinds: tuple[str, ...] = measurements.get(ask.name).traits["artifacts"]
    return kinds[0]


def counted(*, own: bool = False) -> dict[str, Quantity]:
    """Returns what measurements may record, by name; of those outside the package (`own`) alone."""
    entries = map(measurements.get, measurements.names())
    chosen = [entry for entry in entries if not (own and entry.in_kit)]
    return {name: each for entry in chosen for name, each in entry.traits["quantities"].items()}


def direction(name: str) -> bool | None:
    """Returns whether more of a metric or of a recorded quantity is better.

    None where it has no direction or is not registered in this session.
    """
    if name in metrics:
        better: bool | None = metrics.get(name).traits["higher_is_better"]
        return better
    return counted()[name].higher_is_better if name in counted() else None


def _with_traits(*traits: str) -> Callable[[F], F]:
    """Refuses what a decorator does not know, before Python says that another thing is missing.

    Args:
        *traits: names that it takes as `**traits`, beside its own parameters.
    """

    def wrap(decorator: F) -> F:
        own = [name for name in inspect.signature(decorator).parameters if name != "traits"]

        @functools.wraps(decorator)
        def checked(*args: Any, **given: Any) -> Any:
            unknown = [name for name in given if name not in (*own, *traits)]
            if unknown:
                sentence = suggest(unknown[0], (*own, *traits), "trait")
                raise SpecError(f"{decorator.__name__}: {sentence}")
            return decorator(*args, **given)

        return cast(F, checked)

    return wrap


@_with_traits(
    *("fitted", "width_multiple", "assets", "modality", "probabilities", "rate", "passes")
)
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


@_with_traits("assets")
def register_task(
    *,
    kind: str,
    labels: Iterable[str] = (),
    shifts: Mapping[str, str] | None = None,
    groups: Iterable[str] = (),
    rule: str = "",
    image_shape: tuple[int, int, int] | None = None,
    version: int | str | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a function that returns a `datasets.DatasetDict`.

    Args:
        kind: `classification` (one label an item, a whole number), `multi_label` (any number of
            them: a list of 0 and 1, as long as `labels`), `regression` (a number on a scale) or
            `language` (no label).
        labels: names of the classes, in the order of the labels' numbers or places; none of a
            regression or of language.
        shifts: name of each shifted split and whether it is `near` or `far`.
        groups: columns whose slices are reported.
        rule: how near and far were told apart, in a sentence.
        image_shape: channels, height and width where items are images; None for texts.
        version: raise it when the data change.
        **traits: `assets=("sentiment",)` (names of the assets it reads).
    """
    if kind not in TASKS:
        raise SpecError(suggest(kind, TASKS, "kind of task"))
    modality = "text" if image_shape is None else "image"
    if modality not in TASKS[kind].modalities:
        raise SpecError(f"a task of kind {kind!r} holds no {modality}s: leave image_shape out")
    labels, groups = tuple(labels), tuple(groups)
    for what, given in (("label", labels), ("shift", shifts or {}), ("group column", groups)):
        for name in given:
            check_name(name, f"a {what} of the task")
    wrong = {name: how for name, how in (shifts or {}).items() if how not in ("near", "far")}
    if wrong:
        raise SpecError(f"shifts={wrong}: each shift is 'near' or 'far'")
    return lambda function: tasks.register(
        function,
        version=version,
        kind=kind,
        labels=labels,
        shifts=dict(shifts or {}),
        groups=groups,
        rule=rule,
        image_shape=image_shape,
        modality=modality,
        **traits,
    )


@_with_traits("dtype")
def register_scheme(
    *,
    form: str,
    simulated: bool = False,
    version: int | None = None,
    aliases: Mapping[str, Mapping[str, Any]] | None = None,
    runtimes: Iterable[str] = (),
    tolerance: float = 1e-3,
    fit: Callable[..., Any] | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a compression.

    Args:
        form: what it acts on: `module` (`model` in, a new module out), or what an exporter gives,
            such as `onnx` (`path` of the file in, the file at `output` written).
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
        **traits: `dtype="bfloat16"` (refused where the machine is slow in it).
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


def register_exporter(*, source: str, target: str, version: int | None = None) -> Callable[[F], F]:
    """Registers what turns a model of one form into another: `f(model, inputs, output)`.

    It writes the model to `output`, a file or a folder; of a `source` that lies on disk itself it
    gets the `path` in place of `model` and of `inputs`, an example batch.

    Args:
        source: the form that it takes: `module`, or what another exporter gives.
        target: the form that it gives: a name of its own, or that of a known one.
        version: raise it when it writes something else.
    """
    check_name(target, "a form")
    return lambda function: exporters.register(
        _takes(source, function), version=version, source=source, target=target
    )


def routes(source: str = "module") -> dict[str, list[Entry]]:
    """Returns each form that a form leads to, itself too, and the exporters on the shortest way."""
    found: dict[str, list[Entry]] = {source: []}
    known = [exporters.get(name) for name in exporters.names()]
    while more := {
        each.traits["target"]: [*found[each.traits["source"]], each]
        for each in known
        if each.traits["source"] in found and each.traits["target"] not in found
    }:
        found |= more
    return found


def _takes(form: str, function: F) -> F:
    """Returns a function that takes a model of a form, which has to be known."""
    if form not in (known := routes()):
        raise SpecError(suggest(form, known, "form"))
    asked = "model" if form == "module" else "path"
    if asked not in (takes := positional(function)):
        raise SpecError(
            f"{function.__name__} takes {', '.join(takes) or 'nothing'}; of the form {form} the "
            f"kit supplies `{asked}`"
        )
    return function


@_with_traits("compiles")
def register_runtime(
    *,
    form: str = "module",
    gives: Iterable[str] = ("forward",),
    version: int | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers what executes a model: `f(model)`, or `f(path)`, gives a session.

    A session is a function `forward(inputs)`, or an object that can do more: see
    `kit.runtimes.session`.

    Args:
        form: what it runs: a `module` (`model`), or what an exporter gives (its `path`).
        gives: what its sessions can do: `forward`, `decode`.
        version: raise it when results change.
        **traits: `compiles=True` (its first call takes long, for it compiles).
    """
    able = _abilities(gives)
    return lambda function: runtimes.register(
        _takes(form, function), version=version, form=form, gives=able, **traits
    )


def _abilities(names: Iterable[str]) -> tuple[str, ...]:
    for name in (names := (names,) if isinstance(names, str) else tuple(names)):
        if name not in GIVES:
            raise SpecError(suggest(name, GIVES, "thing that a runtime gives"))
    return names


@_with_traits("seconds")
def register_measurement(
    *,
    where: str,
    artifacts: Iterable[str],
    quantities: Mapping[str, Quantity] | None = None,
    needs: Iterable[str] = ("forward",),
    version: int | None = None,
    **traits: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Ref]]:
    """Registers a measurement: a function of a runner (or, for timings, a driver).

    What the definition's name then stands for asks for it: called without a runner, with the
    arguments after `*`, it gives the checked Ref. A size that depends on the preset stands in the
    argument's annotation, `Annotated[int, kit.Preset(smoke=1, default=4, full=8)]`.

    Args:
        where: `worker` (gets a runner), `fresh` (a runner in a new process) or `driver` (starts
            its own processes).
        artifacts: the kind of artifact it gives; of one that measures quality, the kinds, of which
            the task's own (`kit.spec.kinds.TASKS`) is given.
        quantities: those that it may record, of one that gives `quantities`: each is a row, in the
            unit and with the direction said here.
        needs: what the runtime has to give: `forward`, `decode`; a lack is told by `plan()`.
        version: raise it when results change.
        **traits: `seconds=` a first guess of how long it takes.
    """
    if where not in ("worker", "fresh", "driver"):
        raise SpecError(suggest(where, ("worker", "fresh", "driver"), "place for a measurement"))
    needed, kinds, counted = _abilities(needs), _kinds_of(artifacts), dict(quantities or {})
    if ("quantities" in kinds) != bool(counted):
        raise SpecError(
            'register_measurement: artifacts=("quantities",) and quantities={name: '
            'kit.Quantity("bytes")} go together'
        )
    for name in counted:
        check_name(name, "the name of a quantity")

    def register(function: Callable[..., Any]) -> Callable[..., Ref]:
        measurements.register(
            function,
            version=version,
            where=where,
            artifacts=kinds,
            quantities=counted,
            needs=needed,
            **traits,
        )
        return asking(measurements, function)

    return register


def _kinds_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the names of registered kinds of artifact, at least one."""
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise SpecError(f"no kind of artifact is named; there are {', '.join(artifacts.names())}")
    return tuple(artifacts.get(name).name for name in names)


@_with_traits("where", "by_columns")
def register_metric(
    *,
    artifact: str | Iterable[str],
    higher_is_better: bool | None,
    unit: str,
    no_interval: str = "",
    version: int | None = None,
    fit: Callable[..., Any] | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a pure function over the columns of an artifact.

    What it reads is told by its parameters, and how its interval is had by what it returns: see
    `kit.analysis.evaluate`.

    Args:
        artifact: the kind it reads, or the kinds. The entry's trait `artifacts` holds them.
        higher_is_better: direction; None where there is none.
        unit: of the value. A `ratio` is to the other side of a timing: 1 is no difference.
        no_interval: why it has none, where it has none.
        version: raise it when results change, the fit's too.
        fit: a function of columns of the validation split (and, as `ood_logits`, of the shifts'
            validation parts), whose result is the metric's parameter `fitted`.
        **traits: `where={column: value}`, the records that it reads; `by_columns=True`, its scale
            depends on how many columns `logits` has: runs in which these differ are not paired.
    """
    kinds = _kinds_of(artifact)

    def register(function: F) -> F:
        names = inspect.signature(function).parameters
        others = [role for role in ROLES if any(name.startswith(f"{role}_") for name in names)]
        if len(others) > 1:
            raise SpecError(
                f"metric {function.__name__} reads columns of {' and '.join(others)}; expected "
                "those of one other run"
            )
        return metrics.register(
            function,
            version=version,
            artifacts=kinds,
            higher_is_better=higher_is_better,
            unit=unit,
            no_interval=no_interval,
            fit=fit,
            **traits,
        )

    return register


def wanted(kinds: Iterable[str], which: str, names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Returns the metrics that are computed of kinds of artifact.

    Args:
        kinds: of artifact.
        which: `metrics`, `group_metrics` or `shifted_metrics`.
        names: of metrics; where none of them reads a kind, and where not given, those of the kind.

    Raises:
        SpecError: a name that is not registered.
    """
    if names is None:
        names, read = (), set()
    else:
        names = (names,) if isinstance(names, str) else tuple(names)
        read = {kind for name in names for kind in metrics.get(name).traits["artifacts"]}
        read |= set() if names else set(artifacts.names())
    own = [artifacts.get(kind).traits[which] for kind in kinds if kind not in read]
    return tuple(dict.fromkeys([*names, *itertools.chain(*own)]))


def register_derived(
    *,
    unit: str,
    higher_is_better: bool | None,
    reads: Iterable[str] = (),
    name: str | None = None,
    version: int | None = None,
) -> Callable[[F], F]:
    """Registers rows from rows, a metric of a whole study: `f(rows)` gets those of what it reads.

    It gives mappings of a row's columns: the key of a row that it read (`kit.key_of`), a `value`
    and, where there is one, its interval. It gets measured rows alone; of a variant that lacks one,
    and that it gives nothing of, the reason is a row.

    Args:
        unit: of the value.
        higher_is_better: its direction; None where there is none.
        reads: names of metrics, changes and other statistics; where a study has no rows of one of
            them it gives none. Without any, it asks by name for what runs saved: `artifacts`, ...
        name: of its rows' `metric`; the function's where not given.
        version: raise it when results change; notebook cells leave it out.
    """
    reads = tuple(reads)
    traits: Any = {"artifacts": ROWS, "reads": reads}
    traits |= {"higher_is_better": higher_is_better, "unit": unit}
    given = ("rows",) if reads else ("artifacts", "samples", "baseline", "again", "lost")

    def register(function: F) -> F:
        for parameter in set(positional(function)) - {*given}:
            raise SpecError(f"reads={reads}: " + suggest(parameter, given, "parameter"))
        return metrics.register(function, name=name, version=version, **traits)

    return register


@_with_traits("assets")
def register_corruption(
    *,
    modality: str,
    rule: str,
    version: int | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a graded shift: `f(text, rng, *, severity)` or `f(pixels, rng, *, severity)`.

    A pure function that gives a text, or pixels [..., h, w] in 0..1 of the same shape. It never
    changes the label. What it draws from `rng` should not depend on the severity, so that a higher
    one adds to a lower.

    Args:
        modality: `text` or `image`.
        rule: why the label survives, in a sentence.
        version: raise it when results change; notebook cells leave it out.
        **traits: `assets=("wordnet",)` (names of the assets it reads).
    """
    if modality not in MODALITIES:
        raise SpecError(suggest(modality, MODALITIES, "modality"))
    check_text(rule, "the rule by which a corruption keeps the label")

    def register(function: F) -> F:
        if "severity" not in inspect.signature(function).parameters:
            raise SpecError(
                f"corruption {function.__name__} takes no severity; expected "
                "`*, severity: kit.Severity`"
            )
        return corruptions.register(
            function, version=version, modality=modality, rule=rule, **traits
        )

    return register


def user_entries() -> list[tuple[str, Entry]]:
    """Returns what was registered outside the package, to be sent to workers by value."""
    return [
        (kind, entry)
        for kind, registry in REGISTRIES.items()
        for entry in registry._entries.values()
        if not entry.in_kit
    ]
