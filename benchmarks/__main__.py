"""Runs the benchmarks named on the command line, or all, and prints one table."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import Figure, markdown
from benchmarks.coverage import coverage
from benchmarks.decoding import decoding
from benchmarks.engine import engine
from benchmarks.groups import groups
from benchmarks.machine import memory, policies
from benchmarks.package import analysis, imports, size
from benchmarks.scoring import scoring
from benchmarks.states import choices, states
from benchmarks.work import scaling, timing
from kit.spec.checking import suggest

EACH = (size, imports, analysis, coverage, groups, engine)
EACH += (scaling, timing, memory, policies, scoring, states, choices, decoding)
ALL = {each.__name__: each for each in EACH}
LAST = Path(__file__).with_name("last.md")
WORDS = {True: "yes", False: "NO", None: ""}


def main() -> int:
    """Returns 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(ALL)}")
    names = parser.parse_args().names or list(ALL)
    if wrong := [name for name in names if name not in ALL]:
        parser.error(suggest(wrong[0], ALL, "benchmark"))
    load = f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores were busy before"
    found: list[Figure] = []
    for name in names:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        found += ALL[name]()
    rows = [(each.name, each.measured, each.promised, WORDS[each.kept]) for each in found]
    heads = ("figure", "measured", "promised", "kept")
    table = Table(*heads, caption=load, caption_justify="left")
    for row in rows:
        table.add_row(*row, style="bold red" if row[-1] == "NO" else "")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    LAST.write_text(f"{markdown([heads, *rows])}\n\n{load}\n")
    return int(any(each.kept is False for each in found))


if __name__ == "__main__":
    sys.exit(main())
