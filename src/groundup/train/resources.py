"""What a training process takes: its peak memory, and threads and device set up one way."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

from groundup import hardware
from groundup.errors import UserError

SMALLER = "lower pretrain.micro_batch_size or model.context_length, or take a smaller model"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocator gave up: torch's for the CPU says so in its text only."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def pick_device(wanted: str) -> str:
    """``cuda`` or ``cpu``; ``auto`` takes the GPU where there is one.

    Raises:
        UserError: cuda was asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(
            "pretrain.device is cuda, but torch finds no CUDA device",
            fix="set pretrain.device=auto, or install a CUDA build of torch",
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


def use(n_threads: int, float32_matmul_precision: str) -> None:
    """Fix what the numerics depend on, for the whole process."""
    import torch

    torch.set_num_threads(n_threads)
    torch.set_float32_matmul_precision(float32_matmul_precision)


def reset_peak_memory(device: str) -> None:
    """Give back what earlier stages left over and start a new peak from here."""
    release_memory()
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # Linux: writing 5 resets the high-water mark
        Path("/proc/self/clear_refs").write_text("5")


def release_memory() -> None:
    """Hand unused memory of this process back to the system, as far as it can be done."""
    gc.collect()
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_memory_bytes(device: str) -> int:
    """Highest memory since `reset_peak_memory`: of the process (CPU), or allocated on the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return status_bytes("VmHWM")


def memory_bytes() -> int:
    """Resident memory of this process now."""
    return status_bytes("VmRSS")


def total_memory_bytes(device: str) -> int:
    """Memory of the device a model must fit in; of the container, where that has less."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    for line in (hardware.ROOT / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            total = int(line.split()[1]) * 1024
            return min(total, hardware.memory_limit_bytes() or total)
    raise OSError("no MemTotal in /proc/meminfo")


def status_bytes(field: str) -> int:
    """A field of /proc/self/status; `resource` (which cannot be reset) where there is no /proc."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
