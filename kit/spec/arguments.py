"""The arguments of what is registered: which the kit supplies, and how the others are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kit.spec.ref import Ref

if TYPE_CHECKING:
    from pydantic import BaseModel

    from kit.spec.entry import Entry


def call(function: Callable[..., Any], ref: Ref, **supplied: Any) -> Any:
    """Calls a function with what it asks for of what is supplied and of a Ref's arguments."""
    asked = inspect.signature(function).parameters
    return function(**{k: v for k, v in {**supplied, **ref.args}.items() if k in asked})


def positional(function: Callable[..., Any]) -> list[str]:
    """Returns the names of the parameters that the kit supplies."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]


def arguments_model(entry: Entry, open_arguments: tuple[str, ...]) -> type[BaseModel]:
    """Builds the pydantic model of a function's arguments from its annotations."""
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {}
    scope = getattr(entry.function, "__globals__", {})
    for parameter in inspect.signature(entry.function).parameters.values():
        is_open = parameter.name in open_arguments
        if not is_open and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, scope)  # noqa: S307 (the definition's own text)
        if annotation is inspect.Parameter.empty:
            annotation = Any
        default = parameter.default
        if is_open:
            fields[parameter.name] = (annotation | None, None)
        else:
            fields[parameter.name] = (
                annotation,
                ... if default is inspect.Parameter.empty else default,
            )
    config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_default=True, protected_namespaces=()
    )
    return create_model(f"{entry.name}_arguments", __config__=config, **fields)
