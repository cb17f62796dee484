"""What the commands print: tables, what a repeat found, a notebook's verdict."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kit.store import store

if TYPE_CHECKING:
    import pandas as pd

_MOST = 15  # rows that a comparison prints of each sort


def print_comparison(table: str, found: pd.DataFrame, kept: Path) -> None:
    """Prints what a repeat found of a table, but for the rows that are the same.

    Args:
        table: its name.
        found: see `kit.trust.comparison.compare`.
        kept: the file that has all of them.
    """
    from kit.analysis.rows import records
    from kit.trust.comparison import VERDICTS

    for verdict in (one for one in VERDICTS if one != "same"):
        rows = found[found["verdict"] == verdict]
        shown = [
            [_row_name(row), _digits(row["old"]), _digits(row["new"]), row["note"]]
            for row in records(rows.head(_MOST))
        ]
        if shown:
            print_table(f"{table}: {verdict}", ["row", "was", "is", "why"], shown)
        if len(rows) > len(shown):
            typer.echo(f"and {len(rows) - len(shown):,} more, all in {kept}\n")


def _digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _row_name(row: Mapping[str, Any]) -> str:
    """Returns what tells a row from its neighbours, in few words."""
    names = ("study", "metric", "variant", "split", "group", "condition")
    seed = "" if row["seed"] == "0" else f"seed {row['seed']}"
    return " ".join(filter(None, [*(row[name] for name in names), seed]))


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table that folds its cells where the terminal is narrow."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def print_verdict(notebook: str, since: float) -> None:
    """Prints what the notebook published, if it did."""
    from kit.report.display import as_text, panel
    from kit.report.publish import read_verdict, results_folder

    page = results_folder() / f"{notebook}.md"
    copy = store.project_root() / "runs" / "executed" / f"{notebook}.ipynb"
    if page.is_file() and page.stat().st_mtime >= since - 1:
        typer.echo(f"\n{as_text(panel('Verdict', read_verdict(page)))}\n")
        typer.echo(f"table and figures: {page}\nevery number: {page.with_suffix('.csv')}")
    else:
        typer.echo(f"\n{notebook} published no results")
    typer.echo(f"executed copy: {copy}")
