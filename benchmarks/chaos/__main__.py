"""Kills the kit at random moments, and publishes what that lost: `results/91_chaos.md`.

An interrupted call goes on where it stopped; one that came to its end starts anew.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.chaos import page
from benchmarks.chaos.bench import KILLS, Bench
from kit.machine import environment
from kit.spec import presets
from kit.store import disk, store


def main() -> str:
    """Returns why there is no page, empty where there is one."""
    if not sys.platform.startswith("linux"):
        return "orphans are found in /proc, which this system does not have"
    preset, parent = presets.preset_name(), Path(tempfile.gettempdir())
    kept = store.store_root() / f"chaos-{preset}.json"
    disk.sweep(parent)  # the places of a call that was killed
    with (
        store.locked(kept.with_suffix(".lock"), "make chaos"),
        disk.temporary_folder(parent) as folder,
    ):
        bench = Bench(KILLS[preset], kept, folder)
        try:
            bench.run()
        except KeyboardInterrupt:
            return f"stopped: {bench.kills} of {KILLS[preset]} kills are kept; run again to go on"
        rows = page.table(bench.episodes, bench.undefined)
        print(page.verdict(page.counted(rows)), page.publish(rows, environment.machine()), sep="\n")
        kept.unlink(missing_ok=True)
    return ""


if __name__ == "__main__":
    sys.exit(main() or 0)
