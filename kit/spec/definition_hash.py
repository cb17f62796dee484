"""The hash of a definition made in a notebook: what it says, and what it reaches.

A comment, a docstring or a moved cell must not invalidate a night's work; an edited helper or
constant must. So the hash is over syntax trees and plain values, never over text or positions.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import linecache
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kit.spec.checking import SpecError
from kit.spec.ref import content_hash

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))
WRITTEN = ("kit.spec.ref", "typing", "types")  # homes of classes that write what they hold


def source_hash(thing: Callable[..., Any] | type) -> str:
    """Returns 16 hexadecimal digits over a function's or class's definition and what it reaches.

    Reached are the functions and classes of the same module and the plain globals it reads;
    imported modules and their members count by name, arrays by dtype, shape and bytes.

    Raises:
        SpecError: it reads a global that has no stable content; make it an argument.
    """
    digest = hashlib.sha256()
    for line in sorted(_lines(thing, thing.__module__, {})):
        digest.update(line.encode() + b"\0")
    return digest.hexdigest()[:16]


def cells_hash(cells: Iterable[str]) -> str:
    """Returns 16 hexadecimal digits over the code cells of a notebook, in their order.

    Comments, docstrings and formatting do not count; a cell that is no plain Python (a magic)
    counts by its text.
    """
    digest = hashlib.sha256()
    for cell in cells:
        try:
            text = ast.dump(_without_docstrings(ast.parse(cell)))
        except SyntaxError:
            text = cell
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _lines(thing: Any, home: str, seen: dict[int, str]) -> Iterator[str]:
    """Yields one line a definition or value that `thing` reaches, each once."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing.__qualname__
    functions = _functions(thing)
    said, around = _definition(thing, functions)
    yield f"{thing.__qualname__}={said}"
    scope = functions[0].__globals__
    names = around.union(*(_names_read(function.__code__) for function in functions))
    values = {name: scope[name] for name in names if name in scope}
    for function in functions:
        values |= {f"{function.__qualname__}.{k}": v for k, v in _captured(function).items()}
    for name, value in values.items():
        yield from _value_lines(name, value, home, seen)


def _value_lines(name: str, value: Any, home: str, seen: dict[int, str]) -> Iterator[str]:
    if isinstance(value, types.FunctionType | type) and value.__module__ == home:
        yield from _lines(value, home, seen)
    elif isinstance(value, tuple | list | dict):
        yield f"{name}={type(value).__name__} of {len(value)}"
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _value_lines(f"{name}[{key!r}]", member, home, seen)
    else:
        yield f"{name}={_content(name, value)}"


def _content(name: str, value: Any) -> str:
    """Returns text that changes with a value and with nothing else."""
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if type(value).__module__ == "kit.spec.spec":
        return content_hash(value)
    if isinstance(value, PLAIN) or type(value).__module__ in WRITTEN:
        return repr(value)
    if isinstance(value, set | frozenset):
        return str(sorted(map(repr, value)))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        content = hashlib.sha256(array.tobytes()).hexdigest()
        return f"{value.dtype} {tuple(value.shape)} {content}"
    if getattr(value, "__module__", None) and getattr(value, "__qualname__", None):
        return f"{value.__module__}.{value.__qualname__}"
    raise SpecError(
        f"global {name!r} ({type(value).__name__}) has no stable content to hash; make it an "
        "argument of the registered function"
    )


def _functions(thing: Any) -> list[types.FunctionType]:
    if isinstance(thing, types.FunctionType):
        return [thing]
    members = [getattr(m, "fget", None) or getattr(m, "__func__", m) for m in vars(thing).values()]
    functions = [m for m in members if isinstance(m, types.FunctionType)]
    # what a dataclass adds has no text, or is wrapped by another module
    return [f for f in functions if f.__globals__["__name__"] == thing.__module__ and _text(f)]


def _text(function: types.FunctionType) -> str:
    """Returns the file or cell that a function was compiled from; empty where there is none."""
    return "".join(linecache.getlines(function.__code__.co_filename))


def _captured(function: types.FunctionType) -> dict[str, Any]:
    """Returns the closure's values: what an inner function reads from the one around it."""
    names = function.__code__.co_freevars
    cells = function.__closure__ or ()
    return {
        name: cell.cell_contents
        for name, cell in zip(names, cells, strict=True)
        if name != "__class__"
    }


@functools.lru_cache(maxsize=4096)
def _names_read(code: types.CodeType) -> frozenset[str]:
    """Returns the names that a function, and those inside it, read from module scope."""
    reads = ("LOAD_GLOBAL", "LOAD_NAME")
    own = {str(i.argval) for i in dis.get_instructions(code) if i.opname in reads}
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(own.union(*map(_names_read, inner)))


def _definition(thing: Any, functions: Sequence[types.FunctionType]) -> tuple[str, frozenset[str]]:
    """Returns what a definition says, and the names read around its functions."""
    text = _text(functions[0]) if functions else ""
    if not text:  # made by exec, or a class without any method
        raise SpecError(
            f"{thing.__qualname__}: no source to hash; register what uses it with a version="
        )
    line = None if isinstance(thing, type) else functions[0].__code__.co_firstlineno
    found = _parsed(text, thing.__qualname__.rsplit(".", maxsplit=1)[-1], line)
    if found is None:
        raise SpecError(f"{thing.__qualname__}: its source is not found; give it a version=")
    return found


@functools.lru_cache(maxsize=4096)  # an id of a run is asked for at each look, a cell runs once
def _parsed(text: str, name: str, line: int | None) -> tuple[str, frozenset[str]] | None:
    """Finds a class, or the function that begins at a line, in the text of a file or cell."""
    wanted = (ast.ClassDef,) if line is None else (ast.FunctionDef, ast.Lambda)
    candidates: list[Any] = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, wanted)
        and getattr(node, "name", "<lambda>") == name
        and (line is None or _first_line(node) == line)
    ]
    if not candidates:
        return None
    node = candidates[-1]
    around: list[ast.AST] = []
    if isinstance(node, ast.ClassDef):
        around = [*node.bases, *(b for b in node.body if not isinstance(b, ast.FunctionDef))]
    elif isinstance(node, ast.FunctionDef):
        around = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
    names = {n.id for part in around for n in ast.walk(part) if isinstance(n, ast.Name)}
    return ast.dump(_without_docstrings(node)), frozenset(names)


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]
    return min(lines)


def _without_docstrings(node: ast.AST) -> ast.AST:
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(inner, ast.ClassDef | ast.FunctionDef) and body:
            first = body[0]
            text = getattr(first, "value", None)
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                inner.body = body[1:]
    return node
