"""Writes what a notebook found: the table, the machines, the figures and a page to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kit.analysis.rows import records
from kit.report import placeholders, tables
from kit.report.record import write_record
from kit.report.summary import summary
from kit.spec import presets
from kit.spec.checking import SpecError, shown
from kit.store import results
from kit.store.store import project_root, write_bytes, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Study(Protocol):
    """What `publish` asks of a study."""

    name: str

    def table(self) -> pd.DataFrame:
        """Returns the rows."""

    def machines(self) -> pd.DataFrame:
        """Returns one row a machine; its index is the rows' `machine`."""

    def record(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns what the numbers of each run come from, by its id."""


def results_folder() -> Path:
    """Returns `results/` of the project, or `results/PRESET/` under another preset than default."""
    name = presets.preset_name()
    return project_root() / "results" / ("" if name == "default" else name)


def publish(
    notebook: str,
    *studies: Study,
    verdict: str = "",
    figures: Mapping[str, Figure] | None = None,
    svg: bool = False,
) -> Path:
    """Writes NOTEBOOK.csv, .machines.csv, .runs.json, .md and figures/NOTEBOOK_*.png.

    The same studies and figures give the same files, so that a rerun is a diff one can review. At
    the default preset the project's README.md gets the new numbers too, where it has placeholders
    of this table (`kit.report.placeholders`).

    Args:
        notebook: its name without `.ipynb`, such as `02_sentiment`.
        *studies: whose rows are written together; their names differ.
        verdict: what was found, in plain text. Its numbers are placeholders of the table's rows,
            `{{accuracy variant=minilm split=test | %}}`, or computed; never typed.
        figures: matplotlib figures by a short name.
        svg: writes each figure as .svg too.

    Returns:
        The page.

    Raises:
        SpecError: the notebook or a figure has no proper name, two studies share one, or a
            placeholder fits no row or several.
    """
    figures = figures or {}
    if not re.fullmatch("[0-9]{2}_[a-z0-9_]{1,100}", notebook):
        raise SpecError(f"notebook {shown(notebook)}: expected a name such as '02_sentiment'")
    wrong = [name for name in figures if not re.fullmatch("[a-z0-9_]{1,100}", name)]
    if wrong:
        raise SpecError(f"figure {shown(wrong[0])}: expected lowercase letters, digits and _")
    names = [study.name for study in studies]
    if not names or len(set(names)) < len(names):
        raise SpecError(f"studies {names}: expected at least one, each with its own name")
    table, machines = _together(studies)
    filled = placeholders.fill_verdict(verdict, table)
    if filled != verdict:
        print(filled)  # with its numbers, which the notebook's own text lacks
    folder = results_folder()
    results.write_table(table, folder / f"{notebook}.csv")
    write_text(folder / f"{notebook}.machines.csv", machines.to_csv(lineterminator="\n"))
    for name, figure in figures.items():
        for form in ("png", "svg") if svg else ("png",):
            _write_figure(folder / "figures" / f"{notebook}_{name}.{form}", figure)
    runs = {run_id: kept for study in studies for run_id, kept in study.record().items()}
    write_record(folder / f"{notebook}.runs.json", notebook, runs)
    page = folder / f"{notebook}.md"
    parts = _page(notebook, table, machines, filled, list(figures)) + _times(runs)
    write_text(page, "\n\n".join(parts) + "\n")
    if presets.preset_name() == "default":
        refill_readme(notebook)
    return page


def refill_readme(notebook: str) -> None:
    """Puts the numbers of a published table into the placeholders of the project's README.md.

    Raises:
        SpecError: a placeholder that is not understood, or that not exactly one row fits.
    """
    readme = project_root() / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if notebook in placeholders.names_in(text):
        folder = project_root() / "results"
        table = results.read_table(folder / f"{notebook}.csv")
        verdict = verdict_of(folder / f"{notebook}.md")
        new = placeholders.fill_markdown(text, notebook, table, verdict)
        if new != text:
            write_text(readme, new)


def read_verdict(page: Path) -> str:
    """Returns the verdict of a page as the plain text that was given, its numbers filled in."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", verdict_of(page)).replace("&lt;", "<")


