"""What this machine is, and what it can do at most.

A timing means nothing without the machine beside it, and a ceiling (the rate of a matmul) says how
far a measured time is from what the hardware allows. Some machines compute bf16 several hundred
times slower than fp32: `slow_dtype` finds that in a second instead of after a night.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from kit.spec.checking import SpecError, shown
from kit.spec.ref import content_hash

# starts of the CPU flags that decide how fast a kernel of low precision is
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_", "asimd", "bf16")
PACKAGES = ("torch", "transformers", "onnxruntime", "torchao", "numpy")
_PROC_CPUINFO = Path("/proc/cpuinfo")
_PROC_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def cache_root() -> Path:
    """Folder for what may be fetched or measured again: `KIT_CACHE`, or the user's cache.

    Raises:
        SpecError: `KIT_CACHE` names a user that is not there.
    """
    import platformdirs

    folder = Path(os.environ.get("KIT_CACHE") or platformdirs.user_cache_path("kit"))
    try:
        return folder.expanduser()
    except RuntimeError:
        raise SpecError(
            f"KIT_CACHE={shown(str(folder))}: there is no such user here; expected a folder"
        ) from None


def _cpu() -> tuple[str, tuple[str, ...]]:
    """Name and features of the CPU; `/proc` is read first because cpuinfo takes a second."""
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in _PROC_CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, text = line.partition(":")
            fields.setdefault(key.strip().lower(), text.strip())
    name = fields.get("model name", "")
    flags = (fields.get("flags") or fields.get("features") or "").split()
    if not name or not flags:
        import cpuinfo

        info = cpuinfo.get_cpu_info()
        name = name or info.get("brand_raw") or platform.processor() or platform.machine()
        flags = flags or info.get("flags", [])
    return name, tuple(sorted({flag for flag in flags if flag.startswith(FEATURES)}))


def _commit() -> str:
    """Commit of the checkout that holds this package, `+` where kit/ differs from it, or ''."""
    package = Path(__file__).parent
    if not (package.parent / ".git").exists():
        return ""

    def git(*words: str) -> str:
        command = ["git", "-C", str(package), *words]
        return subprocess.check_output(
            command, text=True, timeout=10, stderr=subprocess.DEVNULL
        ).strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def cpu_threads() -> int:
    """CPUs this process may use: fewer than the machine has inside a container or a job.

    Of a quota such as 1.5 CPUs the whole ones count, at least one: two threads would be stopped for
    a part of every period, whatever they compute.
    """
    allowed = os.cpu_count() or 1
    with contextlib.suppress(AttributeError):  # not on macOS
        allowed = len(os.sched_getaffinity(0))
    return max(1, math.floor(min(allowed, _quota())))


def _quota() -> float:
    """CPUs that control groups grant this process in each period; infinite where there is no limit.

    The least over its group and all above it, of version 1 and 2 (`joblib.cpu_count` looks at the
    topmost alone, which has no limit outside of containers, and rounds up). Inside a container a
    group's path may be the host's, of which only the topmost group is seen.
    """
    found = [math.inf]
    for group in _groups():
        for read in (_quota_v1, _quota_v2):
            with contextlib.suppress(OSError, ValueError):
                found.append(read(group))
    return min(found)


def _groups() -> Iterator[Path]:
    """Yields the folders of this process's groups that may limit its CPU, and of all above them."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = _PROC_CGROUP.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for folder in {controllers, "cpu"} if controllers else {"", "unified"}:
            for depth in range(len(parts) + 1):
                yield _CGROUPS.joinpath(folder, *parts[:depth])


def _quota_v2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    return math.inf if quota == "max" else _share(quota, period)


def _quota_v1(group: Path) -> float:
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return _share(*((group / name).read_text(encoding="ascii") for name in names))


def _share(quota: str, period: str) -> float:
    """Returns CPUs from microseconds; -1 is no limit."""
    return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf


@cache
def _machine() -> dict[str, Any]:
    import psutil

    name, features = _cpu()
    return {
        "cpu": name,
        "features": " ".join(features),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "threads": cpu_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "commit": _commit(),
    }


def machine() -> dict[str, Any]:
    """The machine and the software on it, as one flat row.

    Returns:
        cpu, features (those that decide a low-precision kernel's speed), cores (physical),
        threads (usable), memory_gb (GiB), os, python, a version for each of `PACKAGES` and
        commit ('' outside a checkout). No host name, no user, no path.
    """
    return dict(_machine())


def versions(packages: Iterable[str]) -> list[str]:
    """Returns the version of each package; '' where it is not installed."""
    found = []
    for package in packages:
        try:
            found.append(metadata.version(package))
        except metadata.PackageNotFoundError:
            found.append("")
    return found


def machine_key() -> str:
    """16 hex digits that change with anything in `machine()` on which a timing depends.

    The commit is left out: code enters a run by its versions. Two machines of one type have one
    key.
    """
    return content_hash({key: value for key, value in machine().items() if key != "commit"})
