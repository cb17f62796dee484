"""What to compare: frozen specifications and the hash of their content.

A `Variant` is what would be deployed (architecture, training, schemes, runtime, seed), a `Run` is a
variant with one `Measurement` asked of it. Specs hold names and plain values only, never models or
functions, so that they can be hashed, written as JSON, sent to a worker and compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, Self

from kit.values import (
    FrozenDict,
    Located,
    Spec,
    SpecError,
    check_name,
    check_text,
    freeze,
    real,
    shown,
    suggest,
    tidy,
    whole,
)

__all__ = [
    "Budget",
    "FrozenDict",
    "Ref",
    "Run",
    "SpecError",
    "Training",
    "Undefined",
    "Variant",
    "content_hash",
    "freeze",
    "suggest",
    "to_json",
]

TRAINING_VERSION = 1
"""Raised by hand when the training loop changes what it makes."""
MOST_REF = 5_000
"""Characters of a Ref's name: `hf:` and a path."""


class Undefined(Exception):
    """A number that cannot be had here; it becomes an `undefined` row with this reason."""


class Ref(Spec):
    """The name of something registered, with the arguments to call it with.

    Args:
        name: the registered name or an alias of it, such as `"round"` or `"w4g32"`.
        **args: keyword arguments; numbers, strings, booleans, None, sequences, mappings, or specs.

    Raises:
        SpecError: the name is no text on one line, or an argument is no plain value.
    """

    __slots__ = ("args", "name")
    name: str
    args: Mapping[str, Any]

    def __init__(self, name: str, /, **args: Any) -> None:
        check_text(name, "the name of a Ref", MOST_REF)
        object.__setattr__(self, "name", name)
        frozen = {
            key: freeze(value, f"{shown(name)[1:-1]}({key}=...)")
            for key, value in sorted(args.items())
        }
        object.__setattr__(self, "args", FrozenDict(frozen))

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError("a Ref is frozen; use ref.replace(...)")

    def replace(self, **args: Any) -> Ref:
        """Returns the same reference with some arguments changed."""
        return Ref(self.name, **{**self.args, **args})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self.name, self.args) == (other.name, other.args)

    def __hash__(self) -> int:
        return hash((self.name, self.args))

    def __repr__(self) -> str:
        args = "".join(f", {key}={value!r}" for key, value in self.args.items())
        return f"Ref({self.name!r}{args})"

    def __str__(self) -> str:
        args = ",".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.name}({args})" if args else self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _ref, (self.name, dict(self.args))


def _ref(name: str, args: dict[str, Any]) -> Ref:
    return Ref(name, **args)


@dataclasses.dataclass(frozen=True)
class Budget(Spec):
    """What a comparison holds equal. Unset limits do not bind.

    Attributes:
        parameters: non-embedding parameters; the width is solved for it.
        tokens: training tokens.
        epochs: passes over the training items.
        examples: the first n training items by content hash.
    """

    parameters: int | None = None
    tokens: int | None = None
    epochs: int | None = None
    examples: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                given = f"Budget({field.name}={shown(value)})"
                object.__setattr__(self, field.name, whole(value, given, 1))


@dataclasses.dataclass(frozen=True)
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

    task: Ref
    budget: Budget = Budget(epochs=1)
    rates: tuple[float, ...] = (1e-4,)
    batch_size: int = 32
    length: int = 128
    warmup: float = 0.06
    weight_decay: float = 0.01
    dtype: Literal["float32", "bfloat16"] = "float32"
    trial_steps: int = 64

    def __post_init__(self) -> None:
        from kit import registry

        object.__setattr__(self, "task", registry.tasks.canonical(self.task))
        object.__setattr__(self, "rates", _rates(self.rates))
        if not isinstance(self.dtype, str) or self.dtype not in ("float32", "bfloat16"):
            given = f"Training(dtype={shown(self.dtype)})"
            raise SpecError(f"{given}: expected 'float32' or 'bfloat16'")
        shares = {
            "warmup": ("a share of the steps, 0..1", 1.0),
            "weight_decay": ("a number from 0 to below 10", 10.0),
        }
        for name, (expected, below) in shares.items():
            given = f"Training({name}={shown(getattr(self, name))})"
            value = real(getattr(self, name), given, expected)
            if not 0 <= value < below:
                raise SpecError(f"{given}: expected {expected}")
            object.__setattr__(self, name, value)
        for name in ("batch_size", "length", "trial_steps"):
            given = f"Training({name}={shown(getattr(self, name))})"
            object.__setattr__(self, name, whole(getattr(self, name), given, 1))
        if not isinstance(self.budget, Budget):
            raise SpecError(f"Training(budget={shown(self.budget)}): expected a Budget")
        if self.budget.tokens is None and self.budget.epochs is None:
            raise SpecError("Training needs a Budget with tokens or epochs, to know when to stop")


