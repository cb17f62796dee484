"""Looks up the known vulnerabilities of what requirements.lock pins, by pip-audit.

`.venv/bin/python .ci/audit.py` ends with 1 where a pinned version has a known vulnerability that is
not in `IGNORED`; it names the version that mends it. Where the index of vulnerabilities is not
reached, or is a mirror that serves packages and no vulnerabilities, it warns in one line and ends
with 0: a check that needs the network must not stop who has none. What was found is kept for the
day in kit's cache folder.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.machine.environment import cache_root

LOCK = Path(__file__).parents[1] / "requirements.lock"
SECONDS = 60.0
"""After which the index counts as not reached; usual are 5 to 20."""
VULNERABLE = "jinja2==2.10"
"""Has had known vulnerabilities since 2019: an index that knows none of them knows none at all."""
IGNORED: dict[str, str] = {}
"""Id of a vulnerability -> why it does not matter here, and until when it is left; none now."""


def audit(lock: Path) -> list[dict[str, Any]] | None:
    """Returns pip-audit's report of each pin, or None where no index of vulnerabilities answers."""
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.txt"
        sample.write_text(f"{VULNERABLE}\n", encoding="utf-8")
        known = _report(sample, Path(folder) / "sample.json")
        if not known or not known[0].get("vulns"):
            return None
        return _report(lock, Path(folder) / "report.json")


def _report(requirements: Path, report: Path) -> list[dict[str, Any]] | None:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--desc", "off"]
    command += ["--format", "json", "--timeout", "5", "--output", str(report)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    if "No module named pip_audit" in done.stderr:
        raise SystemExit("audit: pip-audit is missing; `make lint` installs it")
    if not report.exists() or not report.stat().st_size:
        return None
    found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    return found


def kept(lock: Path) -> list[dict[str, Any]] | None:
    """Returns today's report of this very lock file from the cache, or a new one, then kept."""
    content = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    path = cache_root() / "audit" / f"{content}-{today}.json"
    try:
        known: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return known
    except (OSError, ValueError):
        found = audit(lock)
    if found is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for old in path.parent.glob("*.json"):
                old.unlink()
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(found), encoding="utf-8")
            temporary.replace(path)
        except OSError:
            pass  # a cache that cannot be written costs the next run its seconds
    return found


def findings(report: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each vulnerability that is not ignored."""
    lines = []
    for package in report:
        for one in package.get("vulns", ()):
            names = [one["id"], *one.get("aliases", ())]
            if not IGNORED.keys() & set(names):
                mended = ", ".join(one.get("fix_versions", ())) or "no version yet"
                pin = f"{package['name']}=={package['version']}"
                lines.append(f"{pin}: {' '.join(names)}, mended in {mended}")
    return lines


def main(lock: Path = LOCK) -> int:
    """Prints what was found; returns the exit status."""
    report = kept(lock)
    if report is None:
        print("audit: no index of vulnerabilities was reached; skipped", file=sys.stderr)
        return 0
    lines = findings(report)
    for line in lines:
        print(f"audit: {line}", file=sys.stderr)
    if lines:
        print(
            "audit: change the pin in pyproject.toml, install it, run `.venv/bin/python "
            ".ci/lock.py`; or say in IGNORED of .ci/audit.py why it does not matter",
            file=sys.stderr,
        )
        return 1
    asked = [package for package in report if "skip_reason" not in package]
    print(f"audit: no known vulnerability in {len(asked)} of {len(report)} pinned packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK))
