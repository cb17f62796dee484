"""One run's artifact as files in a folder: columns.npz and info.json."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec.ref import to_json

if TYPE_CHECKING:
    from kit.spec.spec import Run

COLUMNS, INFO = "columns.npz", "info.json"
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading an archive raises that was cut off, or made by somebody else."""


class Damaged(ValueError):
    """A run's artifact cannot be read: its files were cut off or changed by hand."""


@dataclass(frozen=True)
class Artifact:
    """What one run saved: raw columns of equal length, from which every number is computed.

    Attributes:
        run: what was run.
        run_id: the run's `id` when it was done.
        kind: of `kit.spec.kinds`; fixes the columns.
        columns: arrays whose first dimension is the item, call or quantity.
        info: what else is known: seconds taken, machine, notes, protocol.
    """

    run: Run
    run_id: str
    kind: str
    columns: Mapping[str, np.ndarray]
    info: Mapping[str, Any] = field(default_factory=dict)


def write(artifact: Artifact, folder: Path) -> None:
    """Writes an artifact into an empty folder.

    Raises:
        ValueError: columns of different lengths, or of Python objects.
    """
    write_columns(artifact.columns, folder)
    known = {
        "kind": artifact.kind,
        "columns": sorted(artifact.columns),
        "run": to_json(artifact.run),
        "info": dict(artifact.info),
    }
    (folder / INFO).write_text(json.dumps(known), encoding="utf-8")


def read(folder: Path, run: Run, run_id: str) -> Artifact:
    """Reads what `write` wrote.

    Raises:
        FileNotFoundError: there is none.
        Damaged: there is, but it cannot be read.
    """
    known, columns = about(folder), read_columns(folder)
    lost = [name for name in known.get("columns", ()) if name not in columns]
    if lost:
        raise _damaged(folder, f"{COLUMNS} has no column {lost[0]!r}")
    return Artifact(run, run_id, known["kind"], columns, known["info"])


def about(folder: Path) -> dict[str, Any]:
    """Reads an artifact's `kind`, `run` and `info`.

    Raises:
        FileNotFoundError, Damaged: as `read`.
    """
    try:
        known = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, f"{INFO} is no JSON ({error})") from error
    if not isinstance(known, dict) or not isinstance(known.get("info"), dict):
        raise _damaged(folder, f"{INFO} does not say what the run was")
    if not isinstance(known.get("kind"), str):
        raise _damaged(folder, f"{INFO} does not say of what kind it is")
    return known


def _damaged(folder: Path, what: str) -> Damaged:
    return Damaged(f"the kept artifact of run {folder.name} is damaged: {what}; run it again")


def write_columns(columns: Mapping[str, np.ndarray], folder: Path) -> None:
    """Writes arrays of equal length; see `write`."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of one artifact differ in length: {lengths}")
    objects = [name for name, values in columns.items() if values.dtype == object]
    if objects:
        raise ValueError(f"columns {objects} hold Python objects; use numbers or text arrays")
    np.savez_compressed(folder / COLUMNS, **columns)  # type: ignore[arg-type]


def read_columns(folder: Path) -> dict[str, np.ndarray]:
    """Reads what `write_columns` wrote.

    Raises:
        Damaged: as `read`.
    """
    try:
        path = folder / COLUMNS
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        raise _damaged(folder, f"{COLUMNS} is missing") from None
    except _UNREADABLE as error:
        raise _damaged(folder, f"{COLUMNS} cannot be read ({error})") from error
