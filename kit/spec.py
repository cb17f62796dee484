"""What to compare: frozen specifications and the hash of their content.

A `Variant` is what would be deployed (architecture, training, schemes, runtime, seed), a `Run` is a
variant with one `Measurement` asked of it. Specs hold names and plain values only, never models or
functions, so that they can be hashed, written as JSON, sent to a worker and compared.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, Self

TRAINING_VERSION = 1
"""Raised by hand when the training loop changes what it makes."""


class SpecError(ValueError):
    """A mistake in what was asked for: a name, a value or a combination."""


class Undefined(Exception):
    """A number that cannot be had here; it becomes an `undefined` row with this reason."""


def suggest(name: str, choices: Iterable[str], what: str) -> str:
    """Returns one sentence that names an unknown value, the nearest valid one and the list."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = f"There are: {', '.join(known)}" if known else "There is none"
    return f"unknown {what} {name!r}.{hint} {listed}"


class Ref:
    """The name of something registered, with the arguments to call it with.

    Args:
        name: the registered name or an alias of it, such as `"round"` or `"w4g32"`.
        **args: keyword arguments; numbers, strings, booleans, None, sequences, mappings, or specs.

    Raises:
        SpecError: an argument is no plain value.
    """

    __slots__ = ("args", "name")
    name: str
    args: Mapping[str, Any]

    def __init__(self, name: str, /, **args: Any) -> None:
        if not isinstance(name, str) or not name:
            raise SpecError(f"a Ref needs a name, got {name!r}")
        object.__setattr__(self, "name", name)
        frozen = {key: freeze(value, f"{name}({key}=...)") for key, value in sorted(args.items())}
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


