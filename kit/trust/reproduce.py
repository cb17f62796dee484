"""Does a published table come out again? Runs its notebook anew, from nothing, and compares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kit.report.publish import results_folder
from kit.spec import presets
from kit.spec.checking import SpecError, suggest
from kit.store import meaning, results, store
from kit.study.notebook import execute
from kit.trust.comparison import compare_tables


def published() -> list[str]:
    """Returns the notebooks that have a table at the preset in force.

    Raises:
        SpecError: there is none.
    """
    names = {path.stem for path in results_folder().glob("*.csv")}
    found = sorted(path.stem for path in _notebooks().values() if path.stem in names)
    if not found:
        raise SpecError(
            f"no notebook has a table in {results_folder()}; make one first, by "
            f"`make results PRESET={presets.preset_name()}`"
        )
    return found


def _notebooks() -> dict[str, Path]:
    folder = store.project_root() / "notebooks"
    return {path.stem: path for path in sorted(folder.glob("*.ipynb"))}


def committed(name: str) -> Path:
    """Returns the table that a number or name means, which a notebook must write.

    Raises:
        SpecError: no such table, or one that no notebook writes.
    """
    fits = [stem for stem in _notebooks() if name and stem.startswith(name)]
    try:
        table = meaning.table_path(name, results_folder())
    except FileNotFoundError as error:
        hint = ""
        if len(fits) == 1:
            made = f"make results NOTEBOOK={fits[0][:2]} PRESET={presets.preset_name()}"
            hint = f"; make it first, by `{made}`"
        raise SpecError(f"{error}{hint}") from None
    if table.stem not in _notebooks():
        known = suggest(table.stem, _notebooks(), "notebook")
        raise SpecError(f"no notebook writes the table {table.stem!r}: {known}")
    return table


class Repeat(NamedTuple):
    """A table, what became of each of its keys (`compare_tables`), and the file that keeps it."""

    table: str
    found: pd.DataFrame
    kept: Path


def reproduce(name: str) -> Repeat:
    """Runs a notebook from nothing and compares its table with the published one.

    It runs in a project folder of its own under `reproduce/` in the store, with a store and results
    of its own. What was interrupted goes on; what came to its end starts from nothing.

    Args:
        name: of a table: a number, a beginning or the whole.

    Raises:
        SpecError: no such table, or one that no notebook writes.
        ChildProcessError: a cell failed, or it was stopped.
    """
    table = committed(name)
    preset = presets.preset_name()
    folder = store.store_root().resolve() / "reproduce" / f"{table.stem}-{preset}"
    with store.locked(folder.with_suffix(".lock"), f"reproducing {table.stem}"):
        kept = folder / "comparison.csv"
        if kept.exists():
            shutil.rmtree(folder)
        shutil.copytree(
            store.project_root() / "notebooks", folder / "notebooks", dirs_exist_ok=True
        )
        again = folder / table.relative_to(store.project_root())
        print(f"running {table.stem} anew at preset {preset}, in {folder}", flush=True)
        execute(
            folder / "notebooks" / f"{table.stem}.ipynb",
            folder / "executed.ipynb",
            {"KIT_STORE": str(folder / "runs"), presets.VARIABLE: preset},
        )
        if not again.exists():
            raise SpecError(f"{table.stem}.ipynb ran and published no table {table.name}")
        pairs = [(results.read_table(p), meaning.read_machines(p)) for p in (table, again)]
        found = compare_tables(pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1])
        store.write_text(kept, found.to_csv(index=False))
    return Repeat(table.stem, found, kept)