def _rates(given: Any) -> tuple[float, ...]:
    """Returns learning rates as numbers; a single one is a list of one."""
    said, expected = f"Training(rates={shown(given)})", "learning rates in (0, 10)"
    frozen = freeze(given, "Training(rates=...)")
    members = frozen if isinstance(frozen, tuple) else (frozen,)
    rates = tuple(real(rate, said, expected) for rate in members)
    if not rates or not all(0 < rate < 10 for rate in rates):
        raise SpecError(f"{said}: expected {expected}")
    return rates


@dataclasses.dataclass(frozen=True)
class Variant(Spec):
    """What would be deployed.

    Attributes:
        architecture: name or Ref; `hf:org/name`, `hf:./folder` for pretrained models.
        training: how its weights are made; None for pretrained models and predictors.
        schemes: compressions in the order of their stages; `()` is fp32.
        runtime: what executes it.
        seed: of the initial weights and of the order of training data.
        name: short name for tables, made from what is not default where not given. It is no part
            of the content: two variants that differ in name alone are equal.
        labels, length: shorthand for a pretrained architecture's arguments: the task's label that
            each of its own stands for, and the tokens at which texts are cut.
    """

    architecture: Ref
    training: Training | None = None
    schemes: tuple[Ref, ...] = ()
    runtime: Ref = Ref("eager")
    seed: int = 0
    name: str = dataclasses.field(default="", compare=False)
    labels: dataclasses.InitVar[Mapping[str, int | None] | None] = None
    length: dataclasses.InitVar[int | None] = None

    def __post_init__(self, labels: Mapping[str, int | None] | None, length: int | None) -> None:
        from kit import registry

        architecture = registry.architectures.canonical(self.architecture)
        more = {"labels": labels, "length": length}
        if given := {name: value for name, value in more.items() if value is not None}:
            architecture = registry.architectures.canonical(architecture.replace(**given))
        if self.training is not None and not isinstance(self.training, Training):
            raise SpecError(f"training={shown(self.training)}: expected a Training or None")
        if not isinstance(self.schemes, list | tuple):
            given = shown(self.schemes)
            example = f", such as [{given}]" if isinstance(self.schemes, str | Ref) else ""
            raise SpecError(f"schemes={given}: expected a list{example}")
        schemes = tuple(registry.schemes.canonical(scheme) for scheme in self.schemes)
        registry.check_stages(schemes)
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "schemes", schemes)
        object.__setattr__(self, "runtime", registry.runtimes.canonical(self.runtime))
        object.__setattr__(self, "seed", whole(self.seed, f"seed={shown(self.seed)}", 0))
        named = not isinstance(self.name, str) or self.name
        name = check_name(self.name, "a variant's name") if named else self._made_name()
        object.__setattr__(self, "name", name)

    def __repr__(self) -> str:
        data = f" trained on {self.training.task}" if self.training else ""
        seed = f", seed {self.seed}" if self.seed else ""
        what = f"{self.architecture}{data}, {self.scheme_name}, {self.runtime}{seed}"
        return f"<Variant {self.name}: {what}>"

    def _made_name(self) -> str:
        from kit import registry

        return tidy(registry.architectures.short(self.architecture) + self._made_suffix())

    def _made_suffix(self) -> str:
        """Returns what a name says of schemes and runtime: ` dynamic_int8 onnx`."""
        from kit import registry

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
    def scheme_name(self) -> str:
        """Short text of the schemes for tables: `fp32`, `w4g32`, `bf16+...`."""
        from kit import registry

        return "+".join(registry.schemes.short(scheme) for scheme in self.schemes) or "fp32"


@dataclasses.dataclass(frozen=True)
class Run(Spec):
    """One measurement of one variant: the unit of work, of storage and of resuming."""

    variant: Variant
    measurement: Ref

    def __post_init__(self) -> None:
        from kit import registry

        if not isinstance(self.variant, Variant):
            raise SpecError(f"Run(variant={shown(self.variant)}): expected a Variant")
        object.__setattr__(self, "measurement", registry.measurements.canonical(self.measurement))


_OWN_KEY = re.compile(r"=*(?:located|ref|spec)\Z")


def to_json(value: Any) -> Any:
    """Returns `value` as JSON's types; specs carry their class so that they can be read back."""
    if isinstance(value, Ref):
        return {"ref": value.name, "args": to_json(value.args)}
    if isinstance(value, Located):
        return {"located": str(value), "content": value.content()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value)]
        return {"spec": type(value).__name__} | {
            field.name: to_json(getattr(value, field.name)) for field in fields
        }
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise SpecError(f"the key {shown(wrong[0])} is no text")
        # a mapping that is written like a spec must not be taken for one
        return {_OWN_KEY.sub(r"=\g<0>", key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    return value


def content_hash(*values: Any) -> str:
    """Returns 16 hexadecimal digits that depend on the content of specs and plain values alone.

    Variants' names are left out, and where something lies. Key order does not matter.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = "name" if value.get("spec") == "Variant" else "located"
            return {key: plain(item) for key, item in value.items() if key != left_out}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    text = json.dumps(plain(to_json(list(values))), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
