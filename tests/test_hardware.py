"""Limits as the kernel's documentation writes them (cgroup-v2, and v1's memory and cpu)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groundup import hardware
from groundup.artifacts import environment
from groundup.train.resources import total_memory_bytes

CORES = len(os.sched_getaffinity(0))
GIB = 2**30


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine with 8 GiB of memory and 16 cores."""
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    write(tmp_path, "proc/meminfo", f"MemTotal: {8 * 2**20} kB\nMemFree: 1 kB\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_control_groups_the_machine_counts(root: Path) -> None:
    assert hardware.available_cores() == 16
    assert hardware.memory_limit_bytes() is None
    assert total_memory_bytes("cpu") == 8 * GIB


def test_a_container_has_the_memory_and_the_cores_it_was_given(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    write(root, "sys/fs/cgroup/cpu.max", "150000 100000\n")
    assert total_memory_bytes("cpu") == 2 * GIB
    assert hardware.available_cores() == 2  # one and a half
    assert environment()["cores"] == 2


def test_the_tightest_group_on_the_way_to_the_root_counts(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/user.slice/job\n")
    write(root, "sys/fs/cgroup/user.slice/job/memory.max", "max\n")
    write(root, "sys/fs/cgroup/user.slice/job/cpu.max", "max 100000\n")
    write(root, "sys/fs/cgroup/user.slice/memory.max", f"{3 * GIB}\n")
    write(root, "sys/fs/cgroup/user.slice/cpu.max", "400000 100000\n")
    write(root, "sys/fs/cgroup/other/memory.max", f"{GIB}\n")
    assert total_memory_bytes("cpu") == 3 * GIB
    assert hardware.available_cores() == 4


def test_no_limit_above_what_there_is(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", f"{64 * GIB}\n")
    write(root, "sys/fs/cgroup/cpu.max", "6400000 100000\n")
    assert total_memory_bytes("cpu") == 8 * GIB
    assert hardware.available_cores() == 16


def test_the_limits_of_cgroup_v1(root: Path) -> None:
    write(root, "proc/self/cgroup", "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n1:name=s:/\n")
    write(root, "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", f"{GIB}\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    write(root, "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "50000\n")
    write(root, "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us", "100000\n")
    assert total_memory_bytes("cpu") == GIB
    assert hardware.available_cores() == 1


def test_the_environment_changes_when_a_gpu_comes_or_is_hidden(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    bare = environment()
    assert bare["gpus"] == []
    information = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 128\nBus Type: \t PCIe\n"
    write(root, "proc/driver/nvidia/gpus/0000:03:00.0/information", information)
    there = environment()
    assert there["gpus"] == ["NVIDIA H200"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert bare != there != environment()


@pytest.mark.skipif(CORES < 2, reason="one core cannot be narrowed")
def test_the_environment_knows_of_a_taskset() -> None:
    code = (
        "import os\nfrom groundup.artifacts import environment\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nprint(environment()['cores'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