class FrozenDict(Mapping[str, Any]):
    """A hashable, read-only mapping."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def freeze(value: Any, where: str = "a value") -> Any:
    """Returns `value` with lists as tuples and mappings as `FrozenDict`.

    Raises:
        SpecError: something in it is no plain value; `where` is named in the message.
    """
    if value is None or isinstance(value, bool | int | str | Ref | FrozenDict):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(f"{where} is {value}; a spec holds finite numbers only")
        return value
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return value
    if isinstance(value, Mapping):
        return FrozenDict({str(key): freeze(value[key], where) for key in sorted(value)})
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        members = sorted(value) if isinstance(value, set | frozenset) else value
        return tuple(freeze(member, where) for member in members)
    raise SpecError(
        f"{where} is a {type(value).__name__}; a spec holds numbers, strings, booleans, None, "
        "sequences and mappings of these, and other specs"
    )


@dataclasses.dataclass(frozen=True)
class Budget:
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
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SpecError(f"Budget({field.name}={value!r}): expected a whole number >= 1")


@dataclasses.dataclass(frozen=True)
class Training:
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
        object.__setattr__(self, "rates", tuple(float(rate) for rate in self.rates))
        if not self.rates or not all(0 < rate < 10 for rate in self.rates):
            raise SpecError(f"Training(rates={self.rates}): expected learning rates in (0, 10)")
        if self.dtype not in ("float32", "bfloat16"):
            raise SpecError(f"Training(dtype={self.dtype!r}): expected 'float32' or 'bfloat16'")
        if not 0 <= self.warmup < 1:
            raise SpecError(f"Training(warmup={self.warmup}): expected a share of the steps, 0..1")
        for name in ("batch_size", "length", "trial_steps"):
            if getattr(self, name) < 1:
                raise SpecError(f"Training({name}={getattr(self, name)}): expected 1 or more")
        if self.budget.tokens is None and self.budget.epochs is None:
            raise SpecError("Training needs a Budget with tokens or epochs, to know when to stop")


@dataclasses.dataclass(frozen=True)
class Variant:
    """What would be deployed.

    Attributes:
        architecture: name or Ref; `hf:org/name`, `hf:./folder` for pretrained models.
        training: how its weights are made; None for pretrained models and predictors.
        schemes: compressions in the order of their stages; `()` is fp32.
        runtime: what executes it.
        seed: of the initial weights and of the order of training data.
        name: short name for tables, made from what is not default where not given. It is no part
            of the content: two variants that differ in name alone are equal.
        labels: shorthand for a pretrained architecture's `labels` argument.
    """

    architecture: Ref
    training: Training | None = None
    schemes: tuple[Ref, ...] = ()
    runtime: Ref = Ref("eager")
    seed: int = 0
    name: str = dataclasses.field(default="", compare=False)
    labels: dataclasses.InitVar[Mapping[str, int] | None] = None

    def __post_init__(self, labels: Mapping[str, int] | None) -> None:
        from kit import registry

        architecture = registry.architectures.canonical(self.architecture)
        if labels is not None:
            architecture = registry.architectures.canonical(architecture.replace(labels=labels))
        if isinstance(self.schemes, str | Ref):
            raise SpecError(
                f"schemes={self.schemes!r}: expected a list, such as [{self.schemes!r}]"
            )
        schemes = tuple(registry.schemes.canonical(scheme) for scheme in self.schemes)
        registry.check_stages(schemes)
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "schemes", schemes)
        object.__setattr__(self, "runtime", registry.runtimes.canonical(self.runtime))
        if not isinstance(self.seed, int) or self.seed < 0:
            raise SpecError(f"seed={self.seed!r}: expected a whole number >= 0")
        object.__setattr__(self, "name", self.name or self._made_name())

    def _made_name(self) -> str:
        from kit import registry

        parts = [registry.architectures.short(self.architecture)]
        parts += [registry.schemes.short(scheme) for scheme in self.schemes]
        if self.runtime != Ref("eager"):
            parts.append(registry.runtimes.short(self.runtime))
        return " ".join(parts)

    def replace(self, **changes: Any) -> Self:
        """Returns the variant with some fields changed and, unless given, its name made anew.

        A name that was given stays in front: `base` with the runtime `onnx` becomes `base onnx`.
        """
        given = self.name if self.name != self._made_name() else ""
        if "name" not in changes:
            bare = dataclasses.replace(self, name="", **changes)
            old, new = self._made_name(), bare.name
            first = old.split(" ", maxsplit=1)[0]
            keeps = bare.architecture == self.architecture and given
            if keeps and (self.schemes, self.runtime) == (bare.schemes, bare.runtime):
                changes["name"] = given
            elif keeps:
                root = given.removesuffix(old.removeprefix(first))
                changes["name"] = root + new.removeprefix(first)
            else:
                changes["name"] = new
        return dataclasses.replace(self, **changes)

    @property
    def scheme_name(self) -> str:
        """Short text of the schemes for tables: `fp32`, `w4g32`, `bf16+...`."""
        from kit import registry

        return "+".join(registry.schemes.short(scheme) for scheme in self.schemes) or "fp32"


@dataclasses.dataclass(frozen=True)
class Run:
    """One measurement of one variant: the unit of work, of storage and of resuming."""

    variant: Variant
    measurement: Ref

    def __post_init__(self) -> None:
        from kit import registry

        object.__setattr__(self, "measurement", registry.measurements.canonical(self.measurement))


def to_json(value: Any) -> Any:
    """Returns `value` as JSON's types; specs carry their class so that they can be read back."""
    if isinstance(value, Ref):
        return {"ref": value.name, "args": to_json(value.args)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value)]
        return {"spec": type(value).__name__} | {
            field.name: to_json(getattr(value, field.name)) for field in fields
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    return value


def content_hash(*values: Any) -> str:
    """Returns 16 hexadecimal digits that depend on the content of specs and plain values alone.

    Variants' names are left out. Key order does not matter.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            unnamed = "name" if value.get("spec") == "Variant" else None
            return {key: plain(item) for key, item in value.items() if key != unnamed}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    text = json.dumps(plain(to_json(list(values))), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
