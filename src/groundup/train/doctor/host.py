"""What a node says of itself: versions, free memory, its clock, the errors its GPUs counted."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from xml.etree import ElementTree  # of our own driver's tool, not of anybody's file

import torch

from groundup import hardware
from groundup.artifacts import environment
from groundup.train.doctor.result import Result, not_measured
from groundup.train.resources import total_memory_bytes

LOW_SHARE = 0.25  # of the memory that is free: something else runs here
CLOCK_STEP_SECONDS = 0.5  # wall against monotonic clock; NTP slews by 0.5 ms a second at most
TOOL_SECONDS = 10.0
# https://docs.nvidia.com/deploy/xid-errors: 48, 94, 95 memory; 62 power unit; 64 row remapper;
# 74 NVLink; 79 off the bus; 92 rate of corrected errors; 119, 120 system processor; 140 memory.
HARDWARE_XIDS = {48, 62, 64, 74, 79, 92, 94, 95, 119, 120, 140}


def check_versions() -> list[Result]:
    """What must be the same on all nodes; only known to be wrong once compared."""
    made_of = environment()
    values = {
        "groundup": made_of["groundup"],
        "python": made_of["python"],
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "driver": driver_version() or "none",
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": ", ".join(sorted(set(gpu_names()))) or "none",
    }
    return [Result(f"version {name}", "ok", value) for name, value in values.items()]


def gpu_names() -> list[str]:
    """Of the GPUs this process sees."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def devices() -> list[str]:
    """Everything that multiplies here: the CPU and each GPU."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def free_memory_bytes(device: str) -> int:
    """Memory of ``device`` that is free now, in the container where there is one."""
    if device != "cpu":
        return torch.cuda.mem_get_info(device)[0]
    free = hardware.memory_limit_bytes() or total_memory_bytes("cpu")
    for line in (hardware.ROOT / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            free = min(free, int(line.split()[1]) * 1024)
    return free


def check_free_memory(device: str) -> Result:
    """Little free memory before a run means that another job is still here."""
    free = free_memory_bytes(device)
    if device == "cpu":
        total = total_memory_bytes("cpu")
    else:
        total = torch.cuda.mem_get_info(device)[1]
    result = Result(f"memory free {device}", "ok", free / 1e9, "GB")
    if free >= LOW_SHARE * total:
        return result
    why = f"{free / total:.0%} of {total / 1e9:.1f} GB are free: is another job running?"
    return result.worse("warn", why, f"{LOW_SHARE:.0%} or more")


def check_clock_runs(wall: float, monotonic: float) -> Result:
    """Whether the wall clock went as far as the monotonic one since these readings."""
    drift = (time.time() - wall) - (time.monotonic() - monotonic)
    result = Result("clock step", "ok", drift, "s")
    if abs(drift) <= CLOCK_STEP_SECONDS:
        return result
    return result.worse("warn", "the wall clock was set meanwhile", f"within {CLOCK_STEP_SECONDS}")


def check_gpus() -> list[Result]:
    """ECC errors, rows to be remapped and the kernel's XID messages, where there are GPUs."""
    report = said("nvidia-smi", "-q", "-x")
    if report is None:
        return [not_measured("gpu errors", "no nvidia-smi here")]
    log = said("dmesg")
    return [*ecc_results(report), xid_result(log)]


def ecc_results(report: str) -> Iterator[Result]:
    """Per GPU of ``nvidia-smi -q -x``: errors since the driver was loaded, and what is pending."""
    try:
        root = ElementTree.fromstring(report)
    except ElementTree.ParseError as error:
        yield not_measured("gpu errors", f"nvidia-smi: {error}")
        return
    for gpu in root.iter("gpu"):
        name = f"gpu errors {gpu.get('id', '?')}"
        n_errors = sum(uncorrectable(gpu))
        found = Result(name, "ok", n_errors, "uncorrectable", "0")
        if n_errors:
            found = found.worse("fail", f"{n_errors} uncorrectable memory errors")
        if said_yes(gpu, "remapped_rows/remapped_row_failure"):
            found = found.worse("fail", "a memory row could not be remapped: replace the GPU")
        for path in ("remapped_rows/remapped_row_pending", "retired_pages/pending_retirement"):
            if said_yes(gpu, path):
                found = found.worse("warn", "memory waits to be retired: reset the GPU")
        yield found


def uncorrectable(gpu: ElementTree.Element) -> Iterator[int]:
    """The volatile counters of one GPU; before Ampere they are called ``double_bit``."""
    for volatile in gpu.findall("ecc_errors/volatile"):
        for counter in volatile.iter():
            text = (counter.text or "").strip()
            if "uncorrectable" in counter.tag and text.isdecimal():
                yield int(text)
        total = volatile.findtext("double_bit/total", "").strip()
        if total.isdecimal():
            yield int(total)


def said_yes(gpu: ElementTree.Element, path: str) -> bool:
    """Whether a field of the report is Yes; N/A and a missing one are not."""
    return gpu.findtext(path, "").strip() == "Yes"


def xid_result(log: str | None) -> Result:
    """The driver's error numbers in the kernel's log since it was started."""
    if log is None:
        return not_measured("gpu xid", "the kernel's log cannot be read")
    numbers = sorted({int(number) for number in re.findall(r"NVRM: Xid[^\n]*?\): (\d+)", log)})
    result = Result("gpu xid", "ok", ", ".join(map(str, numbers)) or "none")
    broken = [number for number in numbers if number in HARDWARE_XIDS]
    if broken:
        numbers_text = ", ".join(map(str, broken))
        return result.worse("fail", f"the driver reported hardware errors: XID {numbers_text}")
    return result.worse("warn", "the driver reported errors") if numbers else result


def driver_version() -> str | None:
    """Of the NVIDIA driver, from the kernel's module."""
    words = hardware.read_words(hardware.ROOT / "sys/module/nvidia/version")
    return words[0] if words else None


def said(*command: str) -> str | None:
    """What a tool prints; None where it is missing, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=TOOL_SECONDS, check=True, text=True,
            errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