def verdict_of(page: Path) -> str:
    """Returns the verdict of a page as Markdown."""
    text = page.read_text(encoding="utf-8").partition("\n")[2]
    return text.partition("\n## ")[0].strip()


def escape(text: object) -> str:
    """Returns text that Markdown and HTML show as it is; what is harmless stays readable."""
    special = r"[\\`*|$]|~(?=~)|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)|^[#>](?=.)"
    safe = re.sub(special, r"\\\g<0>", str(text), flags=re.MULTILINE).replace("<", "&lt;")
    item = r"^(\s*\d*)([-+=.)])(?=[\s=-]|$)"  # what a line may begin with: a list, a rule
    return re.sub(item, r"\1\\\2", safe, flags=re.MULTILINE)


def _together(studies: tuple[Study, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows of all studies and their machines, numbered anew over all of them."""
    rows, known = [], []
    for study in studies:
        table, machines = study.table(), study.machines()
        new = {}
        for old, machine in zip(machines.index, records(machines), strict=True):
            if machine not in known:
                known.append(machine)
            new[old] = known.index(machine)
        rows.append(table.assign(machine=table["machine"].map(lambda old, new=new: new.get(old))))
    numbered = pd.DataFrame(known)
    numbered.index.name = "machine"
    return results.validate(pd.concat(rows, ignore_index=True)), numbered


def _write_figure(path: Path, figure: Figure) -> None:
    from kit.report.style import render

    write_bytes(path, render(figure, path.suffix.removeprefix(".")))


def _page(
    notebook: str, table: pd.DataFrame, machines: pd.DataFrame, verdict: str, figures: list[str]
) -> list[str]:
    parts = [f"# {escape(notebook.replace('_', ' '))}", escape(verdict.strip() or "No verdict.")]
    for study, rows in table.groupby("study", sort=False):
        parts += [f"## Table: {escape(study)}", _markdown(summary(rows).turned())]
    reasons = [reason.removeprefix("Not measured: ") for reason in tables.unmeasured(table)]
    if reasons:
        parts += ["## Not measured", "\n".join(f"- {escape(reason)}" for reason in reasons)]
    if figures:
        parts.append("## Figures")
        parts += [f"![{escape(name)}](figures/{notebook}_{name}.png)" for name in figures]
    parts += ["## Machines", _markdown(machines) if len(machines) else "Nothing was run."]
    return [
        *parts,
        "## Where to look",
        f"- [{notebook}.csv]({notebook}.csv): every number with its interval; "
        f'`kit.load("{notebook}")` reads it.\n'
        f"- [{notebook}.runs.json]({notebook}.runs.json): what each run was and was made from; "
        "`kit show RUN_ID` prints it, `kit stale` compares it with the code as it is now.\n"
        f"- `notebooks/{notebook}.ipynb`: what was asked and how, with the code.\n"
        "- Values are `value [low, high]`, the 95% interval; two in brackets with `/` are seeds.",
    ]


def _times(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the section that says where the minutes went, each thing that was built once."""
    spent = [(each["run"]["measurement"]["ref"], each["seconds"]) for each in runs.values()]
    built = {
        folder: (one["step"], one["seconds"])
        for each in runs.values()
        for folder, one in each["built"].items()
    }
    times = pd.DataFrame([*spent, *built.values()], columns=["part", "seconds"])
    seconds = (
        times.astype({"seconds": float})
        .groupby("part")["seconds"]
        .sum()
        .sort_values(ascending=False)
    )
    if not seconds.sum():
        return []
    share = seconds / seconds.sum()
    frame = pd.DataFrame(
        {"minutes": seconds.map(lambda s: f"{s / 60:.1f}"), "share": share.map("{:.0%}".format)}
    )
    return ["## Where the time went", _markdown(frame)]


def _markdown(frame: pd.DataFrame) -> str:
    """Returns a frame as a Markdown table, its index first."""
    head = [frame.index.name or "", *frame.columns]
    body = [(index, *row.values()) for index, row in zip(frame.index, records(frame), strict=True)]
    lines: list[list[Any]] = [head, ["---"] * len(head), *map(list, body)]
    texts = [
        [cell if cell == "---" else escape(cell).replace("\n", " ") for cell in line]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
