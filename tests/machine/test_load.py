"""Others' share of the machine: of a made-up /proc/stat, and of a real busy process."""

import contextlib
import os
import subprocess
import sys
import time

import psutil
import pytest

from kit.machine import load
from kit.machine.load import ForeignLoad, busy


def test_foreign_load_without_proc_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "PROC_STAT", tmp_path / "none")
    assert ForeignLoad().share() is None


def test_foreign_load_subtracts_our_own(monkeypatch, tmp_path):
    stat, own = tmp_path / "stat", [10.0]
    monkeypatch.setattr(load, "PROC_STAT", stat)
    monkeypatch.setattr(load, "_own_seconds", lambda: own[0])
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)
    stat.write_text("cpu  1000 0 1000 5000 500 0 0 0 0 0\ncpu0 1 2 3\n")
    foreign = ForeignLoad()
    assert foreign.share() is None  # no time has passed
    # 10 s in all: 6 busy (of them 1 stolen), 4 idle; ours took 4 of the 6
    stat.write_text("cpu  1300 0 1200 5300 600 0 0 100 300 0\ncpu0 1 2 3\n")
    own[0] = 14.0
    assert foreign.share() == pytest.approx(0.2)
    own[0] = 100.0
    assert foreign.share() == 0.0  # ticks are coarse: never below zero


@pytest.mark.skipif(not load.PROC_STAT.exists(), reason="needs /proc")
def test_our_own_ended_child_is_ours():
    before = load._own_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert load._own_seconds() - before >= 0.25


@pytest.mark.skipif(not load.PROC_STAT.exists(), reason="needs /proc")
def burning() -> list[psutil.Process]:
    """Returns the processes that keep a core busy for this one."""
    mark = [str(os.getpid()), str(load.LONGEST)]
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            found += [process] if alive and process.cmdline()[-2:] == mark else []
    return found


def test_a_core_kept_busy_is_foreign_and_ends_with_the_block():
    foreign, own = ForeignLoad(), load._own_seconds()
    with busy(1):
        assert len(burning()) == 1
        time.sleep(1.0)
        taken = foreign.load()
    assert taken.foreign > 0.5 / os.cpu_count()
    assert taken.stolen >= 0
    assert load._own_seconds() - own < 0.5  # it is no child of ours
    assert not burning()
