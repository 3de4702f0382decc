"""The run folder's disk: what is written, fsynced and read back must have the same hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from groundup.errors import StorageError
from groundup.files import TEMPORARY, nearest_folder, storage_errors
from groundup.train.doctor import faults
from groundup.train.doctor.result import Result

BLOCK_BYTES = 4 * 2**20
MOST_BLOCKS = 64
FSYNCS = 10  # of a small record, as at the end of a step's log
LEAST_FREE_BYTES = 2**30
LOW_SHARE = 0.05  # of a disk that is free: the usual reserve


def check_disk(folder: Path, host: str, seconds: float) -> list[Result]:
    """Space, bandwidth with fsync, latency of a small fsync, and the same bytes back."""
    if not folder.is_dir():
        why = "there is no such folder on this node: is the shared disk mounted?"
        return [Result("disk", "fail", str(folder), expected="a folder", why=why)]
    try:
        with storage_errors(folder / TEMPORARY):
            return [free_space(folder), *write_and_read(folder, host, seconds)]
    except StorageError as error:
        return [free_space(folder), Result("disk", "fail", why=f"{error.message}: {folder}")]
    except OSError as error:
        why = f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror}"
        return [free_space(folder), Result("disk", "fail", why=f"{why}: {folder}")]


def free_space(folder: Path) -> Result:
    """How much is free; under a gibibyte no checkpoint of any size is safe."""
    usage = shutil.disk_usage(nearest_folder(folder))
    free = Result("disk free", "ok", usage.free / 1e9, "GB")
    if usage.free < LEAST_FREE_BYTES:
        return free.worse("fail", "nearly full", "1 GiB or more")
    if usage.free < LOW_SHARE * usage.total:
        return free.worse("warn", "nearly full", f"{LOW_SHARE:.0%} of the disk or more")
    return free


def write_and_read(folder: Path, host: str, seconds: float) -> list[Result]:
    """Write blocks until a third of the time is used, fsync, and read them from the disk."""
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    written = hashlib.sha256()
    block = random.Random(0).randbytes(BLOCK_BYTES)  # no disk can compress it
    try:
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            n_bytes, took = 0, 0.0
            while n_bytes < BLOCK_BYTES * MOST_BLOCKS and (not n_bytes or took < seconds / 3):
                block = n_bytes.to_bytes(8, "little") + block[8:]  # no two blocks are the same
                started = time.monotonic()
                n_new = file.write(block)
                took += time.monotonic() - started
                written.update(block[:n_new])
                n_bytes += n_new
            started = time.monotonic()
            os.fsync(file.fileno())
            took += time.monotonic() - started
            latency = fsync_latency(Path(name), seconds / 3)
            same, read_rate = read_back(file.fileno(), n_bytes, written.hexdigest(), host)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
    wrong = "what was written and fsynced came back changed"
    return [
        Result("disk", "ok" if same else "fail", n_bytes / 1e6, "MB", "the same bytes back",
               "" if same else wrong),
        Result("disk write", "ok", n_bytes / 1e6 / max(took, 1e-9), "MB/s"),
        Result("disk read", "ok", read_rate / 1e6, "MB/s"),
        Result("disk fsync", "ok", 1e3 * latency, "ms"),
    ]  # fmt: skip


def fsync_latency(path: Path, seconds: float) -> float:
    """Median seconds of writing 4 KiB and fsync, over a small file beside ``path``."""
    times: list[float] = []
    record = Path(f"{path}-record")
    try:
        with record.open("wb", buffering=0) as file:
            started = time.monotonic()
            while len(times) < FSYNCS and (not times or time.monotonic() - started < seconds):
                before = time.monotonic()
                file.write(bytes(4096))
                os.fsync(file.fileno())
                times.append(time.monotonic() - before)
    finally:
        with contextlib.suppress(OSError):
            record.unlink()
    return statistics.median(times)


def read_back(descriptor: int, n_bytes: int, expected: str, host: str) -> tuple[bool, float]:
    """Whether the hash is the one written, and bytes per second; past the page cache if it can."""
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, 0, n_bytes, os.POSIX_FADV_DONTNEED)
    found, started = hashlib.sha256(), time.monotonic()
    for place in range(0, n_bytes, BLOCK_BYTES):
        block = os.pread(descriptor, BLOCK_BYTES, place)
        if place == 0 and faults.asked("disk", host):
            block = bytes([block[0] ^ 1]) + block[1:]
        found.update(block)
    return found.hexdigest() == expected, n_bytes / max(time.monotonic() - started, 1e-9)
