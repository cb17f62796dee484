"""The name of something with its arguments, what these may hold, and the hash of their content.

The ground that everything else is named on: it knows no registry.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from kit.spec.checking import MOST_WHOLE, SpecError, check_text, shown, unboxed


class Spec:
    """Marks the kit's own specs: they may be arguments of each other."""

    __slots__ = ()


class Located(str, Spec):
    """Says where something lies. What lies there enters hashes and names; the place never does."""

    __slots__ = ()

    @property
    def short_name(self) -> str:
        """Text for names in tables."""
        return str(self)

    def content(self) -> str:
        """Returns what stands for the content: equal where that is equal, '' where nothing is."""
        raise NotImplementedError


class FrozenDict(Mapping[str, Any]):
    """A hashable, read-only mapping. Two are equal where types are too: 1 is not True, nor 1.0."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenDict):
            return self._items.keys() == other._items.keys() and all(
                _same(value, other._items[key]) for key, value in self._items.items()
            )
        return self._items == other

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _same(one: Any, other: Any) -> bool:
    """Says whether two frozen values have the same content hash."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def freeze(value: Any, where: str = "a value") -> Any:
    """Returns `value` with lists as tuples and mappings as `FrozenDict`.

    Args:
        value: numbers, text, booleans, None, specs, and sequences, sets and mappings of these.
        where: named in the message.

    Raises:
        SpecError: something in it is no plain value, or it holds itself.
    """
    try:
        return _frozen(value, where)
    except RecursionError:
        raise SpecError(f"{where} is nested without end, or holds itself") from None


def _frozen(value: Any, where: str) -> Any:
    value = unboxed(value)
    if value is None or isinstance(value, bool | Spec | FrozenDict):
        return value
    if isinstance(value, int):
        if abs(value) > MOST_WHOLE:
            raise SpecError(
                f"{where} is a whole number beyond 2**63 - 1; a spec holds none so large"
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(f"{where} is {value}; a spec holds finite numbers only")
        return float(value) + 0.0  # -0.0 equals 0.0, so that it must not hash apart
    if isinstance(value, str | PurePath):
        return str.__str__(value) if isinstance(value, str) else str(value)
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise SpecError(f"{where} has the key {shown(wrong[0])}; keys in a spec are text")
        return FrozenDict({str(key): _frozen(value[key], where) for key in sorted(value)})
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return tuple(_frozen(member, where) for member in value)
    if isinstance(value, set | frozenset):
        try:
            return tuple(sorted(_frozen(member, where) for member in value))
        except TypeError:
            raise SpecError(f"{where} is a set of values without an order; give a list") from None
    raise SpecError(
        f"{where} is a {type(value).__name__}; a spec holds numbers, strings, booleans, None, "
        "sequences and mappings of these, and other specs"
    )


class Ref(Spec):
    """The name of something registered, with the arguments to call it with.

    What equals a default is no content: equality, hashes, text and JSON leave it out.

    Args:
        name: the registered name or an alias of it, such as `"round"` or `"w4g32"`.
        **args: keyword arguments; numbers, strings, booleans, None, sequences, mappings, or specs.

    Attributes:
        args: all arguments; defaults are among them once a registry has checked the Ref.
        content: of these, what is no default.

    Raises:
        SpecError: the name is no text on one line, or an argument is no plain value.
    """

    __slots__ = ("_defaults", "args", "content", "name")
    name: str
    args: Mapping[str, Any]
    content: Mapping[str, Any]
    _defaults: Mapping[str, Any]

    def __init__(self, name: str, /, **args: Any) -> None:
        check_text(name, "the name of a Ref")
        frozen = {
            key: freeze(value, f"{shown(name)[1:-1]}({key}=...)")
            for key, value in sorted(args.items())
        }
        self._fill(name, frozen, {})

    def _fill(self, name: str, args: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        content = {k: v for k, v in args.items() if k not in defaults or not _same(v, defaults[k])}
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "args", FrozenDict({**defaults, **args}))
        object.__setattr__(self, "content", FrozenDict(content))
        object.__setattr__(self, "_defaults", defaults)

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError("a Ref is frozen; use ref.replace(...)")

    def with_defaults(self, defaults: Mapping[str, Any]) -> Ref:
        """Returns the same reference, told the defaults of what it names."""
        told = object.__new__(Ref)
        told._fill(self.name, self.args, defaults)
        return told

    def replace(self, **args: Any) -> Ref:
        """Returns the same reference with some arguments changed."""
        return Ref(self.name, **{**self.args, **args}).with_defaults(self._defaults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self.name, self.content) == (other.name, other.content)

    def __hash__(self) -> int:
        return hash((self.name, self.content))

    def __repr__(self) -> str:
        args = "".join(f", {key}={value!r}" for key, value in self.content.items())
        return f"Ref({self.name!r}{args})"

    def __str__(self) -> str:
        args = ",".join(f"{key}={value}" for key, value in self.content.items())
        return f"{self.name}({args})" if args else self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _ref, (self.name, dict(self.args), self._defaults)


def _ref(name: str, args: dict[str, Any], defaults: Mapping[str, Any]) -> Ref:
    return Ref(name, **args).with_defaults(defaults)


OWN_KEYS = ("located", "ref", "spec")
"""Of JSON objects that stand for a spec. A mapping's own such key is written with `=` before it."""


def to_json(value: Any, *, names: bool = True) -> Any:
    """Returns `value` as JSON's types; specs carry their class: `spec.from_json` reads them.

    Of a spec what equals its default is left out: a field that is added later changes no hash.

    Args:
        value: specs, numbers, text, booleans, None, paths, sequences and mappings of these.
        names: whether what is no content is written too: variants' names, where something lies.
    """
    if value is None or isinstance(value, int | float) or type(value) is str:
        return value
    if isinstance(value, Ref):
        return {"ref": value.name, "args": to_json(value.content, names=names)}
    if isinstance(value, Located):
        return {"content": value.content()} | ({"located": str(value)} if names else {})
    if isinstance(value, tuple | list):
        return [to_json(item, names=names) for item in value]
    if isinstance(value, Spec):
        written = {"spec": type(value).__name__}
        for field in dataclasses.fields(value):  # type: ignore[arg-type]  # all other specs are
            held = getattr(value, field.name)
            if (names or field.compare) and not _same(held, field.default):
                written[field.name] = to_json(held, names=names)
        return written
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise SpecError(f"the key {shown(wrong[0])} is no text")
        return {
            f"={key}" if key.lstrip("=") in OWN_KEYS else key: to_json(item, names=names)
            for key, item in value.items()
        }
    return str(value) if isinstance(value, PurePath) else value


def content_hash(*values: Any) -> str:
    """Returns 16 hexadecimal digits that depend on the content of specs and plain values alone.

    Variants' names are left out, and where something lies. Key order does not matter.
    """
    text = json.dumps(to_json(values, names=False), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
