"""How results show themselves: by rich in a terminal, as plain text when piped, as escaped HTML."""

from __future__ import annotations

import html
import io
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 80
"""Columns of what is no terminal."""
MOST = 120
"""Columns of a wide terminal that are used: longer lines are hard to read."""

Lines = Sequence[Sequence[object]]


def width() -> int:
    """Returns the columns that text may take."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(40, min(shutil.get_terminal_size((WIDTH, 24)).columns, MOST))


def as_text(*parts: RenderableType) -> str:
    """Returns parts as a terminal shows them: in colour if there is one, else as plain text.

    Args:
        *parts: text, or what `table` and `panel` return.
    """
    from rich.console import Console
    from rich.text import Text

    terminal = sys.stdout.isatty()
    file = io.StringIO()
    console = Console(
        file=file,
        width=width(),
        force_terminal=terminal,
        force_jupyter=False,  # whose text is read by what has no colours
        color_system="auto" if terminal else None,
        highlight=False,
    )
    for part in parts:  # who reads plain text folds it as he likes; a table has its columns
        console.print(part, soft_wrap=not terminal and isinstance(part, str | Text))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def table(head: Sequence[str], lines: Lines, *, total: bool = False) -> RenderableType:
    """Returns a table whose first column is text and whose others are numbers.

    Args:
        head: names of the columns.
        lines: cells by column.
        total: whether the last line sums the others up.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD if _draws() else None, header_style="bold", pad_edge=False)
    for place, name in enumerate(head):
        made.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for number, line in enumerate(lines, start=1):
        last = total and number == len(lines)
        if last and _draws():
            made.add_section()
        made.add_row(*(Text(str(cell)) for cell in line), style="bold" if last else None)
    return made


def panel(title: str, text: str) -> RenderableType:
    """Returns a paragraph in a frame with its title; without the frame where none can be drawn."""
    from rich.panel import Panel
    from rich.text import Text

    if not _draws():
        return Text(text)
    return Panel(Text(text), title=Text(title, style="bold"), title_align="left")


def _draws() -> bool:
    """Says whether lines and frames are drawn: in a terminal that has the characters."""
    return sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")


def html_table(head: Sequence[str], lines: Lines, *, total: bool = False) -> str:
    """Returns `table` as HTML, all of it escaped."""
    rows = [_html_row("th", head)]
    rows += [
        _html_row("th" if total and number == len(lines) else "td", line)
        for number, line in enumerate(lines, start=1)
    ]
    return f"<table>{''.join(rows)}</table>"


def _html_row(tag: str, cells: Sequence[object]) -> str:
    sides = ["left", *["right"] * (len(cells) - 1)]
    made = [
        f'<{tag} style="text-align:{side};vertical-align:top">{escaped(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    ]
    return f"<tr>{''.join(made)}</tr>"


def escaped(value: Any) -> str:
    """Returns a value as HTML that shows it as it is."""
    return html.escape(str(value)).replace("\n", "<br>")
