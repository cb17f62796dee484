"""Walks one number back: row, artifact, run, build, data, assets, code, commit, machine."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kit import meaning, results, store
from kit.analysis.rows import records
from kit.report.publish import results_folder
from kit.values import SpecError, shown

_NOT_RECORDED = "not recorded: the run is older than this record"
_ID = re.compile(r"[0-9a-f]{16}")
_MOST = 8  # row numbers that a line lists


class Part(NamedTuple):
    """A titled list of what is known about one link of the chain: (what, text)."""

    title: str
    lines: list[tuple[str, str]]


def walk_back(what: str) -> list[Part]:
    """Returns where a number comes from, from the row back to the machine.

    Args:
        what: a run's id, or a row of a table such as `02_sentiment:17` (the first row is 1).

    Raises:
        SpecError: no such run, table or row.
    """
    name, mark, place = what.rpartition(":")
    if mark:
        table, row = _row(name, place)
        parts = [Part(f"row {place} of {table.stem}", _row_lines(row))]
        return parts + [part for run_id in row["run_id"].split() for part in _run_parts(run_id)]
    rows = _rows_of(what)
    if not rows and not _folder(what).is_dir() and _failure(what) is None:
        raise SpecError(_unknown(what))
    lines = [(stem, _numbers(places)) for stem, places in rows.items()]
    return [Part("rows", lines or [("", "no published table names this run")]), *_run_parts(what)]


def _tables() -> list[Path]:
    found = sorted(results_folder().glob("*.csv"))
    return [path for path in found if not path.stem.endswith(".machines")]


def _row(name: str, place: str) -> tuple[Path, Mapping[str, Any]]:
    try:
        table = meaning.table_path(name, results_folder())
    except FileNotFoundError as error:
        raise SpecError(str(error)) from None
    rows = records(results.read_table(table))
    if not place.isdecimal() or not 1 <= int(place) <= len(rows):
        raise SpecError(
            f"row {shown(place)} of {table.stem}: expected a number from 1 to {len(rows)}"
        )
    return table, {str(key): value for key, value in rows[int(place) - 1].items()}


def _rows_of(run_id: str) -> dict[str, list[int]]:
    """Returns the numbers of the rows that name a run, by table."""
    found = {}
    for path in _tables():
        ids = results.read_table(path)["run_id"]
        places = [at + 1 for at, text in enumerate(ids) if run_id in text.split()]
        if places:
            found[path.stem] = places
    return found


def _numbers(places: list[int]) -> str:
    more = f" and {len(places) - _MOST} more" if len(places) > _MOST else ""
    return f"{', '.join(map(str, places[:_MOST]))}{more}"


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


def _row_lines(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [(key, str(row[key])) for key in results.KEY if row[key]]
    value = row["status"] if row["status"] != "ok" else f"{row['value']:.6g} {row['unit']}"
    if not pd.isna(row["ci_low"]):
        value += f", 95% over {row['interval']}: {row['ci_low']:.6g} to "
        value += f"{row['ci_high']:.6g}"
    lines.append(("value", value))
    if not pd.isna(row["n"]):
        lines.append(("n", str(row["n"])))
    return [*lines, *[(key, str(row[key])) for key in ("note", "run_id") if row[key]]]


def _folder(run_id: str) -> Path:
    """Returns an artifact's folder; what cannot be an id never becomes a path."""
    return store.store_root() / "artifacts" / (run_id if _ID.fullmatch(run_id) else "none")


def _failure(run_id: str) -> dict[str, Any] | None:
    return store.failure(run_id) if _ID.fullmatch(run_id) else None


def _run_parts(run_id: str) -> Iterator[Part]:
    folder, failed = _folder(run_id), _failure(run_id)
    if failed is not None:
        yield Part(f"run {run_id}: failed", [("why", failed["message"]), ("log", failed["log"])])
    if not folder.is_dir():
        if failed is None:
            text = "not in this store: run its notebook, or set KIT_STORE to the store that has it"
            yield Part(f"run {run_id}", [("artifact", text)])
        return
    about = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    info = about["info"]
    yield Part(f"run {run_id}", list(_run_lines(about["run"])))
    yield Part("artifact", list(_artifact_lines(folder, about["kind"], info)))
    if "origin" not in info:
        yield Part("built, data, assets, code", [("", _NOT_RECORDED)])
    origin = info.get("origin", {})
    for title in ("built", "data", "assets", "code"):
        if origin.get(title):
            make = _built_lines if title == "built" else _plain_lines
            yield Part(title, list(make(origin[title])))
    yield Part("machine", [(key, str(value)) for key, value in info.get("machine", {}).items()])


def _run_lines(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    variant, measurement = run["variant"], run["measurement"]
    for key in ("name", "architecture", "schemes", "runtime", "seed"):
        yield f"variant {key}", _text(variant[key]) or "fp32"
    for key, value in (variant["training"] or {"": "none: pretrained, or a rule"}).items():
        if key != "spec":
            yield f"training {key}".strip(), _text(value)
    yield "measurement", _text(measurement["ref"])
    for key, value in measurement["args"].items():
        yield f"  {key}", _text(value)


def _text(value: Any) -> str:
    """Returns a part of a spec, as it is kept in JSON, in one line."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping) and "ref" in value:
        args = ", ".join(f"{key}={_text(one)}" for key, one in value["args"].items())
        return f"{value['ref']}({args})" if args else str(value["ref"])
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])  # a variant that another is timed against
    if isinstance(value, Mapping):
        given = {key: one for key, one in value.items() if key != "spec" and one is not None}
        return ", ".join(f"{key}={_text(one)}" for key, one in given.items())
    return str(value)


def _artifact_lines(folder: Path, kind: str, info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "folder", str(folder)
    yield "kind", kind
    with np.load(folder / "columns.npz", allow_pickle=False) as saved:
        for name in saved.files:
            column = saved[name]
            yield f"column {name}", f"{column.dtype} {' x '.join(map(str, column.shape))}"
    for key, value in info.items():
        if key not in ("machine", "machine_key", "origin", "saved"):
            yield key, _text(value)
    if "saved" in info:
        yield "saved", f"{pd.Timestamp(info['saved'], unit='ns', tz='UTC'):%Y-%m-%d %H:%M:%S} UTC"


def _built_lines(built: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for what, name in built.items():
        folder = store.store_root() / "built" / name
        yield what, str(folder) if folder.is_dir() else f"{name}: no longer in the store"
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                yield f"  {path.name}", f"{path.stat().st_size:,} bytes"


def _plain_lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        yield name, _text(value)
