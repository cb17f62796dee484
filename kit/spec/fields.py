"""What the fields of a spec may hold, and how a mistake in one is told."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from kit.spec import registry
from kit.spec.checking import MOST_WHOLE, SpecError, refusal, shown, unboxed
from kit.spec.ref import Ref

S = TypeVar("S")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def _spec(cls: type[S]) -> type[S]:
    """Makes a frozen dataclass whose fields pydantic checks; a mistake is a `SpecError`."""
    config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, config=config)
    check, known = made.__init__, list(inspect.signature(made).parameters)

    @functools.wraps(check)
    def checked(self: S, *args: Any, **fields: Any) -> None:
        try:
            check(self, *args, **fields)
        except pydantic.ValidationError as error:
            raise refusal(error, cls.__name__, known) from None

    made.__init__ = checked
    spec: type[S] = made
    return spec


def _listed(value: Any) -> Any:
    """Returns a single number as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _schemes(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        example = f", such as [{shown(value)}]" if isinstance(value, str | Ref) else ""
        raise SpecError(f"schemes={shown(value)}: expected a list{example}")
    return value


def check_forms(refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
    """Returns schemes in an order that exporters lead along; raises SpecError otherwise."""
    forms = [registry.schemes.get(ref.name).traits["form"] for ref in refs]
    for before, after in itertools.pairwise(forms):
        if after not in registry.routes(before):
            order = ", ".join(f"{r.name} ({form})" for r, form in zip(refs, forms, strict=True))
            raise SpecError(f"schemes out of order: {order}; nothing makes {after} of {before}")
    return refs


Whole = Annotated[int, Field(strict=True, ge=0, le=MOST_WHOLE), BeforeValidator(unboxed)]


Count = Annotated[int, Field(strict=True, ge=1, le=MOST_WHOLE), BeforeValidator(unboxed)]


Real = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(unboxed)]


Positive = Annotated[Real, Field(gt=0)]


Rate = Annotated[Positive, Field(lt=10)]


Rates = Annotated[tuple[Rate, ...], Field(min_length=1), BeforeValidator(_listed)]


Share = Annotated[Real, Field(ge=0, lt=1)]


Decay = Annotated[Real, Field(ge=0, lt=10)]


Architecture = Annotated[Ref, PlainValidator(registry.architectures.canonical)]


Task = Annotated[Ref, PlainValidator(registry.tasks.canonical)]


Scheme = Annotated[Ref, PlainValidator(registry.schemes.canonical)]


Schemes = Annotated[tuple[Scheme, ...], BeforeValidator(_schemes), AfterValidator(check_forms)]


Runtime = Annotated[Ref, PlainValidator(registry.runtimes.canonical)]


Measurement = Annotated[Ref, PlainValidator(registry.measurements.canonical)]
