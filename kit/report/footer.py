"""What a page was made from: the notebook's code and the versions of the kit's own code.

It stands at the end of the page, in a line to read and in a comment that `kit stale` compares with
the notebook and the registries as they are now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kit import registry
from kit.source import cells_hash
from kit.store import project_root

_COMMENT = re.compile(r"^<!-- made from (\{.*\}) -->$", re.MULTILINE)


def made_from(notebook: str, versions: Mapping[str, str], metrics: Iterable[str]) -> dict[str, Any]:
    """Returns what `kit stale` compares: `cells` (a hash, empty without a notebook) and `code`.

    Args:
        notebook: its name without `.ipynb`.
        versions: of the code that the table's runs use, by kind and name.
        metrics: names in the table; of those that are registered, the version counts.
    """
    names = {name.removesuffix("_change") for name in metrics} & set(registry.metrics.names())
    found = dict(versions) | {
        f"metrics/{name}": registry.metrics.get(name).version for name in names
    }
    kept = {key: found[key] for key in sorted(found) if _in_kit(key)}
    return {"cells": notebook_hash(notebook), "code": kept}


def notebook_hash(notebook: str) -> str:
    """Returns the hash of a notebook's code cells; empty where the project has no such notebook."""
    path = project_root() / "notebooks" / f"{notebook}.ipynb"
    if not path.is_file():
        return ""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells_hash("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def version_now(key: str) -> str | None:
    """Returns the version of what `kind/name` means in the registries; None where nothing."""
    kind, _, name = key.partition("/")
    known = registry.REGISTRIES.get(kind)
    return known.get(name).version if known is not None and name in known.names() else None


def as_markdown(made: Mapping[str, Any]) -> str:
    """Returns the footer."""
    line = f"Made by code cells `{made['cells'] or 'unknown'}` and {len(made['code'])} versions of "
    line += "kit's own code; `kit stale` says whether they are still the same."
    return f"{line}\n\n<!-- made from {json.dumps(made, sort_keys=True)} -->"


def read_footer(page: Path) -> dict[str, Any] | None:
    """Returns what `as_markdown` wrote at the end of a page; None where there is no such thing."""
    found = _COMMENT.findall(page.read_text(encoding="utf-8"))
    try:
        made = json.loads(found[-1]) if found else {}
    except ValueError:
        return None
    whole = isinstance(made.get("cells"), str) and isinstance(made.get("code"), dict)
    return made if whole else None


def _in_kit(key: str) -> bool:
    """Says whether a version is of the kit's own code; a notebook's counts by its cells."""
    kind, _, name = key.partition("/")
    return not name or registry.REGISTRIES[kind].get(name).in_kit
