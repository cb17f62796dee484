"""What to compare: frozen specifications, and everything registered that they use.

A `Variant` is what would be deployed (architecture, training, schemes, runtime, seed), a `Run` is a
variant with one `Measurement` asked of it. Specs hold names and plain values only, never models or
functions, so that they can be hashed, written as JSON, sent to a worker and compared.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from kit.spec import registry
from kit.spec.checking import SpecError, check_name, shown, tidy
from kit.spec.fields import (
    Architecture,
    Count,
    Decay,
    Measurement,
    Rates,
    Runtime,
    Schemes,
    Share,
    Task,
    Whole,
    _spec,
)
from kit.spec.ref import OWN_KEYS, Ref, Spec, content_hash
from kit.spec.roles import roles

TRAINING_VERSION = 1
"""Raised by hand when the training loop changes what it makes."""


@_spec
class Budget(Spec):
    """What a comparison holds equal. Unset limits do not bind.

    Attributes:
        parameters: non-embedding parameters; the width is solved for it.
        tokens: training tokens.
        epochs: passes over the training items.
        examples: the first n training items by content hash.
    """

    parameters: Count | None = None
    tokens: Count | None = None
    epochs: Count | None = None
    examples: Count | None = None


@_spec
class Training(Spec):
    """How a variant's weights are made. One loop serves all kinds of architecture.

    Attributes:
        task: the data; a name or a Ref.
        budget: when to stop (`epochs` or `tokens`) and how many `examples` to use.
        rates: peak learning rates tried; with more than one, short trials pick by validation.
        batch_size: sequences an optimizer step.
        length: tokens of a training window (causal) or the truncation length (classifiers).
        warmup: share of the steps in which the rate rises linearly.
        weight_decay: AdamW's decay, on matrices only.
        dtype: `float32`, or `bfloat16` autocast where the machine multiplies it as fast.
        trial_steps: optimizer steps of each rate trial.
    """

    task: Task
    budget: pydantic.InstanceOf[Budget] = Budget(epochs=1)
    rates: Rates = (1e-4,)
    batch_size: Count = 32
    length: Count = 128
    warmup: Share = 0.06
    weight_decay: Decay = 0.01
    dtype: Literal["float32", "bfloat16"] = "float32"
    trial_steps: Count = 64

    def __post_init__(self) -> None:
        if self.budget.tokens is None and self.budget.epochs is None:
            raise SpecError("Training needs a Budget with tokens or epochs, to know when to stop")


@_spec
class Variant(Spec):
    """What would be deployed.

    Attributes:
        architecture: name or Ref; `hf:org/name`, `hf:./folder` for pretrained models.
        training: how its weights are made; None for pretrained models and predictors.
        schemes: compressions in the order of the forms that they act on; `()` is fp32.
        runtime: what executes it.
        seed: of the initial weights and of the order of training data.
        name: short name for tables, made from what is not default where not given. It is no part
            of the content: two variants that differ in name alone are equal.
        labels, length: shorthand for a pretrained architecture's arguments: the task's label that
            each of its own stands for, and the tokens at which texts are cut.
    """

    architecture: Architecture
    training: pydantic.InstanceOf[Training] | None = None
    schemes: Schemes = ()
    runtime: Runtime = Ref("eager")
    seed: Whole = 0
    name: Annotated[str, Field(strict=True)] = dataclasses.field(default="", compare=False)
    labels: dataclasses.InitVar[Any] = None
    length: dataclasses.InitVar[Any] = None

    def __post_init__(self, labels: Mapping[str, int | None] | None, length: int | None) -> None:
        more = {"labels": labels, "length": length}
        if given := {name: value for name, value in more.items() if value is not None}:
            architecture = registry.architectures.canonical(self.architecture.replace(**given))
            object.__setattr__(self, "architecture", architecture)
        name = check_name(self.name, "a variant's name") if self.name else self._made_name()
        object.__setattr__(self, "name", name)

    def __repr__(self) -> str:
        data = f" trained on {self.training.task}" if self.training else ""
        seed = f", seed {self.seed}" if self.seed else ""
        what = f"{self.architecture}{data}, {self.scheme_name}, {self.runtime}{seed}"
        return f"<Variant {self.name}: {what}>"

    def _made_name(self) -> str:
        return tidy(registry.architectures.short(self.architecture) + self._made_suffix())

    def _made_suffix(self) -> str:
        """Returns what a name says of schemes and runtime: ` dynamic_int8 onnx`."""
        parts = [registry.schemes.short(scheme) for scheme in self.schemes]
        if self.runtime != Ref("eager"):
            parts.append(registry.runtimes.short(self.runtime))
        return "".join(f" {part}" for part in parts)

    def replace(self, **changes: Any) -> Self:
        """Returns the variant with some fields changed and, unless given, its name made anew.

        A name that was given stays in front: `base` with the runtime `onnx` becomes `base onnx`.
        """
        if "name" in changes:
            return dataclasses.replace(self, **changes)
        made = dataclasses.replace(self, name="", **changes)
        if self.name == self._made_name() or made.architecture != self.architecture:
            return made
        name = self.name
        if (self.schemes, self.runtime) != (made.schemes, made.runtime):
            name = name.removesuffix(self._made_suffix()) + made._made_suffix()
        return dataclasses.replace(made, name=name)

    @property
    def unseeded(self) -> Self:
        """What variants of other seeds share: never their content, which two folders may share."""
        return self.replace(seed=0) if self.seed else self

    @property
    def scheme_name(self) -> str:
        """Short text of the schemes for tables: `fp32`, `w4g32`, `bf16+...`."""
        return "+".join(registry.schemes.short(scheme) for scheme in self.schemes) or "fp32"


@_spec
class Run(Spec):
    """One measurement of one variant: the unit of work, of storage and of resuming."""

    variant: pydantic.InstanceOf[Variant]
    measurement: Measurement

    @property
    def id(self) -> str:
        """The hash of its content and of the version of all that it uses, as they are now."""
        return content_hash(self, uses(self))


_SPECS: dict[str, type[Spec]] = {each.__name__: each for each in (Budget, Training, Variant, Run)}


def from_json(value: Any) -> Any:
    """Returns what `kit.spec.ref.to_json` wrote: equal, and of the same hash.

    Raises:
        SpecError: it is no such thing, or names what is not registered here.
    """
    if isinstance(value, list):
        return tuple(map(from_json, value))
    if not isinstance(value, dict):
        return value
    if "located" in value:
        return value["located"]  # what it locates is known to the registry that reads it
    read = {
        key.removeprefix("=") if key.lstrip("=") in OWN_KEYS else key: from_json(held)
        for key, held in value.items()
    }
    try:
        if "ref" in value:
            return Ref(read["ref"], **read["args"])
        return _SPECS[read.pop("spec")](**read) if "spec" in value else read
    except (KeyError, TypeError) as error:
        raise SpecError(f"{shown(value)} is no spec that was written as JSON: {error}") from None


def uses(value: Variant | Run) -> dict[str, str]:
    """Returns the version of everything registered that a variant or run uses, by kind and name."""
    if isinstance(value, Run):
        found = {**uses(value.variant), **_version("measurements", value.measurement)}
        for argument in value.measurement.args.values():
            if isinstance(argument, Variant):
                found |= uses(argument)
        for kind, ref in named(value.measurement):
            found |= _version(kind, ref)
        return found
    found = _version("architectures", value.architecture) | _version("runtimes", value.runtime)
    for scheme in value.schemes:
        found |= _version("schemes", scheme)
        for data in scheme.args.values():  # that it is fitted on
            found |= _version("tasks", data) if isinstance(data, Ref) else {}
    found |= {f"exporters/{each.name}": each.version for each in exporters(value)}
    if value.training is not None:
        found |= _version("tasks", value.training.task) | {"training": str(TRAINING_VERSION)}
    return found


def exporters(variant: Variant) -> list[registry.Entry]:
    """Returns what leads from the module through the schemes' forms to the runtime's, in order."""
    refs = [registry.schemes.get(ref.name) for ref in variant.schemes]
    refs.append(registry.runtimes.get(variant.runtime.name))
    forms = ["module", *(entry.traits["form"] for entry in refs)]
    return [
        each for one, to in itertools.pairwise(forms) for each in registry.routes(one).get(to, ())
    ]


def named(measurement: Ref) -> list[tuple[str, Ref]]:
    """Returns the kind and Ref of what a measurement's arguments name, as their roles say."""
    return [
        (role.kind, measurement.args[name])
        for name, role in roles(measurement).items()
        if role.kind is not None and isinstance(measurement.args.get(name), Ref)
    ]


def _version(kind: str, ref: Ref) -> dict[str, str]:
    return {f"{kind}/{ref.name}": registry.REGISTRIES[kind].get(ref.name).version}
