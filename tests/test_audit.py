"""The look-up of vulnerabilities tells a finding from an index that does not answer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
BAD = {
    "name": "bad",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}],
}


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, with a cache of its own and no process started."""
    path = Path(__file__).parents[1] / ".ci" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    return script


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("bad==1.0\ngood==1.0\n")
    return path


def answers(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, sample: Any, report: Any
) -> list[str]:
    """Makes pip-audit answer with these reports; gives the files it is asked about."""
    asked: list[str] = []

    def run(command: list[str], **_: Any) -> Any:
        given, written = (
            Path(command[command.index(o) + 1]) for o in ("--requirement", "--output")
        )
        asked.append(given.name)
        content = sample if given.name == "sample.txt" else report
        if content is not None:
            written.write_text(json.dumps({"dependencies": content}))
        return type("Done", (), {"stderr": "ConnectionError", "returncode": 1})

    monkeypatch.setattr(audit.subprocess, "run", run)
    return asked


def test_a_known_vulnerability_is_named_with_what_mends_it(
    audit: ModuleType, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked = answers(audit, monkeypatch, [BAD], [CLEAN, BAD])
    assert audit.main(lock) == 1
    assert "bad==1.0: PYSEC-1 CVE-1, mended in 1.1" in capsys.readouterr().err
    assert audit.main(lock) == 1, "and again from the cache"
    assert asked == ["sample.txt", "requirements.lock"]
    monkeypatch.setitem(audit.IGNORED, "CVE-1", "it is never called")
    assert audit.main(lock) == 0


def test_a_changed_lock_file_is_asked_about_anew(
    audit: ModuleType, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(audit, monkeypatch, [BAD], [CLEAN])
    assert audit.main(lock) == 0
    lock.write_text("bad==1.0\n")
    asked = answers(audit, monkeypatch, [BAD], [BAD])
    assert audit.main(lock) == 1
    assert asked == ["sample.txt", "requirements.lock"]


@pytest.mark.parametrize(
    ("sample", "report"),
    [(None, [BAD]), ([{**BAD, "vulns": []}], [BAD]), ([BAD], None), ([], [BAD])],
)
def test_an_index_that_does_not_answer_is_a_warning(
    sample: Any,
    report: Any,
    audit: ModuleType,
    lock: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    answers(audit, monkeypatch, sample, report)
    assert audit.main(lock) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == ["audit: no index of vulnerabilities was reached; skipped"]
    assert not list(audit.cache_root().rglob("*.json")), "nothing is kept of it"
