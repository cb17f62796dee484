"""The machine's row, its ceilings, and the load of others."""

import json
import time

import pytest

from kit.machine import ceilings, environment
from kit.machine.ceilings import Ceilings, matmul_rate, slow_dtype
from kit.machine.environment import machine, machine_key


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_CACHE", str(tmp_path))
    ceilings._ceilings.cache_clear()
    yield tmp_path
    ceilings._ceilings.cache_clear()


def pretend(monkeypatch, **rates):
    found = Ceilings(
        **{"threads": 2, "fp32": 173.0, "bf16": 1.0, "int8": None, "bandwidth": 20.0, **rates}
    )
    monkeypatch.setattr(ceilings, "_measure", lambda threads: found)
    return found


def test_machine_is_a_flat_row_without_private_things():
    row = machine()
    assert row["cpu"] and row["threads"] >= 1 and row["memory_gb"] >= 1
    assert row["torch"] and row["numpy"]
    json.dumps(row)
    assert all(isinstance(value, (str, int)) for value in row.values())
    row["cpu"] = "changed"
    assert machine()["cpu"] != "changed"


def test_machine_key_ignores_the_commit_and_notices_versions(monkeypatch):
    key, row = machine_key(), machine()
    monkeypatch.setattr(environment, "_machine", lambda: {**row, "commit": "abc"})
    assert machine_key() == key
    monkeypatch.setattr(environment, "_machine", lambda: {**row, "torch": "1.0"})
    assert machine_key() != key


@pytest.fixture
def granted(monkeypatch, tmp_path):
    """Threads on a machine of 12 CPUs with these control groups."""

    def threads(groups):
        (tmp_path / "proc").write_text(groups)
        return environment.cpu_threads()

    monkeypatch.setattr(environment, "_PROC_CGROUP", tmp_path / "proc")
    monkeypatch.setattr(environment, "_CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda of: set(range(12)))
    return threads


def group(root, path, **files):
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("150000 100000", 1), ("20000 100000", 1), ("max 100000", 12),
     ("5000000 100000", 12), ("broken", 12)],
)  # fmt: skip
def test_threads_are_the_whole_cpus_of_a_quota(granted, tmp_path, quota, expected):
    group(tmp_path / "fs", "", cpu_max=quota)
    assert granted("0::/\n") == expected


def test_the_least_quota_above_a_group_counts(granted, tmp_path):
    group(tmp_path / "fs", "user.slice", cpu_max="300000 100000")
    group(tmp_path / "fs", "user.slice/job", cpu_max="800000 100000")
    group(tmp_path / "fs", "user.slice/other", cpu_max="100000 100000")
    assert granted("0::/user.slice/job\n") == 3


def test_quotas_of_version_1_and_of_both(granted, tmp_path):
    cpu = tmp_path / "fs/cpu,cpuacct"
    group(cpu, "", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100_000)
    group(cpu, "docker", cpu_cfs_quota_us=450_000, cpu_cfs_period_us=100_000)
    group(tmp_path / "fs/memory", "docker", cpu_max="100000 100000")
    hybrid = "4:memory:/docker\n3:cpu,cpuacct:/docker/a\n0::/docker\n"
    assert granted(hybrid) == 4
    group(tmp_path / "fs/unified", "docker", cpu_max="250000 100000")
    assert granted(hybrid) == 2


def test_inside_a_container_the_topmost_group_is_its_own(granted, tmp_path):
    group(tmp_path / "fs/cpu", "", cpu_cfs_quota_us=200_000, cpu_cfs_period_us=100_000)
    assert granted("2:cpu:/docker/of-the-host\n0::/../..\n") == 2


def test_affinity_below_the_quota_counts(granted, monkeypatch, tmp_path):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda of: {3})
    group(tmp_path / "fs", "", cpu_max="400000 100000")
    assert granted("0::/\n") == 1
    assert granted("") == 1


def test_cpu_without_proc_uses_cpuinfo(monkeypatch, tmp_path):
    import cpuinfo

    monkeypatch.setattr(environment, "_PROC_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(
        cpuinfo, "get_cpu_info", lambda: {"brand_raw": "Apple M9", "flags": ["bf16", "fpu"]}
    )
    assert environment._cpu() == ("Apple M9", ("bf16",))


def test_a_hopeless_matmul_is_recognised_within_two_seconds():
    def multiply(size):
        return lambda: time.sleep(2 * size**3 / 0.3e9)  # 0.3 GFLOP/s, as bf16 on AVX2

    start = time.perf_counter()
    rate = matmul_rate(multiply)
    assert time.perf_counter() - start < 2
    assert 0.1 < rate <= 0.3


def test_ceilings_are_measured_soon_and_kept(cache, monkeypatch):
    start = time.perf_counter()
    found = ceilings.ceilings(threads=1)
    assert time.perf_counter() - start < 12  # torch's import included
    assert found.threads == 1 and found.fp32 > 0.1 and found.bandwidth > 0.1
    ceilings._ceilings.cache_clear()
    monkeypatch.setattr(ceilings, "_measure", pytest.fail)
    assert ceilings.ceilings(threads=1) == found


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fp32": 1}', '{"bandwidth": 1}'])
def test_a_broken_file_of_ceilings_is_measured_again(cache, monkeypatch, text):
    pretend(monkeypatch)
    ceilings.ceilings()
    (kept,) = (cache / "machine").glob("*.json")
    kept.write_text(text)
    ceilings._ceilings.cache_clear()
    again = pretend(monkeypatch, fp32=9.0)
    assert ceilings.ceilings() == again
    assert json.loads(kept.read_text())["fp32"] == 9.0
    assert not list((cache / "machine").glob("*.tmp"))


def test_ceilings_without_a_place_to_keep_them(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "file"))
    found = pretend(monkeypatch)
    assert ceilings.ceilings() == found


def test_slow_dtype_gives_the_reason(cache, monkeypatch):
    pretend(monkeypatch, bf16=0.3)
    assert "0.3 GFLOP/s against 173 in float32" in slow_dtype("bfloat16")
    assert "does not run" in slow_dtype("int8")
    assert slow_dtype("float32") is None


def test_a_fair_dtype_has_no_reason(cache, monkeypatch):
    pretend(monkeypatch, bf16=100.0)
    assert slow_dtype("bfloat16") is None


def test_slow_dtype_refuses_other_names():
    with pytest.raises(ValueError, match="'bf16'.*float32, bfloat16, int8"):
        slow_dtype("bf16")
