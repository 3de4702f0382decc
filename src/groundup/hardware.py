"""What this process may use of the machine, read without torch.

A container or a ``taskset`` gives a process less than the machine has: the limits are those of its
control groups (cgroup v2, and v1 where it is as simple), of which the tightest on the way to the
root counts.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")  # tests put a folder of their own here


def available_cores() -> int:
    """Cores this process may use: by its affinity, and by the quota of its control group."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min([cores, *core_quotas()])


def memory_limit_bytes() -> int | None:
    """The memory the control groups leave this process; None without a limit."""
    limits = (
        words[0]
        for folder in control_groups("memory")
        for words in (
            read_words(folder / "memory.max"),
            read_words(folder / "memory.limit_in_bytes"),
        )
        if words
    )
    return min((int(limit) for limit in limits if limit.isdecimal()), default=None)


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs as the driver lists them; `CUDA_VISIBLE_DEVICES` is not applied."""
    names = []
    for path in sorted(ROOT.glob("proc/driver/nvidia/gpus/*/information")):
        lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
        names += [value.strip() for field, _, value in lines if field.strip() == "Model"]
    return names


def processor_name() -> str:
    """The processor's model as the kernel names it."""
    try:
        for line in (ROOT / "proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def core_quotas() -> Iterator[int]:
    """Cores' worth of time each control group allows, rounded up to whole ones."""
    for folder in control_groups("cpu"):
        words = read_words(folder / "cpu.max") or [
            *read_words(folder / "cpu.cfs_quota_us"),
            *read_words(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdecimal():  # neither "max" nor "-1": no limit
            yield max(1, math.ceil(int(words[0]) / int(words[1])))


def control_groups(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups, each from the innermost to the root."""
    try:
        lines = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / "sys/fs/cgroup" / (controller if controllers else "")
        folder = root / inside.lstrip("/")
        yield from (path for path in (folder, *folder.parents) if path.is_relative_to(root))


def read_words(path: Path) -> list[str]:
    """The words of a small file; none where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []
