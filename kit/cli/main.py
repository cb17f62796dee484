"""The command line: `kit list`, `run`, `fetch`, `check`, `reproduce`, `show`, `stale`.

Nothing heavy is imported before a command needs it. A mistake in what was typed ends with code 2
and a sentence, a failure of the work with code 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from kit.cli.listing import KINDS, listed
from kit.cli.printing import print_comparison, print_table, print_verdict
from kit.spec import presets, registry
from kit.spec.checking import SpecError, suggest
from kit.spec.ref import Ref
from kit.store import store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which version of this model should I deploy, and what do I give up?",
    epilog="Start with: kit run 01. Results come to results/, what was measured is kept in runs/.",
)
_Preset = Annotated[
    str,
    typer.Option(
        help="Sizes: smoke (a minute), default (a laptop), full (a night). "
        f"Not given: {presets.VARIABLE}, else default.",
    ),
]


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns a mistake that the kit explains into its sentence and code 2."""
    try:
        yield
    except SpecError as error:
        _fail(str(error), 2)
    except (OSError, ValueError) as error:
        _fail(str(error), 1)


def _use_preset(name: str) -> None:
    """Puts the preset that was asked for in force; a wrong one is found here."""
    if name:
        os.environ[presets.VARIABLE] = name
    presets.preset_name()


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
            raise SpecError(suggest(kind, KINDS, "kind"))
        for one in [kind] if kind else KINDS:
            print_table(one, *listed(one))


@app.command()
def run(
    notebook: Annotated[
        str, typer.Argument(help="A number (02), a name (02_sentiment) or the path of a notebook.")
    ],
    preset: _Preset = "",
) -> None:
    """Run a notebook from top to bottom, then print its verdict and where to look.

    What is done already is not done again: stop it with Ctrl-C any time and run it again to go on.
    The executed copy, with its outputs, is kept in runs/executed/.
    """
    with _told():
        from kit.study.notebook import execute, find_notebook

        path = find_notebook(notebook, store.project_root())
        _use_preset(preset)
        with contextlib.chdir(path.parent):
            started = time.time()
            typer.echo(f"running {path.name} at preset {presets.preset_name()}")
            execute(path, store.project_root() / "runs" / "executed" / path.name, {})
            print_verdict(path.stem, started)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `kit list assets`.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All but those whose terms ask to name them.")
    ] = False,
) -> None:
    """Fetch models and data into the cache; what is there is checked and kept."""
    from kit.assets import assets

    with _told():
        if not names and not everything:
            raise SpecError(f"name an asset or give --all; there are {', '.join(assets.names())}")
        cards = [assets.card(name) for name in names or assets.names()]
        for card in cards:
            if names or not card.on_request:
                typer.echo(f"{card.name}: {assets.fetch(card.name)}")


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="A registered name of any kind (see `kit list`), or hf:./folder.")
    ],
    task: Annotated[
        str,
        typer.Option(
            help="Of a model: the task to try it on; a name, or hf:./folder of a table.",
        ),
    ] = "",
    text: Annotated[
        list[str] | None,
        typer.Option(help="The table's column of texts, else text; twice for pairs."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="The table's column of labels, else label; several for a label each."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=TASK",
            help="A label of the model's and the task's that it stands for, by name or number.",
        ),
    ] = None,
) -> None:
    """Run the contract tests of what is registered under a name, or of a model's folder."""
    with _told():
        from kit.checks import check as run_checks

        ref = Ref(name, labels=dict(map(_label, labels))) if labels else name
        found = run_checks(ref, _task(task, text or ["text"], label or ["label"]))
        rows = [[what, "passed" if good else "FAILED", message] for what, good, message in found]
        print_table(name, ["check", "", "message"], rows)
        if not all(good for _, good, _ in found):
            raise typer.Exit(1)


def _label(given: str) -> tuple[str, int | str]:
    """Returns both sides of `NEGATIVE=0`."""
    name, equals, meant = given.rpartition("=")
    if not (name and equals and meant):
        raise SpecError(f"--labels {given}: expected MODEL=TASK, such as NEGATIVE=neg")
    return name, int(meant) if meant.isdecimal() else meant


def _task(name: str, text: list[str], label: list[str]) -> Ref | None:
    """Returns the task of a name, or of a table that is registered for this command alone."""
    if not name.startswith("hf:"):
        return registry.tasks.canonical(name) if name else None
    from kit.tasks import task_from_frame

    return task_from_frame(
        "given",
        name,
        text=text[0] if len(text) == 1 else text,
        label=label[0] if len(label) == 1 else label,
    )


@app.command()
def reproduce(
    notebook: Annotated[
        str, typer.Argument(help="A number or name; every notebook that has a table if not given.")
    ] = "",
    preset: _Preset = "",
) -> None:
    """Run a notebook anew, from nothing, and compare its table with the published one.

    It takes as long as the first run did, in runs/reproduce/, and goes on where it was stopped.
    Ends with code 1 where a row contradicts its repeat.
    """
    with _told():
        _use_preset(preset)
        from kit.trust.comparison import summary
        from kit.trust.reproduce import published
        from kit.trust.reproduce import reproduce as repeat

        paragraphs, bad = [], False
        for name in [notebook] if notebook else published():
            table, found, kept = repeat(name)
            print_comparison(table, found, kept)
            paragraphs.append(summary(table, found))
            bad |= bool((found["verdict"] == "contradicted").any())
        typer.echo("\n" + "\n\n".join(paragraphs))
        if bad:
            raise typer.Exit(1)


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(help="A run_id, or a row of a table: 02_sentiment:17 (1 is the first).")
    ],
) -> None:
    """Walk one number back: row, machine, run, versions, assets, and what the store has of it."""
    with _told():
        from rich.console import Console

        from kit.trust.origin import walk_back

        console = Console(soft_wrap=not sys.stdout.isatty())
        for title, known in walk_back(what).items():
            console.print(f"\n{title}", style="bold", markup=False, highlight=False)
            console.print_json(data=known)


@app.command()
def stale() -> None:
    """Name published pages whose notebook or code changed since; end with code 1 if there are."""
    with _told():
        from kit.trust.stale import stale_pages

        found = stale_pages()
        for one in found:
            typer.echo(f"{one.page.parent.name}/{one.page.name} is stale:")
            for reason in one.reasons:
                typer.echo(f"  {reason}")
            typer.echo(f"  make it anew: {one.remedy}")
        if found:
            raise typer.Exit(1)
