"""Decorators for what is measured and on what: tasks, corruptions, measurements, metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.spec.asking import asking
from kit.spec.checking import SpecError, check_name, check_text, suggest
from kit.spec.entries import F
from kit.spec.kinds import ROLES, TASKS, Quantity, kinds_of
from kit.spec.ref import Ref
from kit.spec.registry import (
    MODALITIES,
    abilities,
    corruptions,
    measurements,
    metrics,
    tasks,
    with_traits,
)


@with_traits("assets", "harness")
def register_task(
    *,
    kind: str,
    labels: Iterable[str] = (),
    shifts: Mapping[str, str] | None = None,
    groups: Iterable[str] = (),
    rule: str = "",
    image_shape: tuple[int, int, int] | None = None,
    template: Any = None,
    version: int | str | None = None,
    **traits: Any,
) -> Callable[[F], F]:
    """Registers a function that returns a `datasets.DatasetDict`.

    Args:
        kind: `classification` (one label an item, a whole number), `multi_label` (any number of
            them: a list of 0 and 1, as long as `labels`), `regression` (a number on a scale),
            `choices` (the places of the right ones), `generation` (right answers), `language`, or
            `lm_eval` and `lm_eval_choices`, which `kit.tasks.lm_eval` makes.
        labels: names of the classes, in the order of the labels' numbers or places; none of a
            regression or of language.
        shifts: name of each shifted split and whether it is `near` or `far`.
        groups: columns whose slices are reported.
        rule: how near and far were told apart, in a sentence.
        image_shape: channels, height and width where items are images; None for texts.
        template: how a question is put, `kit.tasks.templates.Template`.
        version: raise it when the data change.
        **traits: `assets=("sentiment",)` (names of the assets it reads); `harness`, a function that
            gives the task of lm-evaluation-harness that its items are of.
    """
    if kind not in TASKS:
        raise SpecError(suggest(kind, TASKS, "kind of task"))
    modality = "text" if image_shape is None else "image"
    if modality not in TASKS[kind].modalities:
        raise SpecError(f"a task of kind {kind!r} holds no {modality}s: leave image_shape out")
    if (template is not None) != (kind in ("choices", "generation")):
        raise SpecError("template= says how questions are put: of choices and of generation alone")
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
        template=template,
        **traits,
    )


@with_traits("assets")
def register_corruption(
    *, modality: str, rule: str, version: int | None = None, **traits: Any
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


@with_traits("seconds")
def register_measurement(
    *,
    where: str,
    artifacts: Iterable[str],
    quantities: Mapping[str, Quantity] | None = None,
    needs: Iterable[str] = ("forward",),
    decodes: bool = False,
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
        decodes: it tells of what a session keeps from token to token. One that does not, nor needs
            `decode`, would see nothing of a scheme on the state, and `plan()` refuses it.
        version: raise it when results change.
        **traits: `seconds=` a first guess of how long it takes.
    """
    if where not in ("worker", "fresh", "driver"):
        raise SpecError(suggest(where, ("worker", "fresh", "driver"), "place for a measurement"))
    needed, kinds, counted = abilities(needs), kinds_of(artifacts), dict(quantities or {})
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
            decodes=decodes or "decode" in needed,
            **traits,
        )
        return asking(measurements, function)

    return register


@with_traits("where", "by_columns", "same")
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
            depends on how many columns `logits` has: runs in which these differ are not paired;
            `same={"tokens": "another tokenizer"}`, it depends on that column too, and what it means
            where an item's value is another.
    """
    kinds = kinds_of(artifact)

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
