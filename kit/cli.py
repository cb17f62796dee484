"""The command line: `kit list`, `kit run`, `kit fetch`, `kit check`.

Nothing heavy is imported before a command needs it. A mistake in what was typed ends with code 2
and a sentence, a failure of the work with code 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from kit import presets, registry, store
from kit.spec import SpecError

if TYPE_CHECKING:
    from kit.entries import Registry

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which version of this model should I deploy, and what do I give up?",
    epilog="Start with: kit run 01. Results come to results/, what was measured is kept in runs/.",
)
KINDS = (*registry.REGISTRIES, "assets")
_SHOWN = {
    "architectures": ("kind",),
    "tasks": ("kind", "labels", "shifts"),
    "schemes": ("stage", "simulated", "runtimes"),
    "runtimes": ("form",),
    "measurements": ("where", "artifacts"),
    "metrics": ("artifact", "unit", "higher_is_better"),
}
_EVERY = 5.0  # seconds between lines of progress where the output is no terminal


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns a mistake that the kit explains into its sentence and code 2."""
    try:
        yield
    except SpecError as error:
        _fail(str(error), 2)
    except (OSError, ValueError) as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    typer.echo(f"kit: {message}", err=True)
    raise typer.Exit(code)


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help=f"One of: {', '.join(KINDS)}. All of them if not given.")
    ] = "",
) -> None:
    """Show what there is to choose from: names, arguments with defaults and ranges, short names."""
    with _told():
        if kind and kind not in KINDS:
            raise SpecError(registry.suggest(kind, KINDS, "kind"))
        for one in [kind] if kind else KINDS:
            columns, rows = _assets() if one == "assets" else _entries(one)
            _print_table(one, columns, rows)


@app.command()
def run(
    notebook: Annotated[
        str, typer.Argument(help="A number (02), a name (02_sentiment) or the path of a notebook.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="Sizes: smoke (a minute), default (a laptop), full (a night). "
            f"Not given: {presets.VARIABLE}, else default.",
        ),
    ] = "",
) -> None:
    """Run a notebook from top to bottom, then print its verdict and where to look.

    What is done already is not done again: stop it with Ctrl-C any time and run it again to go on.
    The executed copy, with its outputs, is kept in runs/executed/.
    """
    with _told():
        path = _find_notebook(notebook)
        if preset:
            os.environ[presets.VARIABLE] = preset
        presets.preset_name()
        with contextlib.chdir(path.parent):
            started = time.time()
            _execute(path)
            _print_verdict(path.stem, started)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `kit list assets`.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All but those whose terms ask to name them.")
    ] = False,
) -> None:
    """Fetch models and data into the cache; what is there is checked and kept."""
    from kit import assets

    with _told():
        if not names and not everything:
            raise SpecError(f"name an asset or give --all; there are {', '.join(assets.names())}")
        cards = [assets.card(name) for name in names or assets.names()]
        for card in cards:
            if names or not card.on_request:
                typer.echo(f"{card.name}: {assets.fetch(card.name)}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A registered name of any kind, see `kit list`.")],
) -> None:
    """Run the contract tests of an architecture, scheme, runtime, task, metric or measurement."""
    with _told():
        from kit.checks import check as run_checks

        found = run_checks(name)
        rows = [[what, "passed" if good else "FAILED", message] for what, good, message in found]
        _print_table(name, ["check", "", "message"], rows)
        if not all(good for _, good, _ in found):
            raise typer.Exit(1)


def _print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


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
    used = [i for i in range(len(columns)) if i < 2 or any(row[i] for row in rows)]
    return [columns[i] for i in used], [[row[i] for i in used] for row in rows]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({text})" for key, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _arguments(found: Registry, entry: str) -> str:
    """Returns what a Ref may set, one line an argument: `bits: 2..8 = 4`."""
    return "\n".join(
        f"{name}: {_type_name(field.annotation, field.metadata)}"
        + ("" if field.is_required() else f" = {field.default}")
        for name, field in found.arguments(entry).items()
    )


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
    name = str(getattr(annotation, "__name__", annotation)).replace("NoneType", "None")
    bounds = [
        next((str(getattr(r, k)) for r in rules for k in keys if hasattr(r, k)), "")
        for keys in (("ge", "gt"), ("le", "lt"))
    ]
    return "..".join(bounds) if any(bounds) and name != "None" else name


def _assets() -> tuple[list[str], list[list[str]]]:
    from kit import assets

    cards = map(assets.card, assets.names())
    rows = [
        [
            c.name,
            c.contents,
            f"{c.size / 1e6:,.0f} MB",
            c.licence,
            f"{c.package} {c.version}",
            c.flaws,
        ]
        for c in cards
    ]
    return ["name", "what it is", "size", "licence", "package", "known flaws"], rows


def _find_notebook(name: str) -> Path:
    """Returns the notebook that a number, name or path means."""
    given = Path(name)
    if given.suffix == ".ipynb" and given.is_file():
        return given.resolve()
    known = {
        path.stem: path for path in sorted((store.project_root() / "notebooks").glob("*.ipynb"))
    }
    stem = given.name.removesuffix(".ipynb")
    fits = [stem] if stem in known else [one for one in known if stem and one.startswith(stem)]
    if len(fits) > 1:
        raise SpecError(f"{name!r} fits several notebooks: {', '.join(fits)}")
    if not fits:
        raise SpecError(registry.suggest(name, known, "notebook"))
    return known[fits[0]].resolve()


def _execute(path: Path) -> None:
    """Runs every cell with this interpreter and shows what it prints as it comes."""
    import nbformat
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    from kit.kernel import Client

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    copy = store.project_root() / "runs" / "executed" / path.name
    typer.echo(f"running {path.name} at preset {presets.preset_name()}")
    stopped = f"{path.name} was stopped or died; what is finished is kept, run it again to go on"
    with tempfile.TemporaryDirectory(prefix="kit-") as sockets:
        client = Client(notebook, Path(sockets), _EVERY)
        try:
            client.execute()
        except CellExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                _fail(stopped, 1)
            where = f"code cell {client.code_cells_executed} of {path.name}"
            why = f"{error.ename}: {error.evalue}"
            _fail(f"{where} failed: {why}\nThe whole error is in {copy}", 1)
        except (KeyboardInterrupt, DeadKernelError):
            _fail(stopped, 1)
        finally:
            text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
            store.write_text(copy, text + "\n")


def _print_verdict(notebook: str, since: float) -> None:
    """Prints what the notebook published, if it did."""
    from kit.report.publish import read_verdict, results_folder

    page = results_folder() / f"{notebook}.md"
    copy = store.project_root() / "runs" / "executed" / f"{notebook}.ipynb"
    if page.is_file() and page.stat().st_mtime >= since - 1:
        typer.echo(f"\n{read_verdict(page)}\n")
        typer.echo(f"table and figures: {page}\nevery number: {page.with_suffix('.csv')}")
    else:
        typer.echo(f"\n{notebook} published no results")
    typer.echo(f"executed copy: {copy}")
