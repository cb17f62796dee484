"""What this machine is, and what it can do at most.

A timing means nothing without the machine beside it, and a ceiling (the rate of a matmul) says how
far a measured time is from what the hardware allows. Some machines compute bf16 several hundred
times slower than fp32: `slow_dtype` finds that in a second instead of after a night.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from timeit import repeat
from typing import Any

from kit.spec.checking import SpecError, shown
from kit.spec.ref import content_hash

# starts of the CPU flags that decide how fast a kernel of low precision is
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_", "asimd", "bf16")
PACKAGES = ("torch", "transformers", "onnxruntime", "torchao", "numpy")
_PROC_CPUINFO = Path("/proc/cpuinfo")
_PROC_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_SLOWER = 2.0  # a dtype whose matmul takes more than twice fp32's time is called slow
_STEP_SECONDS = 0.3  # a matmul expected to take longer than this is not started


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


def _threads() -> int:
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
        "threads": _threads(),
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


def machine_key() -> str:
    """16 hex digits that change with anything in `machine()` on which a timing depends.

    The commit is left out: code enters a run by its versions. Two machines of one type have one
    key.
    """
    return content_hash({key: value for key, value in machine().items() if key != "commit"})


@dataclass(frozen=True)
class Ceilings:
    """The most this machine was seen to do with a number of torch threads."""

    threads: int
    fp32: float  # matmul rate, GFLOP/s
    bf16: float | None  # the same; None where the machine refuses it
    int8: float | None  # int8 x int8 -> int32 (`torch._int_mm`), GOP/s; None where refused


def matmul_rate(multiply: Callable[[int], Callable[[], object]]) -> float:
    """Best rate of a square matmul, GFLOP/s, found in about a second at any speed.

    Sizes double from 64 while the next one is expected to end soon, so that a machine which needs
    a minute for a matmul of 2,048 is recognised at 128.

    Args:
        multiply: makes, for a size n, a function that multiplies two n x n matrices once.
    """
    best, size = 0.0, 64
    while True:
        call = multiply(size)
        operations = 2 * size**3
        call()  # the first call allocates and picks a kernel
        seconds = min(repeat(call, number=1, repeat=3))
        best = max(best, operations / seconds / 1e9)
        size *= 2
        if size > 2048 or 8 * seconds > _STEP_SECONDS:
            return best


def _measure(threads: int) -> Ceilings:
    import torch

    generator = torch.Generator().manual_seed(0)

    def floats(dtype: torch.dtype) -> Callable[[int], Callable[[], object]]:
        def multiply(size: int) -> Callable[[], object]:
            matrix = torch.rand(size, size, generator=generator).to(dtype)
            return lambda: matrix @ matrix

        return multiply

    def bytes_(size: int) -> Callable[[], object]:
        matrix = torch.randint(-9, 9, (size, size), generator=generator, dtype=torch.int8)
        return lambda: torch._int_mm(matrix, matrix)

    def rate(multiply: Callable[[int], Callable[[], object]]) -> float | None:
        try:
            return matmul_rate(multiply)
        except (RuntimeError, NotImplementedError, AttributeError):
            return None

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            fp32 = matmul_rate(floats(torch.float32))
            bf16, int8 = rate(floats(torch.bfloat16)), rate(bytes_)
    finally:
        torch.set_num_threads(before)
    return Ceilings(threads, fp32, bf16, int8)


def _read_ceilings(path: Path) -> Ceilings | None:
    """What an earlier process kept, or None where there is nothing or nothing usable."""
    try:
        kept = Ceilings(**json.loads(path.read_text(encoding="utf-8")))
        return kept if kept.fp32 > 0 else None
    except (OSError, ValueError, TypeError):
        return None


@cache
def _ceilings(threads: int, root: Path) -> Ceilings:
    from filelock import FileLock

    about = machine()
    key = content_hash([about["cpu"], about["features"], about["torch"], threads])
    path = root / "machine" / f"{key}.json"
    if kept := _read_ceilings(path):
        return kept
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        return _measure(threads)  # no place to keep it: measured again by the next process
    with lock:  # two processes measuring at once would halve each other
        if kept := _read_ceilings(path):
            return kept
        found = _measure(threads)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):  # a full disk costs a measurement, not a run
            temporary.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
            temporary.replace(path)
        return found


def ceilings(threads: int | None = None) -> Ceilings:
    """What the CPU can do at most; measured once a machine in about two seconds, then kept.

    Kept as JSON in the cache folder, a file for each CPU, torch version and number of threads.
    Measured on a busy machine a ceiling is too low; delete the file to measure again.

    Args:
        threads: torch threads; by default all this process may use.
    """
    return _ceilings(threads or _threads(), cache_root())


def slow_dtype(dtype: str) -> str | None:
    """Why `dtype` is not worth starting on this machine, or None where it is.

    Args:
        dtype: "float32", "bfloat16" or "int8"; another one raises ValueError.

    Returns:
        A sentence where a matmul in `dtype` takes more than twice as long as in float32.
    """
    fields = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}
    if dtype not in fields:
        raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(fields)}.")
    found = ceilings()
    rate = getattr(found, fields[dtype])
    if rate is None:
        return f"{dtype} matmul does not run on this machine ({machine()['cpu']})."
    if rate * _SLOWER >= found.fp32:
        return None
    return (
        f"{dtype} matmul runs at {rate:.3g} GFLOP/s against {found.fp32:.3g} in float32 on this "
        f"machine ({machine()['cpu']}), {found.fp32 / rate:.0f} times slower."
    )
