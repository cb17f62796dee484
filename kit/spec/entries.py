"""One class for all registries.

What is registered is a function with keyword arguments; what is specified is a `Ref(name, args)`.
Positional parameters are supplied by the kit, keyword-only parameters are the Ref's arguments.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kit.spec.arguments import arguments_model, positional
from kit.spec.checking import MOST_NAME, SpecError, check_name, refusal, shown, suggest
from kit.spec.entry import Entry
from kit.spec.ref import Located, Ref

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """The functions of one kind, by name.

    Args:
        kind: the noun for messages: `architecture`, `scheme`, ...
        package: the module that registers the kit's own entries, imported on first use.
        supplied: names of the positional parameters the kit can fill; None allows any.
        open_arguments: positional parameters that a Ref may fix and that the kit solves otherwise.
        prefixes: name prefixes that stand for an entry: `{"hf:": ("pretrained", "source")}`.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        supplied: Iterable[str] | None,
        open_arguments: Iterable[str] = (),
        prefixes: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.kind = kind
        self._package = package
        self._supplied = None if supplied is None else frozenset(supplied)
        self._open = tuple(open_arguments)
        self._prefixes = dict(prefixes or {})
        self._entries: dict[str, Entry] = {}
        self._aliases: dict[str, Ref] = {}
        self._models: dict[str, type[BaseModel]] = {}
        self._defaults: dict[str, Mapping[str, Any]] = {}
        self._loaded = False

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            importlib.import_module(self._package)

    def names(self) -> list[str]:
        """Returns the registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def aliases(self) -> dict[str, Ref]:
        """Returns the short names and what they stand for."""
        self._load()
        return dict(self._aliases)

    def __contains__(self, name: str) -> bool:
        """Says whether a name, a short name or a prefixed name means something here."""
        self._load()
        prefixed = any(name.startswith(prefix) for prefix in self._prefixes)
        return name in self._entries or name in self._aliases or prefixed

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Takes out again what is registered inside the block."""
        self._load()
        tables: list[Any] = [self._entries, self._aliases, self._models, self._defaults]
        before = [dict(table) for table in tables]
        try:
            yield
        finally:
            for table, content in zip(tables, before, strict=True):
                table.clear()
                table.update(content)

    def get(self, name: str) -> Entry:
        """Returns the entry of a name.

        Raises:
            SpecError: no such name; the message has the nearest one and the list.
        """
        self._load()
        if name in self._entries:
            return self._entries[name]
        for prefix in self._prefixes:
            if len(name) <= MOST_NAME and Path(name).is_dir():
                raise SpecError(f"{name!r} is a folder: the {self.kind} in it is {prefix + name!r}")
        raise SpecError(suggest(name, [*self._entries, *self._aliases], self.kind))

    def register(
        self,
        function: F,
        *,
        name: str | None = None,
        version: int | str | None = None,
        aliases: Mapping[str, Mapping[str, Any]] | None = None,
        owner: tuple[str, str] | None = None,
        **traits: Any,
    ) -> F:
        """Adds a function. Running the same definition again replaces it; another owner raises.

        Args:
            function: what is called; its name is the key unless `name` is given.
            name: another key.
            version: raised by hand when results change; None hashes a notebook's definition.
            aliases: short names and the arguments they stand for.
            owner: module and qualified name of who registers, where it is not the function.
            **traits: what the kind knows about it.
        """
        key = name or function.__name__
        owner = owner or (function.__module__, function.__qualname__)
        if owner[0].split(".")[0] != "kit":
            self._load()
        entry = Entry(key, function, owner, version, dict(aliases or {}), traits)
        self.add(entry)
        return function

    def add(self, entry: Entry) -> None:
        """Puts a finished entry in, as a worker does with what the driver sent."""
        for name in (entry.name, *entry.aliases):
            check_name(name, f"the name of the {self.kind}")
        taken = self._entries.get(entry.name)
        if taken is not None and taken.owner != entry.owner:
            raise SpecError(
                f"{self.kind} {entry.name!r} belongs to {'.'.join(taken.owner)}; "
                f"{'.'.join(entry.owner)} needs another name"
            )
        if entry.name in self._aliases:
            raise SpecError(
                f"{self.kind} {entry.name!r} is short for {self._aliases[entry.name]}; "
                "take another name"
            )
        for alias in entry.aliases:
            other = self._aliases.get(alias)
            if alias in self._entries or (other is not None and other.name != entry.name):
                raise SpecError(f"{self.kind} alias {alias!r} of {entry.name!r} is taken")
        if self._supplied is not None:
            for parameter in positional(entry.function):
                if parameter not in self._supplied and parameter not in self._open:
                    raise SpecError(
                        f"{self.kind} {entry.name}: positional {parameter!r} is not supplied by "
                        f"the kit (it supplies {', '.join(sorted(self._supplied)) or 'nothing'}); "
                        "put it after `*` to make it an argument"
                    )
        self._entries[entry.name] = entry
        self._models.pop(entry.name, None)
        self._defaults.pop(entry.name, None)
        for alias in [a for a, ref in self._aliases.items() if ref.name == entry.name]:
            del self._aliases[alias]
        for alias, args in entry.aliases.items():
            self._aliases[alias] = Ref(entry.name, **args)

    def canonical(self, ref: Ref | str) -> Ref:
        """Returns the Ref with its alias resolved, its values checked and its defaults told.

        Raises:
            SpecError: unknown name or argument, or a value of the wrong type or out of range.
        """
        self._load()
        if isinstance(ref, str):
            ref = Ref(ref)
        elif not isinstance(ref, Ref):
            raise SpecError(f"expected the name of a {self.kind} or a Ref, got {shown(ref)}")
        for prefix, (name, argument) in self._prefixes.items():
            if ref.name.startswith(prefix):
                ref = Ref(name, **{**ref.content, argument: ref.name.removeprefix(prefix)})
        if ref.name in self._aliases and ref.name not in self._entries:
            alias = self._aliases[ref.name]
            ref = alias.replace(**ref.content)
        return self._checked(self.get(ref.name), ref.content)

    def short(self, ref: Ref) -> str:
        """Returns the alias of a canonical Ref, or its name with what is not default.

        What a prefix stands for is called by what it locates: `hf:./my_model` is `my_model`.
        """
        for alias, target in self._aliases.items():
            if target.name == ref.name and self.canonical(target) == ref:
                return alias
        shown = {key: value for key, value in ref.content.items() if key not in self._open}
        name = ref.name
        if located := [value for value in shown.values() if isinstance(value, Located)]:
            name = located[0].short_name  # how its outputs are mapped to a task says no more
            shown = {k: v for k, v in shown.items() if not isinstance(v, Located | Mapping)}
        return str(Ref(name, **shown)) if shown else name

    def arguments(self, name: str) -> dict[str, FieldInfo]:
        """Returns what a Ref of this name may set: pydantic's field of each argument."""
        return dict(self._arguments(self.get(name)).model_fields)

    def _arguments(self, entry: Entry) -> type[BaseModel]:
        if entry.name not in self._models:
            self._models[entry.name] = arguments_model(entry, self._open)
        return self._models[entry.name]

    def _checked(self, entry: Entry, args: Mapping[str, Any]) -> Ref:
        from pydantic import ValidationError

        model, what = self._arguments(entry), f"{self.kind} {entry.name}"
        try:
            values = vars(model(**args))
            if entry.name not in self._defaults:
                required = {k for k, field in model.model_fields.items() if field.is_required()}
                usual = vars(model(**{key: args[key] for key in required}))
                left = usual.keys() - required - {*self._open}
                self._defaults[entry.name] = Ref(entry.name, **{k: usual[k] for k in left}).args
        except ValidationError as error:
            raise refusal(error, what, model.model_fields) from None
        for key, value in args.items():  # pydantic takes True for 1
            if isinstance(value, bool) and type(values[key]) in (int, float):
                raise SpecError(f"{what}: {key} is {value}; expected a number")
        given = {k: v for k, v in values.items() if v is not None or k not in self._open}
        return Ref(entry.name, **given).with_defaults(self._defaults[entry.name])
