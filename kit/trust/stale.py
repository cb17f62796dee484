"""Which published pages were made by code that has changed since. Loads no torch, runs nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kit.report import footer
from kit.spec import TRAINING_VERSION
from kit.store import project_root

_NOUNS = {"architectures": "architecture", "measurements": "measurement", "metrics": "metric"}
_NOUNS |= {"runtimes": "runtime", "schemes": "scheme", "tasks": "task"}


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
    """Returns the pages in `results/` whose notebook or code changed; a page without footer is one.

    A page whose footer names no cells was made by no notebook: its code alone can change.

    Numbers of pages that are not in the list come from the code as it is now.
    """
    pages = sorted((project_root() / "results").glob("[0-9][0-9]_*.md"))
    found = [(page, tuple(_reasons(page))) for page in pages]
    return [
        Stale(page, reasons, f"make results NOTEBOOK={page.stem[:2]}")
        for page, reasons in found
        if reasons
    ]


def _reasons(page: Path) -> list[str]:
    made = footer.read_footer(page)
    if made is None:
        return ["it does not say what it was made from"]
    notebook = f"notebooks/{page.stem}.ipynb"
    now = footer.notebook_hash(page.stem)
    reasons = [f"{notebook} is not there"] if made["cells"] and not now else []
    if now and now != made["cells"]:
        reasons.append(f"code cells of {notebook} changed")
    for key, was in made["code"].items():
        version = _version_now(key)
        if version is None:
            reasons.append(f"{_words(key)} is no longer registered")
        elif version != was:
            reasons.append(f"{_words(key)} is version {version}, was {was}")
    return reasons


def _version_now(key: str) -> str | None:
    if key == "training":
        return str(TRAINING_VERSION)
    if key == "table":
        from kit.table import TABLE_VERSION

        return str(TABLE_VERSION)
    return footer.version_now(key)


def _words(key: str) -> str:
    """Returns `kind/name` as words."""
    kind, _, name = key.partition("/")
    if not name:
        return "the training loop" if key == "training" else "the making of tables"
    return f"{_NOUNS.get(kind, kind)} {name}"
