"""Writes what a notebook found: the table, the machines, the figures and a page to read."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kit import presets, results
from kit.report import tables
from kit.spec import SpecError
from kit.store import project_root, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Study(Protocol):
    """What `publish` asks of a study."""

    name: str

    def table(self) -> pd.DataFrame:
        """Returns the rows."""

    def machines(self) -> pd.DataFrame:
        """Returns one row a machine; its index is the rows' `machine`."""


def results_folder() -> Path:
    """Returns `results/` of the project, or `results/PRESET/` under another preset than default."""
    name = presets.preset_name()
    return project_root() / "results" / ("" if name == "default" else name)


def publish(
    notebook: str,
    *studies: Study,
    verdict: str = "",
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Writes NOTEBOOK.csv, .machines.csv, .md and figures/NOTEBOOK_*.png and .svg.

    The same studies and figures give the same files, so that a rerun is a diff one can review.

    Args:
        notebook: its name without `.ipynb`, such as `02_sentiment`.
        *studies: whose rows are written together; their names differ.
        verdict: what was found, in plain text; numbers in it are computed, not typed.
        figures: matplotlib figures by a short name.

    Returns:
        The page.

    Raises:
        SpecError: the notebook or a figure has no proper name, or two studies share one.
    """
    figures = figures or {}
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", notebook):
        raise SpecError(f"notebook {notebook!r}: expected a name such as '02_sentiment'")
    wrong = [name for name in figures if not re.fullmatch(r"[a-z0-9_]+", name)]
    if wrong:
        raise SpecError(f"figure {wrong[0]!r}: expected lowercase letters, digits and _")
    names = [study.name for study in studies]
    if not names or len(set(names)) < len(names):
        raise SpecError(f"studies {names}: expected at least one, each with its own name")
    table, machines = _together(studies)
    folder = results_folder()
    results.write_table(table, folder / f"{notebook}.csv")
    write_text(folder / f"{notebook}.machines.csv", machines.to_csv(lineterminator="\n"))
    for name, figure in figures.items():
        for form in ("png", "svg"):
            _write_figure(folder / "figures" / f"{notebook}_{name}.{form}", figure)
    page = folder / f"{notebook}.md"
    write_text(page, _page(notebook, table, machines, verdict, list(figures)))
    return page


def read_verdict(page: Path) -> str:
    """Returns the verdict of a page as the plain text that was given."""
    text = page.read_text(encoding="utf-8").partition("\n")[2].partition("\n## ")[0]
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text.strip()).replace("&lt;", "<")


def escape(text: object) -> str:
    """Returns text that Markdown and HTML show as it is; what is harmless stays readable."""
    special = r"[\\`*|$]|~(?=~)|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)|^[#>](?=.)"
    return re.sub(special, r"\\\g<0>", str(text), flags=re.MULTILINE).replace("<", "&lt;")


def _together(studies: tuple[Study, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows of all studies and their machines, numbered anew over all of them."""
    rows, known = [], []
    for study in studies:
        table, machines = study.table(), study.machines()
        new = {}
        for old, machine in zip(machines.index, tables.records(machines), strict=True):
            if machine not in known:
                known.append(machine)
            new[old] = known.index(machine)
        rows.append(table.assign(machine=table["machine"].map(lambda old, new=new: new.get(old))))
    numbered = pd.DataFrame(known)
    numbered.index.name = "machine"
    return results.validate(pd.concat(rows, ignore_index=True)), numbered


def _write_figure(path: Path, figure: Figure) -> None:
    from kit.report.style import render

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(render(figure, path.suffix.removeprefix(".")))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _page(
    notebook: str, table: pd.DataFrame, machines: pd.DataFrame, verdict: str, figures: list[str]
) -> str:
    parts = [f"# {escape(notebook.replace('_', ' '))}", escape(verdict.strip() or "No verdict.")]
    for study, rows in table.groupby("study", sort=False):
        parts += [f"## Table: {escape(study)}", _markdown(tables.summary(rows))]
    reasons = [reason.removeprefix("Not measured: ") for reason in tables.unmeasured(table)]
    if reasons:
        parts += ["## Not measured", "\n".join(f"- {escape(reason)}" for reason in reasons)]
    if figures:
        parts.append("## Figures")
        parts += [f"![{escape(name)}](figures/{notebook}_{name}.png)" for name in figures]
    parts += ["## Machines", _markdown(machines) if len(machines) else "Nothing was run."]
    parts += [
        "## Where to look",
        f"- [{notebook}.csv]({notebook}.csv): every number with its interval; "
        f'`kit.load("{notebook}")` reads it.\n'
        f"- `notebooks/{notebook}.ipynb`: what was asked and how, with the code.\n"
        "- Values are `value [low, high]`, the 95% interval; two in brackets with `/` are seeds.",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(frame: pd.DataFrame) -> str:
    """Returns a frame as a Markdown table, its index first."""
    head = [frame.index.name or "", *frame.columns]
    body = [
        (index, *row.values())
        for index, row in zip(frame.index, tables.records(frame), strict=True)
    ]
    lines: list[list[Any]] = [head, ["---"] * len(head), *map(list, body)]
    texts = [
        [cell if cell == "---" else escape(cell).replace("\n", " ") for cell in line]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
