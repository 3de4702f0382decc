"""A log of lines that never stops the work it is a log of.

Where a line cannot be written (the disk is full, the folder is gone) that is said once; this line
and those after it wait in memory, in their order, and are written when there is room again. So many
wait at most; after that the oldest are lost, and counted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from groundup.files import storage_errors
from groundup.progress import say

MOST_WAITING = 100_000  # lines: some 25 MB
RETRY_SECONDS = 1.0  # between two attempts to write where the last one failed


class Lines:
    """One file that is only appended to.

    Attributes:
        path: the file; made if absent.
        n_lost: lines that were given up.
        why: what the system said when it last refused.

    Raises:
        StorageError: at the start it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.n_lost, self.why = path, 0, ""
        self.waiting: deque[str] = deque()
        self._in_trouble, self._tried = False, 0.0
        with storage_errors(path):
            self._file = _open(path)

    def append(self, line: str) -> None:
        """Add ``line``, which has no line feed."""
        self.waiting.append(line)
        if not self._in_trouble or time.monotonic() - self._tried >= RETRY_SECONDS:
            self._write()
        while len(self.waiting) > MOST_WAITING:
            self.waiting.popleft()
            self.n_lost += 1

    def flush(self) -> bool:
        """Try again to write what waits, and make all survive a power loss; whether that went."""
        self._write()
        return not self.waiting and self._try(lambda: os.fsync(self._file))

    def cut(self, size: int) -> bool:
        """Drop what stands behind the first ``size`` bytes, and what waits; whether that went."""
        self.waiting.clear()
        return self._try(lambda: os.ftruncate(self._file, size)) and self.flush()

    def close(self) -> None:
        """Write what can be written, and close."""
        if self._file >= 0:
            self._write()
            os.close(self._file)
            self._file = -1

    def _write(self) -> None:
        """Write all that waits, or nothing of it."""
        self._tried = time.monotonic()
        if self.waiting and self._file >= 0 and self._try(self._write_all):
            self.waiting.clear()

    def _write_all(self) -> None:
        if os.fstat(self._file).st_nlink == 0:  # removed under our hands
            fresh = _open(self.path)
            os.dup2(fresh, self._file, inheritable=False)
            os.close(fresh)
        data = "".join(f"{line}\n" for line in self.waiting).encode()
        start = b"\n" if self._in_trouble and _is_torn(self._file) else b""
        _append_whole(self._file, start + data)

    def _try(self, write: Callable[[], None]) -> bool:
        """Whether it could be done; the first refusal is said, and the end of the trouble."""
        try:
            write()
        except OSError as error:
            if not self._in_trouble:
                say(f"{self.path}: {_reason(error)}; training goes on, its lines wait in memory")
            self._in_trouble, self.why = True, _reason(error)
            return False
        if self._in_trouble:
            say(f"{self.path} can be written again ({len(self.waiting):,} lines waited)")
        self._in_trouble = False
        return True


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO)


def _open(path: Path) -> int:
    """A descriptor that appends; a torn last line gets the line feed that it lacks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if _is_torn(descriptor):
        _append_whole(descriptor, b"\n")
    return descriptor


def _is_torn(descriptor: int) -> bool:
    """Whether the last line lacks its line feed."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _append_whole(descriptor: int, data: bytes) -> None:
    """Append ``data``; where only a part of it fits that part is taken back."""
    size, left = os.fstat(descriptor).st_size, memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
