"""What there is to choose from: names, arguments with defaults and ranges, short names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from kit.spec import registry
from kit.spec.presets import Filled

if TYPE_CHECKING:
    from kit.spec.entries import Registry

KINDS = (*registry.REGISTRIES, "assets")
_SHOWN = {
    "architectures": ("kind",),
    "tasks": ("kind", "labels", "shifts"),
    "schemes": ("form", "simulated", "runtimes"),
    "exporters": ("source", "target"),
    "runtimes": ("form", "gives"),
    "measurements": ("where", "artifacts"),
    "metrics": ("artifacts", "unit", "higher_is_better"),
    "corruptions": ("modality", "rule"),
    "artifacts": ("record", "columns", "metrics"),
}


def listed(kind: str) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and rows of the list of a kind, one of `KINDS`."""
    return _assets() if kind == "assets" else _entries(kind)


def _entries(kind: str) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and rows of a registry's list."""
    found = registry.REGISTRIES[kind]
    aliases: dict[str, list[str]] = {}
    for alias, ref in found.aliases().items():
        aliases.setdefault(ref.name, []).append(alias)
    traits = _SHOWN[kind]
    rows = []
    for entry in map(found.get, found.names()):
        about = [_plain(entry.traits.get(trait)) for trait in traits]
        short = ", ".join(aliases.get(entry.name, []))
        rows.append([entry.name, entry.summary, *about, _arguments(found, entry.name), short])
    heads = [trait.replace("_", " ") for trait in traits]
    columns = ["name", "what it is", *heads, "arguments = default", "short names"]
    used = [i < 2 or any(row[i] for row in rows) for i in range(len(columns))]
    return [*compress(columns, used)], [[*compress(row, used)] for row in rows]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({text})" for key, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _arguments(found: Registry, entry: str) -> str:
    """Returns what a Ref may set, one line an argument: `bits: 2..8 = 4`."""
    lines = []
    for name, field in found.arguments(entry).items():
        usual = [rule for rule in field.metadata if isinstance(rule, Filled)]
        usual += [] if usual or field.is_required() else [field.default]
        kind = _type_name(field.annotation, field.metadata)
        lines.append(" = ".join([f"{name}: {kind}", *map(str, usual)]))
    return "\n".join(lines)


def _type_name(annotation: Any, rules: Iterable[Any] = ()) -> str:
    """Returns a type as words: its range, its choices, or its name."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        nested = [rule for given in inner[1:] for rule in getattr(given, "metadata", [given])]
        return _type_name(inner[0], nested)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " or ".join(_type_name(one, rules) for one in inner)
    if origin is tuple:
        return f"{_type_name(inner[0])}, ..."
    name = str(getattr(annotation, "__name__", annotation)).replace("NoneType", "None")
    bounds = [
        next((str(getattr(r, k)) for r in rules for k in keys if hasattr(r, k)), "")
        for keys in (("ge", "gt"), ("le", "lt"))
    ]
    return "..".join(bounds) if any(bounds) and name != "None" else name


def _assets() -> tuple[list[str], list[list[str]]]:
    from kit.assets import assets

    rows = []
    for c in map(assets.card, assets.names()):
        size, package = f"{c.size / 1e6:,.0f} MB", f"{c.package} {c.version}"
        rows.append([c.name, c.contents, size, c.licence, package, c.flaws])
    return ["name", "what it is", "size", "licence", "package", "known flaws"], rows
