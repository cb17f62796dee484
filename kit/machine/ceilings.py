"""What this machine can do at most, measured: matmuls by dtype, memory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from timeit import repeat

from kit.machine.environment import cache_root, cpu_threads, machine
from kit.spec.ref import content_hash

_SLOWER = 2.0  # a dtype whose matmul takes more than twice fp32's time is called slow


_STEP_SECONDS = 0.3  # a matmul expected to take longer than this is not started
READ_BYTES = 2**29
"""Read to measure the bandwidth: several times what the largest caches hold."""


@dataclass(frozen=True)
class Ceilings:
    """The most this machine was seen to do with a number of torch threads."""

    threads: int
    fp32: float  # matmul rate, GFLOP/s
    bf16: float | None  # the same; None where the machine refuses it
    int8: float | None  # int8 x int8 -> int32 (`torch._int_mm`), GOP/s; None where refused
    bandwidth: float  # bytes read from memory, GB/s: large vectors, each number once


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


def read_rate() -> float:
    """Best rate of reading numbers that no cache of the processor holds, GB/s."""
    import torch

    values = torch.ones(READ_BYTES // 4)
    readings: tuple[Callable[[], object], ...] = (values.max, lambda: torch.dot(values, values))
    for call in readings:
        call()
    return READ_BYTES / min(min(repeat(call, number=1, repeat=5)) for call in readings) / 1e9


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
            bandwidth = read_rate()
    finally:
        torch.set_num_threads(before)
    return Ceilings(threads, fp32, bf16, int8, bandwidth)


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
    return _ceilings(threads or cpu_threads(), cache_root())


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
