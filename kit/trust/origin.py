"""Walks one number back: row, run, versions, assets, machine; and what this store has of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kit.analysis.rows import records
from kit.report.publish import results_folder
from kit.report.record import Record, read_record
from kit.spec.checking import SpecError, shown
from kit.store import artifacts, meaning, results, store

_ID = re.compile(r"[0-9a-f]{16}")
_MOST = 8  # row numbers that are listed


def walk_back(what: str) -> dict[str, Any]:
    """Returns where a number comes from as JSON's types, by title, from the row back to the store.

    Args:
        what: a run's id, or a row of a table such as `02_sentiment:17` (the first row is 1).

    Raises:
        SpecError: no such run, table or row.
    """
    name, mark, place = what.rpartition(":")
    if mark:
        table, row = _row(name, place)
        told = {key: value for key, value in row.items() if value not in ("", None)}
        parts = {f"row {place} of {table.stem}": told, **_machine(table, row)}
        for run_id in row["run_id"].split():
            parts |= _run_parts(run_id, [table])
        return parts
    rows = _rows_of(what)
    if not rows and not _folder(what).is_dir() and _failure(what) is None:
        raise SpecError(_unknown(what))
    named = {path.stem: _numbers([*each]) for path, each in rows.items()}
    parts = {"rows": named or "no published table names this run"}
    for path, each in rows.items():
        parts |= _machine(path, next(iter(each.values())))
    return parts | _run_parts(what, rows)


def _tables() -> list[Path]:
    found = sorted(results_folder().glob("*.csv"))
    return [path for path in found if not path.stem.endswith(".machines")]


def _row(name: str, place: str) -> tuple[Path, Mapping[str, Any]]:
    try:
        table = meaning.table_path(name, results_folder())
    except FileNotFoundError as error:
        raise SpecError(str(error)) from None
    rows = _read(table)
    if not place.isdecimal() or int(place) not in rows:
        raise SpecError(
            f"row {shown(place)} of {table.stem}: expected a number from 1 to {len(rows)}"
        )
    return table, rows[int(place)]


def _read(table: Path) -> dict[int, dict[str, Any]]:
    """Returns the rows of a table by their numbers; what is not a number is None."""
    frame = results.read_table(table)
    frame = frame.astype(object).where(frame.notna(), None)
    return dict(enumerate(records(frame), start=1))


def _rows_of(run_id: str) -> dict[Path, dict[int, dict[str, Any]]]:
    """Returns the rows that name a run, by table and number."""
    tables = {path: _read(path) for path in _tables()}
    found = {
        path: {at: row for at, row in rows.items() if run_id in row["run_id"].split()}
        for path, rows in tables.items()
    }
    return {path: rows for path, rows in found.items() if rows}


def _numbers(places: list[int]) -> str:
    more = f" and {len(places) - _MOST} more" if len(places) > _MOST else ""
    return f"{', '.join(map(str, places[:_MOST]))}{more}"


def _machine(table: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the machine of a row, as its table's neighbour names it."""
    if row["machine"] is None or not table.with_suffix(".machines.csv").exists():
        return {}
    return {"machine": meaning.read_machines(table).loc[int(row["machine"])].to_dict()}


def _unknown(run_id: str) -> str:
    """Returns a sentence with the nearest ids; there are too many to list them all."""
    known = {path.name for path in (store.store_root() / "artifacts").glob("[0-9a-f]*")}
    for path in _tables():
        known |= {one for text in results.read_table(path)["run_id"] for one in text.split()}
    near = difflib.get_close_matches(run_id, sorted(known), n=3, cutoff=0.3)
    hint = f" The nearest are {', '.join(near)}." if near else ""
    return (
        f"unknown run {shown(run_id)} among {len(known)} in the store and the tables.{hint} "
        "Expected the run_id of a row, or a table and the number of a row: 02_sentiment:17"
    )


def _folder(run_id: str) -> Path:
    """Returns an artifact's folder; what cannot be an id never becomes a path."""
    return store.store_root() / "artifacts" / (run_id if _ID.fullmatch(run_id) else "none")


def _failure(run_id: str) -> dict[str, Any] | None:
    return store.failure(run_id) if _ID.fullmatch(run_id) else None


def _run_parts(run_id: str, tables: Iterable[Path]) -> dict[str, Any]:
    """Returns what is recorded of a run beside its tables, and what this store has of it."""
    parts: dict[str, Any] = {}
    for table in tables:
        try:
            parts[f"run {run_id}"] = _recorded(run_id, read_record(table))
        except SpecError as error:
            parts.setdefault(f"run {run_id}", str(error))
    if (failed := _failure(run_id)) is not None:
        parts[f"run {run_id}: failed"] = {"why": failed["message"], "log": failed["log"]}
    if _folder(run_id).is_dir():
        parts[f"run {run_id} in this store"] = _stored(_folder(run_id))
    elif failed is None:
        parts[f"run {run_id} in this store"] = (
            "not there: run its notebook, or set KIT_STORE to where it is"
        )
    return parts


def _recorded(run_id: str, record: Record) -> dict[str, Any]:
    if run_id not in record.runs:
        raise SpecError("the record beside its table lacks it")
    kept = record.runs[run_id].model_dump()
    for name, about in kept["built"].items():
        folder = store.store_root() / "built" / (name if _ID.fullmatch(name) else "none")
        files = {path.name: path.stat().st_size for path in sorted(folder.glob("*"))}
        about["bytes"] = files or "no longer in the store"
    return {
        **kept,
        "uses": {key: record.versions.get(key) for key in kept["uses"]},
        "assets": {name: record.assets.get(name) for name in kept["assets"]},
    }


def _stored(folder: Path) -> dict[str, Any]:
    """Returns what is known of an artifact, its columns by type and shape."""
    about, columns = artifacts.about(folder), artifacts.read_columns(folder)
    shapes = {name: f"{a.dtype} {' x '.join(map(str, a.shape))}" for name, a in columns.items()}
    return {"folder": str(folder), **about, "columns": shapes}
