"""What a published table was made from, run by run: `NN_question.runs.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kit.spec import registry
from kit.spec.checking import SpecError, refusal
from kit.spec.definition_hash import cells_hash
from kit.store.store import project_root, write_text


class RunRecord(BaseModel):
    """What is kept of one run.

    Attributes:
        run: as JSON; `kit.spec.spec.from_json` reads it.
        uses: `kind/name` of what is registered.
        assets: names of what it reads.
        built: by folder under `built/`: the `step`, such as `training`, the `seconds` it took.
        seconds: that the run took; None where it has no result.
    """

    run: dict[str, Any]
    uses: list[str]
    assets: list[str]
    built: dict[str, dict[str, Any]]
    seconds: float | None


class Record(BaseModel):
    """What a table was made from.

    Attributes:
        cells: hash of the notebook's code cells; empty without a notebook.
        defined: which of the versions are of what these cells define.
        versions: of what the runs use, by `kind/name`.
        assets: `version` and `sha256` of what they read, by name.
        runs: by their ids.
    """

    cells: str
    defined: list[str]
    versions: dict[str, str]
    assets: dict[str, dict[str, str]]
    runs: dict[str, RunRecord]


def write_record(path: Path, notebook: str, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes the record of a table, a run a line.

    Args:
        path: of the record.
        notebook: its name without `.ipynb`.
        runs: by their ids; see `kit.study.study.Study.record`.
    """
    versions = {key: version for each in runs.values() for key, version in each["versions"].items()}
    assets = {name: about for each in runs.values() for name, about in each["assets"].items()}
    head = {
        "cells": notebook_hash(notebook),
        "defined": sorted(key for key in versions if not _in_kit(key)),
        "versions": versions,
        "assets": assets,
    }
    lines = []
    for run_id, each in sorted(runs.items()):
        kept = {**each, "uses": sorted(each["versions"]), "assets": sorted(each["assets"])}
        del kept["versions"]
        lines.append(f"  {json.dumps(run_id)}: {json.dumps(kept, sort_keys=True)}")
    text = json.dumps(head, indent=1, sort_keys=True).removesuffix("\n}")
    write_text(path, f'{text},\n "runs": {{\n' + ",\n".join(lines) + "\n }\n}\n")


def read_record(table: Path) -> Record:
    """Reads the record beside a table or page.

    Raises:
        SpecError: there is none, or it is damaged.
    """
    path = table.with_suffix(".runs.json")
    name = f"{path.parent.name}/{path.name}"
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SpecError(f"{name} is not there: nothing says what the table was made from") from None
    except ValidationError as error:
        raise refusal(error, name, ()) from None


def notebook_hash(notebook: str) -> str:
    """Returns the hash of a notebook's code cells; empty where the project has no such notebook."""
    path = project_root() / "notebooks" / f"{notebook}.ipynb"
    if not path.is_file():
        return ""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells_hash("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def _in_kit(key: str) -> bool:
    kind, _, name = key.partition("/")
    return not name or registry.REGISTRIES[kind].get(name).in_kit
