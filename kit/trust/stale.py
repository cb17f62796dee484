"""Which published pages were made by code that has changed since. Loads no torch, runs nothing."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from kit.report.record import Record, notebook_hash, read_record
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.spec import TRAINING_VERSION, Run, from_json
from kit.store.store import project_root


@dataclasses.dataclass(frozen=True)
class Stale:
    """A page that no longer says what its notebook would say.

    Attributes:
        page: `results/NN_question.md`.
        reasons: what changed, in sentences.
        remedy: the command that makes it anew.
    """

    page: Path
    reasons: tuple[str, ...]
    remedy: str


def stale_pages() -> list[Stale]:
    """Returns the pages in `results/` whose notebook or runs changed, or that have no record.

    A run changed where another id follows from what is kept of it and from the code as it is now.
    What a notebook's cells define is judged by their hash alone. A page that neither a notebook nor
    a study made has nothing to be judged by.
    """
    pages = sorted((project_root() / "results").glob("[0-9][0-9]_*.md"))
    found = [(page, tuple(_reasons(page))) for page in pages]
    return [
        Stale(page, reasons, f"make results NOTEBOOK={page.stem[:2]}")
        for page, reasons in found
        if reasons
    ]


def _reasons(page: Path) -> Iterator[str]:
    notebook = Path("notebooks") / f"{page.stem}.ipynb"
    is_there = (project_root() / notebook).is_file()
    if not is_there and not page.with_suffix(".runs.json").exists():
        return
    try:
        record = read_record(page)
    except SpecError as error:
        yield str(error)
        return
    if record.cells and not is_there:
        yield f"{notebook} is not there"
    elif record.cells != notebook_hash(page.stem):
        yield f"code cells of {notebook} changed"
    yield from _unknown_runs(page, record)
    now = {key: _version_now(key) for key in record.versions if key not in record.defined}
    for key, version in now.items():
        if version is None:
            yield f"{_words(key)} is no longer registered"
        elif version != record.versions[key]:
            yield f"{_words(key)} is version {version}, was {record.versions[key]}"
    same = {key for key, version in now.items() if version == record.versions[key]}
    changed = [
        (run_id, why)
        for run_id, kept in record.runs.items()
        if same.issuperset(kept.uses) and (why := _changed(run_id, kept.run))
    ]
    if changed:
        more = f"{len(changed)} of {len(record.runs)} runs"
        yield f"{more} are others than the table's, such as {changed[0][0]}: {changed[0][1]}"


def _unknown_runs(page: Path, record: Record) -> Iterator[str]:
    """Yields a sentence where a table has rows of runs that its record lacks."""
    table = page.with_suffix(".csv")
    with table.open(encoding="utf-8", newline="") as file:
        ids = [run_id for row in csv.DictReader(file) for run_id in row["run_id"].split()]
    if unknown := [run_id for run_id in dict.fromkeys(ids) if run_id not in record.runs]:
        runs = f"{len(unknown)} runs, such as {unknown[0]}, that {page.stem}.runs.json lacks"
        yield f"{table.name} has rows of {runs}"


def _changed(run_id: str, kept: object) -> str:
    """Returns why a kept run has another id as the code is now; empty where it has not."""
    try:
        run = from_json(kept)
        if not isinstance(run, Run):
            return "what is kept of it is no run"
        return "" if run.id == run_id else f"its id is now {run.id}"
    except SpecError as error:
        return str(error)


def _version_now(key: str) -> str | None:
    """Returns the version of what `kind/name` means in the registries; None where nothing."""
    if key == "training":
        return str(TRAINING_VERSION)
    kind, _, name = key.partition("/")
    known = registry.REGISTRIES.get(kind)
    return known.get(name).version if known is not None and name in known.names() else None


def _words(key: str) -> str:
    """Returns `kind/name` as words."""
    kind, _, name = key.partition("/")
    known = registry.REGISTRIES.get(kind)
    return f"{known.kind if known else kind} {name}" if name else "the training loop"
