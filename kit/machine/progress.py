"""Where a long step says how far it is, in whichever process it runs."""

from __future__ import annotations

from collections.abc import Callable

_show: Callable[[str], None] | None = None


def report(text: str) -> None:
    """Says how far a long step is; shown beside the driver's bar."""
    if _show is not None:
        _show(text)


def set_progress(show: Callable[[str], None] | None) -> None:
    """Sets where `report` goes in this process."""
    global _show  # noqa: PLW0603 (one process has one place to report to)
    _show = show
