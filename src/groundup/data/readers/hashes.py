"""What is in the input files, without reading again what has not changed.

As in git's index: a file whose size, times and inode are those remembered has the hash remembered.
One that was changed within two seconds of being hashed is not remembered, since it may be changed
again within one tick of the file system's clock. The hashes never depend on the cache: one that is
missing, broken or not writable only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from groundup.data.readers.folder import File, Quarantined, read_bytes
from groundup.errors import UserError
from groundup.files import write_atomic

_SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system in use (FAT's)
_VERSION = 1


def hash_contents(
    files: Iterable[File], max_file_bytes: int, cache: Path | None = None
) -> Iterator[str]:
    """SHA-256 (hex) of each file, or why it is not read and its size.

    Args:
        files: the input.
        max_file_bytes: larger files are not read.
        cache: a JSON file of hashes, read first and written after the last file.
    """
    known = _read(cache)
    found: dict[str, Any] = {}
    for file in files:
        name, stamp, started = f"{file.source}/{file.locator}", _stamp(file.path), time.time_ns()
        entry = known.get(name)
        if stamp and stamp[0] <= max_file_bytes and _holds(entry, stamp):
            found[name] = entry
            yield str(known[name][-1])
            continue
        data = read_bytes(file, max_file_bytes)
        if isinstance(data, Quarantined):
            yield f"{data.reason} {data.n_bytes}"
            continue
        content = hashlib.sha256(data).hexdigest()
        if stamp and started - max(stamp[1:3]) > _SETTLED_NS:
            found[name] = [*stamp, content]
        yield content
    if cache is not None and found != known:
        with contextlib.suppress(OSError, UserError):
            write_atomic(cache, json.dumps({"version": _VERSION, "files": found}) + "\n")


def _read(cache: Path | None) -> dict[str, Any]:
    """Name → [size, mtime_ns, ctime_ns, inode, hash] as far as the file can be read."""
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return {}
    files = content.get("files")
    return files if isinstance(files, dict) else {}


def _stamp(path: Path) -> list[int] | None:
    """Size, both times and inode; copying an old file over it keeps the first time, not ctime."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return [info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]


def _holds(entry: Any, stamp: list[int]) -> bool:
    return isinstance(entry, list) and entry[:-1] == stamp and isinstance(entry[-1], str)
